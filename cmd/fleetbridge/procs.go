package main

import (
	"os"
	"runtime"
	"sync"
)

// fewCores is how many cores background work (a compaction, the engine, a collection) can take all of.
const fewCores = 4

var spread sync.Once

// spreadProcs gives the Go scheduler four times as many Ps as there are few cores. It looks at the network when a P has nothing
// to run, else every 10 ms; when background work holds each P, every hop of a message waits that long. With Ps to spare a
// reader waits in the kernel, which lets it in at once. GOMAXPROCS in the environment stands.
func spreadProcs() {
	spread.Do(func() {
		if n := runtime.GOMAXPROCS(0); n <= fewCores && os.Getenv("GOMAXPROCS") == "" {
			runtime.GOMAXPROCS(4 * n)
		}
	})
}
