package simulator

import (
	"cmp"
	"sync/atomic"
	"time"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// Stats is a snapshot of what a fleet has done so far. Counts are of the whole run.
type Stats struct {
	Devices   int
	Connected int // now
	Connects  int64
	Lost      int64  // connections that failed or broke, but for planned losses of power and reboots
	LastError string // of the newest lost connection
	Ready     int    // devices whose first hello has been acknowledged

	Hellos       int64 // acknowledged
	Reports      int64 // made; a device's repeat of one is not another
	Acknowledged int64 // distinct (device, seq) of reports with a PUBACK (or a receipt, with Config.Receipts)
	Resent       int64 // reports published more than once

	Chunks       int64 // received, repeats included
	ChunkBytes   int64
	ChunksAgain  int64 // received though already stored
	Fetches      int64
	FetchesAgain int64 // fetches that a timeout made
	PowerLosses  int64
	Fallbacks    int64 // tries that failed and were followed by the next one
	Resumed      int   // devices that went on with stored chunks after a lost connection or power

	// States counts devices by the word of the last report that they made; "" counts those that made none.
	States map[topics.Word]int

	// Puback is how long reports waited for their PUBACK.
	Puback Latencies
}

// Add returns what two fleets have done together, or two parts of one.
func (s Stats) Add(o Stats) Stats {
	s.Devices += o.Devices
	s.Connected += o.Connected
	s.Connects += o.Connects
	s.Lost += o.Lost
	s.LastError = cmp.Or(s.LastError, o.LastError)
	s.Ready += o.Ready
	s.Hellos += o.Hellos
	s.Reports += o.Reports
	s.Acknowledged += o.Acknowledged
	s.Resent += o.Resent
	s.Chunks += o.Chunks
	s.ChunkBytes += o.ChunkBytes
	s.ChunksAgain += o.ChunksAgain
	s.Fetches += o.Fetches
	s.FetchesAgain += o.FetchesAgain
	s.PowerLosses += o.PowerLosses
	s.Fallbacks += o.Fallbacks
	s.Resumed += o.Resumed
	states := make(map[topics.Word]int, len(s.States))
	for _, m := range []map[topics.Word]int{s.States, o.States} {
		for word, n := range m {
			states[word] += n
		}
	}
	s.States = states
	for i, n := range o.Puback {
		s.Puback[i] += n
	}
	return s
}

// counters are the fleet's totals, written by all devices.
type counters struct {
	awaited                                                    atomic.Int64 // first hellos that are missing
	lastError                                                  atomic.Value // string
	lost, connected, ready, resumed                            atomic.Int64
	connects, hellos, reports, acked, resent                   atomic.Int64
	chunks, bytes, again, fetches, refetches, power, fallbacks atomic.Int64
	puback                                                     latencies
}

// Entry is what one device knows for certain: its own state, and what the server acknowledged to it. A harness compares
// it with the server's records: every report acknowledged here must be recorded there.
type Entry struct {
	Tenant    ident.Tenant
	Device    ident.Device
	Fault     Fault
	Paho      bool // speaks MQTT 5 through paho.golang
	Installed topics.Installed
	Boot      uint64 // count of boots
	Seq       uint64 // last sequence number used
	Helloed   uint64 // highest sequence number of an acknowledged hello
	Resumed   bool
	// Manifests has one record per manifest that the device reported on, oldest first, at most 16.
	Manifests []Acknowledged
	// Down is when it was being changed, oldest first, at most the last 16.
	Down []Span
}

// Span is a time that a device spent between what can't be undone and the boot after it.
type Span struct {
	From time.Time
	To   time.Time // zero: it is not over
}

// Acknowledged is what a device reported on one manifest and was acknowledged.
type Acknowledged struct {
	Manifest ident.Digest
	State    topics.Word // of the newest report made, acknowledged or not
	Reason   topics.Reason
	First    time.Time   // of the first report made
	Made     uint64      // reports made
	Count    uint64      // reports acknowledged, each sequence number once
	MaxSeq   uint64      // highest acknowledged sequence number; 0 if none
	MaxState topics.Word // of the report MaxSeq
}

const maxLedger = 16

// on returns the record of manifest, adding one if there is none; the oldest gives way.
func (e *Entry) on(manifest ident.Digest) *Acknowledged {
	for i := range e.Manifests {
		if e.Manifests[i].Manifest == manifest {
			return &e.Manifests[i]
		}
	}
	if len(e.Manifests) == maxLedger {
		e.Manifests = append(e.Manifests[:0], e.Manifests[1:]...)
	}
	e.Manifests = append(e.Manifests, Acknowledged{Manifest: manifest, First: time.Now()})
	return &e.Manifests[len(e.Manifests)-1]
}

// down begins a span. A device that lost power while it installed is in one already.
func (e *Entry) down(now time.Time) {
	if n := len(e.Down); n > 0 && e.Down[n-1].To.IsZero() {
		return
	}
	if len(e.Down) == maxLedger {
		e.Down = append(e.Down[:0], e.Down[1:]...)
	}
	e.Down = append(e.Down, Span{From: now})
}

// up ends it, if there is one.
func (e *Entry) up(now time.Time) {
	if n := len(e.Down); n > 0 && e.Down[n-1].To.IsZero() {
		e.Down[n-1].To = now
	}
}
