package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// MachineBench is the bench member of a record about the machine.
const MachineBench = "machine"

// Machine is a record of what the next records are measured on.
func Machine(now time.Time) Record {
	return Record{"bench": MachineBench, "case": MachineBench, "date": now.UTC().Format(time.DateOnly), "commit": commit(), "cpu": cpuModel(),
		"cores": float64(runtime.NumCPU()), "kernel": kernel(), "go": runtime.Version()}
}

// commit is what this binary was built from.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return revision + changed
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
