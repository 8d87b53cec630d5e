package bridge

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats counts what a bridge has done since New.
type Stats struct {
	// Reports that are durable, by verdict: Recorded + Duplicates + Stale + Unknown.
	Recorded, Duplicates, Stale, Unknown uint64
	Hellos                               uint64
	// TurnedAway are those of the hellos that came from a device with no room within the quota.
	TurnedAway uint64
	// Undecodable bodies of hello, report and fetch.
	Undecodable uint64
	// Misplaced messages: on a topic outside the contract, or of another principal.
	Misplaced uint64
	// Refused messages: the store could not take them and they must come again.
	Refused              uint64
	Fetches, FetchErrors uint64
	Chunks, ChunkBytes   uint64
	Commands, Problems   uint64 // Problems are those commands that ended in one
	EventsDropped        uint64 // the queue of events was full
	// CommitP50 and CommitP99 are bounds of how long commits took, waiting included, within a factor of 1.25.
	CommitP50, CommitP99 time.Duration
}

// counters are the live form of Stats.
type counters struct {
	recorded, duplicates, stale, unknown atomic.Uint64
	hellos, undecodable, misplaced       atomic.Uint64
	refused, fetches, fetchErrors        atomic.Uint64
	chunks, chunkBytes                   atomic.Uint64
	commands, problems, eventsDropped    atomic.Uint64
	turnedAway                           atomic.Uint64
	commits                              histogram
}

// Stats returns the counts so far. Each is right; together they are no snapshot.
func (b *Bridge) Stats() Stats {
	c := &b.stats
	return Stats{
		Recorded: c.recorded.Load(), Duplicates: c.duplicates.Load(), Stale: c.stale.Load(), Unknown: c.unknown.Load(),
		Hellos: c.hellos.Load(), TurnedAway: c.turnedAway.Load(), Undecodable: c.undecodable.Load(), Misplaced: c.misplaced.Load(), Refused: c.refused.Load(),
		Fetches: c.fetches.Load(), FetchErrors: c.fetchErrors.Load(), Chunks: c.chunks.Load(), ChunkBytes: c.chunkBytes.Load(),
		Commands: c.commands.Load(), Problems: c.problems.Load(), EventsDropped: c.eventsDropped.Load(),
		CommitP50: c.commits.quantile(0.50), CommitP99: c.commits.quantile(0.99),
	}
}

// histogram counts durations in buckets that are a quarter of a power of two wide, from 1 µs to 70 minutes.
type histogram struct{ buckets [128]atomic.Uint64 }

func (h *histogram) add(d time.Duration) { h.buckets[bucketOf(d)].Add(1) }

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	exp := bits.Len64(us) - 1
	quarter := us << 2 >> exp & 3
	return min(exp<<2|int(quarter), 127)
}

// bucketEnd is the least duration above bucket i.
func bucketEnd(i int) time.Duration {
	return time.Duration(uint64(4+i&3+1)<<(i>>2)*1000/4) * time.Nanosecond
}

// quantile is the upper end of the bucket in which the q-quantile lies; 0 while nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	var counts [128]uint64
	var total uint64
	for i := range counts {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	if total == 0 {
		return 0
	}
	rank, seen := uint64(q*float64(total-1)), uint64(0)
	for i, n := range counts {
		if seen += n; seen > rank {
			return bucketEnd(i)
		}
	}
	return bucketEnd(len(counts) - 1)
}
