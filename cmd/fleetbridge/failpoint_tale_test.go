package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// tale is what a run of the story came to: what must be the same wherever the server crashed.
type tale struct {
	Outcomes map[string]string // of each campaign
	Counts   map[string]map[string]uint64
	States   map[string]string // of each device, in both campaigns
	Retries  map[string]int    // of each device that was tried again
	Quota    string            // what is left of it
	Commands []string          // of campaigns, from the audit log
}

// end compares the counts with a scan, and the records with what the devices know.
func (s *story) end() tale {
	out := tale{Outcomes: map[string]string{}, Counts: map[string]map[string]uint64{}, States: map[string]string{}, Retries: map[string]int{}}
	ledger := map[ident.Device]simulator.Entry{}
	for _, e := range s.fleet.Ledger() {
		ledger[e.Device] = e
	}
	for _, c := range []ident.Campaign{s.waves, s.stopped} {
		p := progressOf(s.t, s.setup.cl, c)
		scan := map[string]uint64{}
		for a := range assignments(s.t, s.setup, c) {
			scan[a.State]++
			out.States[a.Device.String()] = a.State
			if a.Retries > 0 {
				out.Retries[a.Device.String()] = a.Retries
			}
			err := checkAcknowledged(a, ledger[a.Device], s.setup.manifest.Digest)
			if c == s.waves {
				err = errors.Join(err, checkEnded(a, ledger[a.Device]))
			} else if a.State != string(campaign.Withdrawn) {
				err = errors.Join(err, fmt.Errorf("is %s", a.State))
			}
			if err != nil {
				s.t.Errorf("%s: %v", a.Device, err)
			}
		}
		counts := maps.Clone(p.Counts)
		maps.DeleteFunc(counts, func(_ string, n uint64) bool { return n == 0 })
		if !maps.Equal(counts, scan) {
			s.t.Errorf("%s: counts %v, scan %v", c, counts, scan)
		}
		out.Outcomes[c.String()], out.Counts[c.String()] = p.Outcome, counts
	}
	out.Quota = s.quota()
	return out
}

// quota is what is left: what was used is gone, and nothing is held any more.
func (s *story) quota() string {
	var q topics.QuotaView
	if err := s.setup.cl.Do(s.t.Context(), "quota", "get", topics.QuotaGet{}, &q); err != nil {
		s.t.Fatal(err)
	}
	if q.Reserved != 0 || q.Used == 0 || q.Free+int64(q.Used) != storyUpdates {
		s.t.Errorf("the quota at the end: %+v", q)
	}
	return fmt.Sprintf("%d free, %d used", q.Free, q.Used)
}

// audit looks into the store of the dead server: whatever it derives equals a scan, no slot is left, and the audit log is
// whole.
func (s *story) audit(out *tale) {
	store, err := badger.Open(badger.Options{Dir: filepath.Join(s.d.home, "data", "store")})
	if err != nil {
		s.t.Fatal(err)
	}
	tenant := s.setup.cl.Tenant()
	err = store.View(s.t.Context(), func(r campaign.Reader) error {
		works, err := r.Works(tenant, ident.Device{}, 100)
		if len(works) > 0 {
			s.t.Errorf("slots that nobody lives in: %v", works)
		}
		check, err2 := campaign.VerifyAudit(r, tenant, 0, ident.Digest{}, 10_000)
		if check.Fault != "" || !check.Done {
			s.t.Errorf("audit log: %+v", check)
		}
		entries, err3 := r.Audits(tenant, 0, 10_000)
		for _, e := range entries {
			if strings.HasPrefix(e.Command, "campaign/") {
				out.Commands = append(out.Commands, e.Command+" "+e.Campaign.String())
			}
		}
		return errors.Join(storetest.Audit(r), err, err2, err3)
	})
	if err := errors.Join(err, store.Close()); err != nil {
		s.t.Error(err)
	}
}
