package bench

import (
	"os"
	"time"
)

// Usage is what processes took.
type Usage struct {
	CPU  time.Duration // user and system
	RSS  int64         // resident now, bytes
	Peak int64         // the most that was resident at a time, bytes
}

func (u Usage) plus(v Usage) Usage {
	return Usage{u.CPU + v.CPU, u.RSS + v.RSS, u.Peak + v.Peak}
}

// tree is what root and everything below it took.
func (s system) tree(root int) Usage {
	var u Usage
	for pid, p := range s.procs {
		if s.below(pid, root) {
			u = u.plus(Usage{CPU: p.cpu, RSS: p.rss})
		}
	}
	return u
}

// below reports whether pid is root or a descendant of it.
func (s system) below(pid, root int) bool {
	for range len(s.procs) + 1 { // /proc is not read at one instant: a loop is thinkable
		if pid == root {
			return true
		}
		p, ok := s.procs[pid]
		if !ok || p.parent == 0 {
			return false
		}
		pid = p.parent
	}
	return false
}

// Usage is what the process and its children have taken so far.
func (p *Proc) Usage() (Usage, error) {
	s, err := look()
	if err != nil {
		return Usage{}, err
	}
	return s.usage(p), nil
}

// UsageOf is what any process of this machine and its children have taken so far; nothing where there is no such process.
func UsageOf(pid int) (Usage, error) {
	s, err := look()
	if err != nil {
		return Usage{}, err
	}
	return s.usageOf(pid), nil
}

// usage is that of processes taken together, with their peaks.
func (s system) usage(ps ...*Proc) Usage {
	var u Usage
	for _, p := range ps {
		u = u.plus(s.usageOf(p.cmd.Process.Pid))
	}
	return u
}

// usageOf is tree with the peaks.
func (s system) usageOf(root int) Usage {
	u := s.tree(root)
	for pid := range s.procs {
		if s.below(pid, root) {
			u.Peak += peak(pid)
		}
	}
	return u
}

// others is how much CPU, in cores, went to processes that are not of this bench between two looks.
func others(from, to system) float64 {
	self := os.Getpid()
	ours := to.tree(self).CPU - from.tree(self).CPU
	return max(0, (to.busy-from.busy-ours).Seconds()/to.at.Sub(from.at).Seconds())
}
