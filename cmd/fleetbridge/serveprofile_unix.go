//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
)

// profileSignal begins a CPU profile, and ends it.
var profileSignal os.Signal = syscall.SIGUSR1

// profiles writes, at every second SIGUSR1, a CPU profile of the time since the one before to PREFIX.N.cpu, and then a heap
// profile to PREFIX.N.heap. It is for benches, which know when to measure.
func profiles(ctx context.Context, prefix string, failed func(error)) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, profileSignal)
	defer signal.Stop(signals)
	for n := 1; ; n++ {
		if !received(ctx, signals) {
			return
		}
		name := prefix + "." + strconv.Itoa(n)
		f, err := os.Create(name + ".cpu")
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			failed(fmt.Errorf("profile: %w", err))
			return
		}
		more := received(ctx, signals)
		pprof.StopCPUProfile()
		if err := errors.Join(f.Close(), writeHeap(name+".heap")); err != nil {
			failed(fmt.Errorf("profile: %w", err))
		}
		if !more {
			return
		}
	}
}

func received(ctx context.Context, signals <-chan os.Signal) bool {
	select {
	case <-signals:
		return true
	case <-ctx.Done():
		return false
	}
}

// writeHeap writes what is in use after a collection.
func writeHeap(name string) error {
	runtime.GC()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}
