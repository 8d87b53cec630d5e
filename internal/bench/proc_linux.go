package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const supported = true

// childAttr makes a child die with the bench, and be the head of a group that can be killed as a whole; a Ctrl-C on the
// terminal is for the bench alone.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

func killGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL) // the group may be gone
}

// raiseFileLimit sets the soft limit to the hard one. The runtime has done that for this process alone: children get the old
// one unless it is set here.
func raiseFileLimit() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// FileLimit is how many files a process of the bench may have open.
func FileLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Max, 1<<20))
}

// tick is the unit of /proc/stat and /proc/PID/stat: USER_HZ, 100 on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// process is what /proc/PID/stat says of a process.
type process struct {
	parent int
	cpu    time.Duration // user and system, threads and waited-for children that have ended included
	rss    int64         // bytes
}

// system is the state of all processes at one moment.
type system struct {
	at    time.Time
	busy  time.Duration // user, nice and system time of all CPUs
	procs map[int]process
}

func look() (system, error) {
	s := system{at: time.Now(), procs: map[int]process{}}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, fmt.Errorf("read load: %w", err)
	}
	var user, nice, sys int64
	if _, err := fmt.Sscanf(string(stat), "cpu %d %d %d", &user, &nice, &sys); err != nil {
		return s, fmt.Errorf("read load: %w", err)
	}
	s.busy = time.Duration(user+nice+sys) * tick
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return s, fmt.Errorf("list processes: %w", err)
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return s, err
		}
		s.procs[pid] = p
	}
	return s, nil
}

func readProcess(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	// The second field is the name in parentheses, which may hold anything; the third is the state.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 22 {
		return process{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	n := func(i int) int64 {
		v, _ := strconv.ParseInt(f[i-3], 10, 64) // the kernel writes numbers
		return v
	}
	return process{parent: int(n(4)), cpu: time.Duration(n(14)+n(15)+n(16)+n(17)) * tick, rss: n(24) * int64(os.Getpagesize())}, nil
}

// peak is the most memory that a process has had resident, in bytes.
func peak(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
