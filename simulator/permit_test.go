package simulator_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"fleetbridge/topics"
)

// TestDeviceWaitsForItsPermit answers a device's questions in turn; it must not install before it is granted.
func TestDeviceWaitsForItsPermit(t *testing.T) {
	const before = "received downloading downloading downloading "
	for name, v := range map[string]struct {
		answers []topics.PermitState
		want    string
	}{
		"granted":  {[]topics.PermitState{topics.PermitGranted}, before + "downloaded installing rebooting installed"},
		"waits":    {[]topics.PermitState{topics.PermitWaiting, "x-unheard-of", topics.PermitGranted}, before + "downloaded downloaded downloaded installing rebooting installed"},
		"lost":     {[]topics.PermitState{"", topics.PermitGranted}, before + "downloaded downloaded installing rebooting installed"},
		"refused":  {[]topics.PermitState{topics.PermitWaiting, topics.PermitRefused}, before + "downloaded downloaded"},
		"strange":  {[]topics.PermitState{"other", topics.PermitGranted}, before + "downloaded downloaded installing rebooting installed"},
		"no power": {[]topics.PermitState{"cut", topics.PermitGranted}, before + "downloaded downloaded installing rebooting installed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 10_000)
				b.config.Permits = true
				asked := 0
				b.ack = func(c *session, topic string, body []byte) bool {
					r, _, err := topics.DecodeReport(body)
					if !strings.HasSuffix(topic, "/report") || err != nil || !r.Permit {
						return true
					}
					if r.State != topics.WordDownloaded {
						t.Errorf("asks as %s", r.State)
					}
					p := topics.Permit{Manifest: r.Manifest, State: v.answers[min(asked, len(v.answers)-1)]}
					asked++
					switch p.State {
					case "":
						return true
					case "other": // a grant for another manifest
						p.Manifest[0]++
						p.State = topics.PermitGranted
					case "cut":
						if err := c.conn.Close(); err != nil {
							t.Error(err)
						}
						return false
					}
					answer, err := topics.Encode(p, topics.CBOR)
					if err != nil {
						t.Error(err)
					}
					c.publish(c.base+"permit", answer, false)
					return true
				}
				run(t, b.server, b.fleet(t), func(ctx context.Context) { wait(ctx, settle) })
				if got := b.words(); got != v.want && name != "no power" {
					t.Errorf("reported %q, want %q", got, v.want)
				} else if name == "no power" && !strings.HasSuffix(got, "installing rebooting installed") {
					t.Errorf("reported %q", got)
				}
			})
		})
	}
}
