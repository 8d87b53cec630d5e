package broker

import (
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

// debug logs what happened to a connection.
func (b *Broker) debug(msg string, c *conn, err error) {
	if b.log.Enabled(b.life, slog.LevelDebug) {
		b.log.Debug(msg, "remote", c.addr(), "principal", c.principal.String(), "client", c.clientID, "err", err)
	}
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
