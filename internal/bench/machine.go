package bench

import (
	"os"
	"runtime"
	"strings"
	"time"
)

// MachineBench is the bench member of a record about the machine.
const MachineBench = "machine"

// Machine is a record of what the next records are measured on, built from a commit.
func Machine(now time.Time, commit string) Record {
	return Record{"bench": MachineBench, "case": MachineBench, "date": now.UTC().Format(time.DateOnly), "commit": commit, "cpu": cpuModel(),
		"cores": float64(runtime.NumCPU()), "kernel": kernel(), "go": runtime.Version()}
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
