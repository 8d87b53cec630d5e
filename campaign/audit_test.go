package campaign_test

import (
	"slices"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// verify checks the whole log, limit entries at a time.
func (w *world) verify(limit int) campaign.AuditCheck {
	w.t.Helper()
	var got campaign.AuditCheck
	for range 1000 {
		next, err := campaign.VerifyAudit(w.m, acme, got.Through, got.Hash, limit)
		if err != nil {
			w.t.Fatalf("verify: %v", err)
		}
		next.Checked += got.Checked
		if got = next; got.Done || got.Fault != "" {
			return got
		}
	}
	w.t.Fatalf("verify never ends: %+v", got)
	return got
}

// audited is a world whose log has the decisions of one campaign.
func audited(t *testing.T) *world {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(4)...)
	c := campaignAnd{w.create("c", m, policy(func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Count: 1}, {Percent: 100}} })), m}
	for range 2 {
		w.run(c.c)
		w.answer(c, "installed", holding(m.Image))
	}
	w.run(c.c)
	w.wantEnd(c.c, campaign.Succeeded)
	return w
}

// TestEngineDecisionsAreInTheAuditLog: each once, although every step runs twice.
func TestEngineDecisionsAreInTheAuditLog(t *testing.T) {
	w := audited(t)
	var got []string
	for _, e := range w.m.audits {
		got = append(got, e.Command)
		if e.By != "" || e.Campaign != campaignID("c") || e.After <= e.Before || e.At.IsZero() {
			t.Errorf("%+v", e)
		}
	}
	want := []string{"engine/starting", "engine/active", "engine/wave", "engine/stopping", "engine/stopped"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if last := w.m.audits[len(want)-2]; last.Outcome != "succeeded" {
		t.Errorf("outcome %q", last.Outcome)
	}
	for _, limit := range []int{1, 2, 5, 100} {
		if c := w.verify(limit); !c.Done || c.Checked != uint64(len(want)) || c.Through != uint64(len(want)) || c.Hash != w.m.audits[len(want)-1].Hash {
			t.Errorf("%d at a time: %+v", limit, c)
		}
	}
}

// TestAuditLogShowsWhatWasChanged changes one thing of one entry at a time, takes entries out, swaps and repeats them.
func TestAuditLogShowsWhatWasChanged(t *testing.T) {
	tamper := map[string]func(list []campaign.AuditEntry) []campaign.AuditEntry{
		"taken out":     func(l []campaign.AuditEntry) []campaign.AuditEntry { return slices.Delete(l, 2, 3) },
		"first out":     func(l []campaign.AuditEntry) []campaign.AuditEntry { return l[1:] },
		"swapped":       func(l []campaign.AuditEntry) []campaign.AuditEntry { l[1], l[2] = l[2], l[1]; return l },
		"renumbered":    func(l []campaign.AuditEntry) []campaign.AuditEntry { l[2].Number++; return l },
		"last replaced": func(l []campaign.AuditEntry) []campaign.AuditEntry { l[4].Outcome = "x"; return l },
	}
	for name, change := range map[string]func(*campaign.AuditEntry){
		"at":       func(e *campaign.AuditEntry) { e.At = e.At.Add(1) },
		"by":       func(e *campaign.AuditEntry) { e.By = "somebody" },
		"command":  func(e *campaign.AuditEntry) { e.Command += "x" },
		"object":   func(e *campaign.AuditEntry) { e.Object += "x" },
		"campaign": func(e *campaign.AuditEntry) { e.Campaign = campaignID("d") },
		"before":   func(e *campaign.AuditEntry) { e.Before++ },
		"after":    func(e *campaign.AuditEntry) { e.After++ },
		"body":     func(e *campaign.AuditEntry) { e.Body[0]++ },
		"outcome":  func(e *campaign.AuditEntry) { e.Outcome += "x" },
		"prev":     func(e *campaign.AuditEntry) { e.Prev[0]++ },
		"hash":     func(e *campaign.AuditEntry) { e.Hash[0]++ },
	} {
		tamper[name] = func(l []campaign.AuditEntry) []campaign.AuditEntry { change(&l[1]); return l }
	}
	good := audited(t)
	for name, change := range tamper {
		w := newWorld(t)
		w.m.audits = change(slices.Clone(good.m.audits))
		for _, limit := range []int{1, 100} {
			if c := w.verify(limit); c.Fault == "" || c.Done || c.At == 0 {
				t.Errorf("%s, %d at a time: not found: %+v", name, limit, c)
			}
		}
	}
}

// TestAuditLogAgainstAKeptHash: who kept number and hash of the end sees when the log behind it was written anew.
func TestAuditLogAgainstAKeptHash(t *testing.T) {
	w := audited(t)
	kept := w.verify(100)
	w.m.audits = w.m.audits[:3]
	if c := w.verify(100); !c.Done {
		t.Errorf("a log that was cut together with its head is as good as any: %+v", c)
	}
	if c, err := campaign.VerifyAudit(w.m, acme, kept.Through, kept.Hash, 100); err != nil || c.Fault == "" {
		t.Errorf("cut: %+v, %v", c, err)
	}
	if c, err := campaign.VerifyAudit(w.m, acme, 3, ident.SumDigest([]byte("other")), 100); err != nil || c.Fault == "" {
		t.Errorf("another hash: %+v, %v", c, err)
	}
}
