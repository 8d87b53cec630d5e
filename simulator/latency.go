package simulator

import (
	"math"
	"sync/atomic"
	"time"
)

// Latencies counts durations in buckets that are 25 % apart: bucket 0 is up to 10 µs, the last one from about 100 s on.
type Latencies [74]int64

const (
	latencyFirst = 10 * time.Microsecond
	latencyStep  = 1.25
)

// latencyBucket is the bucket of d.
func latencyBucket(d time.Duration) int {
	if d <= latencyFirst {
		return 0
	}
	i := int(math.Ceil(math.Log(float64(d)/float64(latencyFirst)) / math.Log(latencyStep)))
	return min(i, len(Latencies{})-1)
}

// Quantile returns the upper bound of the bucket that holds the q-th part of what was counted; 0 if nothing was.
func (l *Latencies) Quantile(q float64) time.Duration {
	total := int64(0)
	for _, n := range l {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := max(int64(math.Ceil(q*float64(total))), 1)
	for i, n := range l {
		if rank -= n; rank <= 0 {
			return time.Duration(float64(latencyFirst) * math.Pow(latencyStep, float64(i)))
		}
	}
	return 0
}

// latencies are Latencies that many devices count into at once.
type latencies [len(Latencies{})]atomic.Int64

func (l *latencies) add(d time.Duration) { l[latencyBucket(d)].Add(1) }

func (l *latencies) snapshot() (s Latencies) {
	for i := range l {
		s[i] = l[i].Load()
	}
	return s
}
