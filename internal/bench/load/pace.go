package load

import "time"

// pace says when something is due at a fixed rate, whatever became of what was due before.
type pace struct {
	began time.Time
	rate  float64 // per second
	given uint64
}

// next returns the time at which the next one was due; false while none is at now.
func (p *pace) next(now time.Time) (time.Time, bool) {
	at := p.began.Add(time.Duration(float64(p.given) / p.rate * float64(time.Second)))
	if at.After(now) {
		return time.Time{}, false
	}
	p.given++
	return at, true
}

// beatEvery is how often what is due is sent: it adds to the latency that is measured.
const beatEvery = 500 * time.Microsecond

// beat sends what is due, device by device, until the reports end.
func (r *reporters) beat() {
	if !r.running {
		return
	}
	for now := time.Now(); ; {
		at, ok := r.pace.next(now)
		if !ok {
			break
		}
		r.devices[r.pace.given%uint64(len(r.devices))].report(at)
	}
	time.AfterFunc(beatEvery, func() { r.loop.Do(r.beat) })
}
