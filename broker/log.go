package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// refusal logs that somebody did wrong and we coped, at most once a second: a hostile client must not fill a disk.
func (b *Broker) refusal(msg string, args ...any) {
	b.sometimes(&b.quiet, slog.LevelWarn, msg, args...)
}

// cannotAccept logs that no connection can be taken now, which is our own trouble: no refusal may push it out.
func (b *Broker) cannotAccept(err error, pause time.Duration) {
	b.sometimes(&b.deaf, slog.LevelError, "accept failed", "err", err, "dur", pause)
}

// sometimes logs what q lets through, and how many lines it held back before.
func (b *Broker) sometimes(q *quiet, level slog.Level, msg string, args ...any) {
	ok, missed := q.allow(time.Now())
	if !ok {
		return
	}
	if missed > 0 {
		args = append(args, "suppressed", missed)
	}
	b.log.Log(b.life, level, msg, args...)
}

// quiet lets one line a second through.
type quiet struct {
	mu     sync.Mutex
	last   time.Time
	missed int
}

func (q *quiet) allow(now time.Time) (ok bool, missed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.last) < time.Second {
		q.missed++
		return false, 0
	}
	missed, q.missed, q.last = q.missed, 0, now
	return true, missed
}

// discreet is mochi's log handler: everything at debug level, and never a packet, which may hold a password.
type discreet struct{ slog.Handler }

func (d discreet) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d discreet) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, slog.LevelDebug, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if !secret(a.Key) {
			out.AddAttrs(a)
		}
		return true
	})
	return d.Handler.Handle(ctx, out)
}

func (d discreet) WithAttrs(attrs []slog.Attr) slog.Handler {
	var keep []slog.Attr
	for _, a := range attrs {
		if !secret(a.Key) {
			keep = append(keep, a)
		}
	}
	return discreet{d.Handler.WithAttrs(keep)}
}

func (d discreet) WithGroup(name string) slog.Handler { return discreet{d.Handler.WithGroup(name)} }

// secret names the attributes under which mochi logs whole packets.
func secret(key string) bool { return key == "pk" || key == "packet" || key == "data" }
