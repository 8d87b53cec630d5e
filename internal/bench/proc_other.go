//go:build !linux

package bench

import (
	"os"
	"syscall"
	"time"
)

const supported = false

func childAttr() *syscall.SysProcAttr { return nil }

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill() // it may have ended
	}
}

func raiseFileLimit() error { return nil }

// FileLimit is how many files a process of the bench may have open.
func FileLimit() int { return 1024 }

type process struct {
	parent int
	cpu    time.Duration
	rss    int64
}

type system struct {
	at    time.Time
	busy  time.Duration
	procs map[int]process
}

func look() (system, error) { return system{}, ErrUnsupported }

func peak(int) int64 { return 0 }
