package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ServeListener accepts connections from ln, plain TCP or TLS, until ctx ends or the broker is closed, and then returns
// nil with ln closed; live connections go on. A failing Accept is tried again with a pause of 5 ms to 1 s: being out of
// descriptors must not end the service.
func (b *Broker) ServeListener(ctx context.Context, ln net.Listener) error {
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		_ = ln.Close() // nobody will accept from it
		return nil
	}
	b.listeners[ln] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.listeners, ln)
		b.mu.Unlock()
	}()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // Accept returns, which is all we want
	defer stop()
	var pause time.Duration
	for {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || b.life.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept: %w", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			b.cannotAccept(err, pause)
			if !b.sleep(ctx, pause) {
				return errors.Join(ln.Close())
			}
			continue
		}
		pause = 0
		if !b.limiter.allow(nc.RemoteAddr(), time.Now()) {
			b.stats.limited.Add(1)
			_ = nc.Close() // nothing was said to it
			continue
		}
		go b.ServeConn(nc)
	}
}

// sleep waits for d; false means that it was cut short.
func (b *Broker) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-b.life.Done():
	}
	return false
}

// limiter is a token bucket per remote address.
type limiter struct {
	rate    float64 // tokens per second; 0: no limit
	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds the addresses that are remembered; beyond it all are forgotten, which errs on the lenient side.
const maxBuckets = 1 << 16

// burst is how many seconds' worth of connections may come at once.
const burst = 10

func newLimiter(rate float64) *limiter {
	return &limiter{rate: rate, buckets: map[string]bucket{}}
}

func (l *limiter) allow(addr net.Addr, now time.Time) bool {
	if l.rate <= 0 || addr == nil {
		return true
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		host = addr.String()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
	k, ok := l.buckets[host]
	if !ok {
		k = bucket{tokens: burst * l.rate, at: now}
	}
	k.tokens = min(burst*l.rate, k.tokens+now.Sub(k.at).Seconds()*l.rate)
	k.at = now
	ok = k.tokens >= 1
	if ok {
		k.tokens--
	}
	l.buckets[host] = k
	return ok
}
