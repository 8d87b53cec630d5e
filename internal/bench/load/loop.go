package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/mqtt"
)

// newLoop returns a loop of connections to the target.
func (t Target) newLoop(keepAlive time.Duration) (*mqtt.Loop, error) {
	addr, err := netip.ParseAddrPort(t.Addr)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	return mqtt.NewLoop(int(addr.Port()), keepAlive)
}

// serveLoop runs a loop, and begin and mark on its goroutine, until the bench hangs up. The bench may begin once ready says nil.
func serveLoop(ctx context.Context, w *bench.Worker, loop *mqtt.Loop, ready <-chan error, begin func(), mark func() any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx) }()
	select {
	case err := <-ready:
		if err != nil {
			return err
		}
	case err := <-ended:
		return err
	}
	err := w.Ready(struct{}{})
	if err == nil {
		err = w.Serve(func() { loop.Do(begin) }, func() any {
			answer := make(chan any, 1)
			loop.Do(func() { answer <- mark() })
			return <-answer
		})
	}
	cancel()
	return errors.Join(err, <-ended)
}
