package simulator

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// maxTries is how many fetches in a row may bring nothing before the device gives up.
const maxTries = 8

// fetch asks for the next window of chunks that are not stored.
func (d *device) fetch(u *update) error {
	first, count, bitmap := u.slot.missing(d.fleet.config.Window)
	d.fetches++
	token, err := ident.ParseToken(fmt.Sprintf("%s-%d", u.token, d.fetches))
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	body, err := topics.Encode(topics.Fetch{Token: token, Digest: u.slot.digest, Size: u.slot.chunk, First: first, Count: count, Bitmap: bitmap}, d.format)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if d.fresh && u.slot.has() {
		d.resumed()
	}
	d.fresh, d.paced, d.window = false, false, first+count
	d.fleet.count.fetches.Add(1)
	d.set(timerFetch, d.timing().ChunkTimeout<<min(d.tries, 4))
	_, err = d.conn.Publish(topics.FetchTopic(d.id.Tenant, d.id.Device), body, 0)
	return err
}

// resumed counts the device, once, among those that went on with stored chunks.
func (d *device) resumed() {
	d.mu.Lock()
	first := !d.ledger.Resumed
	d.ledger.Resumed = true
	d.mu.Unlock()
	if first {
		d.fleet.count.resumed.Add(1)
	}
}

// fetchDue sends the fetch that a pause held back, or repeats one that brought nothing.
func (d *device) fetchDue() error {
	u := d.flash.update
	if u == nil || u.stage != topics.WordDownloading {
		return nil
	}
	if !d.paced && d.window > 0 && !d.fresh {
		d.fleet.count.refetches.Add(1)
		if d.tries++; d.tries > maxTries {
			d.flash.cut = true // a flaky link is better by the next time
			d.finish(u, topics.WordFailed, topics.ReasonDownloadTimeout, "no chunk came")
			return d.flush()
		}
	}
	return d.fetch(u)
}

// chunk stores one chunk and asks for more when the window is through.
func (d *device) chunk(token ident.Token, index uint32, data []byte) error {
	u := d.flash.update
	if u == nil || u.stage != topics.WordDownloading || !strings.HasPrefix(token.String(), u.token+"-") {
		return nil // late, of an update that is over
	}
	c := &d.fleet.count
	c.chunks.Add(1)
	c.bytes.Add(int64(len(data)))
	if d.linkFails(u, index) {
		return nil
	}
	if d.powerFails(u, index, len(data)) {
		c.power.Add(1)
		d.flash.cut = true
		d.leaving = endPower
		return nil
	}
	switch d.write(u, index, data) {
	case foreign:
		return nil
	case again:
		c.again.Add(1)
	case stored:
		d.tries = 0
		if err := d.reportProgress(u); err != nil {
			return err
		}
	}
	switch {
	case u.slot.complete():
		d.downloaded(u)
		return d.flush()
	case u.slot.next >= d.window:
		return d.nextWindow(u, int(u.slot.chunk)*int(d.fleet.config.Window))
	case index == d.window-1: // the window's last chunk is here and others are not: they were lost
		return d.fetch(u)
	}
	d.set(timerFetch, d.timing().ChunkTimeout<<min(d.tries, 4))
	return nil
}

// powerFails says whether the write of a chunk runs into the planned loss of power. The torn chunk is not stored.
func (d *device) powerFails(u *update, index uint32, n int) bool {
	if d.fault.Kind != PowerLoss || d.flash.cut {
		return false
	}
	at := int64(d.fault.At * float64(u.slot.size))
	start := int64(index) * int64(u.slot.chunk)
	return start <= at && at < start+int64(n)
}

// linkFails says whether a chunk is lost on a flaky link.
func (d *device) linkFails(u *update, index uint32) bool {
	return d.fault.Kind == FlakyLink && !d.flash.cut && int64(index+1)*int64(u.slot.chunk) > int64(d.fault.At*float64(u.slot.size))
}

// nextWindow fetches on, a slow link only once the last window's time is over.
func (d *device) nextWindow(u *update, got int) error {
	if d.fault.Kind != SlowLink {
		return d.fetch(u)
	}
	d.paced = true
	d.set(timerFetch, time.Duration(float64(got)/float64(d.timing().SlowRate)*float64(time.Second)))
	return nil
}

// reportProgress reports Config.Progress times over the download, at equal distances.
func (d *device) reportProgress(u *update) error {
	n := d.fleet.config.Progress
	if n <= 0 || u.progress >= n || u.slot.complete() {
		return nil
	}
	if u.slot.stored()*int64(n+1) < u.slot.size*int64(u.progress+1) {
		return nil
	}
	u.progress++
	d.report(u, topics.WordDownloading, "", "")
	return d.flush()
}

// chunkError takes the server's word that a fetch is impossible.
func (d *device) chunkError(token ident.Token, body []byte) error {
	u := d.flash.update
	if u == nil || u.stage != topics.WordDownloading || !strings.HasPrefix(token.String(), u.token+"-") {
		return nil
	}
	p := topics.DecodeProblem(body)
	if p == nil {
		return nil // the fetch's own timeout goes on
	}
	d.fleet.config.Logger.Debug("fetch refused", slog.String("device", d.id.Device.String()), slog.String("reason", p.Type))
	if p.Type == topics.ProblemFetchNotAssigned {
		// The offer is gone. Nothing to report: its manifest comes again if the server wants it after all.
		d.flash.update = nil
		d.timers[timerFetch] = time.Time{}
		return nil
	}
	if p.Status >= 500 {
		return nil // the timeout asks again, with back-off
	}
	d.finish(u, topics.WordFailed, topics.ReasonInstallError, clip("fetch refused: "+p.Type))
	return d.flush()
}
