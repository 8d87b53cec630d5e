package simulator

import (
	"time"

	"fleetbridge/topics"
)

// ask asks to install what is downloaded, and again after a while: questions and answers may be lost.
func (d *device) ask(u *update) {
	d.report(u, topics.WordDownloaded, "", "")
	d.flash.outbox[len(d.flash.outbox)-1].report.Permit = true
	d.set(timerStep, d.between(d.timing().Permit/2, d.timing().Permit))
}

// permit takes the answer, if it is about the update that waits for one.
func (d *device) permit(body []byte) error {
	p, _, err := topics.DecodePermit(body)
	u := d.flash.update
	if err != nil || u == nil || u.manifest != p.Manifest || u.stage != topics.WordDownloaded {
		return nil
	}
	switch p.State {
	case topics.PermitGranted:
		d.install(u) // at once, so its time is not looked at
	case topics.PermitRefused:
		d.withdraw()
		d.timers[timerStep] = time.Time{}
	}
	return d.flush()
}

// install begins what can't be undone.
func (d *device) install(u *update) {
	d.note(func(e *Entry) { e.down(time.Now()) })
	d.advance(u, topics.WordInstalling)
	d.set(timerStep, d.between(d.timing().Install/2, d.timing().Install))
}
