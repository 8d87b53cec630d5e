package bridge_test

import (
	"context"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

// check runs a whole check.
func (f *fixture) check() (sum topics.ServerChecked) {
	f.t.Helper()
	var req topics.ServerCheck
	for range 100 {
		var v topics.ServerChecked
		f.ok("server", "check", req, &v)
		sum.Campaigns += v.Campaigns
		sum.Assignments += v.Assignments
		sum.Devices += v.Devices
		sum.Registered += v.Registered
		sum.Manifests += v.Manifests
		sum.Faults = append(sum.Faults, v.Faults...)
		if req.Cursor = v.Next; v.Next == "" {
			return sum
		}
	}
	f.t.Fatal("the check never ends")
	return sum
}

func TestServerCheck(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("payload of the check"))
	f.fleet(3)
	f.launch("a", m.Digest, topics.Policy{})
	f.launch("b", m.Digest, topics.Policy{})
	f.progress("a", "offers", func(p topics.Progress) bool { return p.Counts["offered"] == 3 })
	f.progress("b", "waiting", func(p topics.Progress) bool { return p.Total == 3 && p.State == "active" })
	if v := f.check(); v.Campaigns != 2 || v.Assignments != 6 || v.Devices != 3 || v.Registered != 3 || len(v.Faults) != 0 {
		t.Errorf("%+v", v)
	}
	err := f.store.Update(context.Background(), func(tx campaign.Tx) error {
		w, err := tx.Work(acme, device("dev-000"))
		if err != nil {
			return err
		}
		w.Live[0].Campaign = campaignID("gone")
		return tx.PutWork(acme, device("dev-000"), w)
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := f.check(); len(v.Faults) != 1 {
		t.Errorf("%+v", v)
	}
	f.fails(topics.ProblemInvalidRequest, "server", "check", topics.ServerCheck{Cursor: "slots//"})
}
