package load

import (
	"context"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/mqtt"
)

// CrowdParams say what the role [Crowd] does.
type CrowdParams struct {
	Target
	Tenant    ident.Tenant  `json:"tenant"`
	Devices   []Device      `json:"devices"`
	KeepAlive time.Duration `json:"keep_alive"`
	// Flight is how many devices may be on their way online at once the first time, Storm how many in a storm; 0: all.
	Flight int `json:"flight,omitempty"`
	Storm  int `json:"storm,omitempty"`
	// Manifest says that each device waits for its retained manifest. All have one length.
	Manifest bool `json:"manifest,omitempty"`
	// Answer is what each device reports of the manifest the first time. Retain is what it puts on its manifest topic itself,
	// the first time, where nobody else does.
	Answer []byte `json:"answer,omitempty"`
	Retain []byte `json:"retain,omitempty"`
}

// CrowdCounts is what the role says at a mark. Units are the devices that have come online since the last begin: what a device
// subscribes to is granted, and what it waits for is there. The latencies are those of all that, from the first dial on; they are
// told once, when all are online.
type CrowdCounts struct {
	bench.Counts
	Manifest   int    `json:"manifest"` // bytes of a retained manifest; 0: none has come
	Retried    int    `json:"retried"`  // connects since the last begin that failed and were tried again
	RetriedFor string `json:"retried_for,omitempty"`
}

// Crowd is the role of devices that come online, subscribe to their manifest and their chunks, and stay. Each begin but the
// first is a storm: all connections are dropped without a word, and all devices come back.
func Crowd(ctx context.Context, w *bench.Worker) error {
	c := &crowd{}
	if err := w.Params(&c.CrowdParams); err != nil {
		return err
	}
	var err error
	if c.loop, err = c.newLoop(c.KeepAlive); err != nil {
		return err
	}
	for _, d := range c.Devices {
		c.members = append(c.members, member{crowd: c, Device: d})
	}
	ready := make(chan error, 1)
	ready <- nil
	return serveLoop(ctx, w, c.loop, ready, c.begin, func() any { return c.counts() })
}

// crowd lives on the goroutine of its loop.
type crowd struct {
	CrowdParams
	loop    *mqtt.Loop
	members []member

	storm      int // begins so far
	next       int // the first member that has not been dialled since the last one
	flight     int // members on their way
	online     int
	size       int // of a manifest; 0: none has come
	retried    int
	retriedFor string
	wrong      complaint
	took       bench.Histogram
}

func (c *crowd) begin() {
	for i := range c.members {
		if m := &c.members[i]; m.conn != nil {
			m.conn.Close()
		}
	}
	c.storm++
	c.next, c.flight, c.online, c.retried = 0, 0, 0, 0
	c.launch(c.storm)
}

// burst is how many connections are started before the loop looks at what has come.
const burst = 64

// launch dials those who have not been, as far as Flight or Storm allows.
func (c *crowd) launch(storm int) {
	if storm != c.storm {
		return
	}
	most := c.Flight
	if storm > 1 {
		most = c.Storm
	}
	for range burst {
		if c.next == len(c.members) || most > 0 && c.flight == most {
			return
		}
		c.flight++
		c.next++
		c.members[c.next-1].start()
	}
	c.loop.Do(func() { c.launch(storm) })
}

func (c *crowd) counts() CrowdCounts {
	n := CrowdCounts{Manifest: c.size, Retried: c.retried, RetriedFor: c.retriedFor}
	n.Units = uint64(c.online)
	n.Failed, n.Problem = c.wrong.get()
	if c.online == len(c.members) {
		n.Quantiles = c.took.Take()
	}
	return n
}
