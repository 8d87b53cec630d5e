package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// fewCores is how many cores bulk work (an enrolment, a plan, the compactions after them) can take all of.
const fewCores = 4

// afterBulk is how long the process stays as it is for bulk work: compactions go on for a while, and slices follow each other.
const afterBulk = 5 * time.Second

// procs are the Ps of Go's scheduler, which belong to the process, however many servers it runs.
var procs = newProcs(runtime.GOMAXPROCS, runtime.SetDefaultGOMAXPROCS, os.Getenv("GOMAXPROCS") == "")

// scheduler has four times as many Ps as there are few cores while bulk work runs. Go looks at the network when a P has nothing
// to run, else every 10 ms; when bulk work holds each P, every hop of a message waits that long. With Ps to spare a reader
// waits in the kernel, which lets it in at once. At other times Ps to spare cost CPU. See decision 0083.
type scheduler struct {
	set  func(int) int // runtime.GOMAXPROCS
	back func()        // to what Go itself would take
	few  bool          // this machine has few cores, and the environment says nothing

	mu     sync.Mutex
	bulks  int // under way
	spread bool
	calm   *time.Timer // ends it
}

func newProcs(set func(int) int, back func(), ours bool) *scheduler {
	return &scheduler{set: set, back: back, few: ours && set(0) <= fewCores}
}

// bulk is called when bulk work begins; done, when that has ended. It is a bridge.Options.Bulk.
func (s *scheduler) bulk() (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bulks++; s.calm != nil {
		s.calm.Stop()
	}
	if s.few && !s.spread {
		s.spread = true
		s.set(4 * s.set(0))
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.bulks--; s.bulks == 0 {
			s.calm = time.AfterFunc(afterBulk, s.rest)
		}
	})
}

// rest ends what bulk began, unless there is bulk work again.
func (s *scheduler) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bulks > 0 {
		return
	}
	if s.spread {
		s.spread = false
		s.back()
	}
	returnMemory()
}

// keptAfterBulk is what the runtime may hold beyond twice the live heap, in bytes, before it is told to give it back.
const keptAfterBulk = 64 << 20

// returnMemory gives back what bulk work left: an idle server would collect it in two minutes, and return it slowly.
func returnMemory() {
	m := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(m)
	if held := m[0].Value.Uint64() - m[1].Value.Uint64(); held > 2*m[2].Value.Uint64()+keptAfterBulk {
		debug.FreeOSMemory()
	}
}
