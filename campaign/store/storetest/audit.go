package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// page is how many records Audit reads at once: small enough that tests cross its border.
const page = 50

// Audit compares everything that a store derives (counts, index by state, due times, lines for permits, running campaigns, live works, what manifests
// fetch and campaigns need, indexes of the registry) with a scan of the records, for all tenants, and returns what differs.
func Audit(r campaign.Reader) error {
	ts, err := all(func(after ident.Tenant) ([]campaign.Tenant, error) { return r.Tenants(after, page) },
		func(t campaign.Tenant) ident.Tenant { return t.ID })
	var errs []error
	for _, t := range ts {
		if err := AuditTenant(r, t.ID); err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", t.ID, err))
		}
	}
	return errors.Join(append(errs, err)...)
}

// AuditTenant is Audit for one tenant, whether it has a record or not.
func AuditTenant(r campaign.Reader, t ident.Tenant) error {
	cs, err := all(func(after ident.Campaign) ([]campaign.Campaign, error) { return r.Campaigns(t, after, page) },
		func(c campaign.Campaign) ident.Campaign { return c.ID })
	if err != nil {
		return err
	}
	running, err := all(func(after ident.Campaign) ([]campaign.Campaign, error) { return r.Running(t, after, page) },
		func(c campaign.Campaign) ident.Campaign { return c.ID })
	if err != nil {
		return err
	}
	want := slices.DeleteFunc(slices.Clone(cs), func(c campaign.Campaign) bool { return !c.Phase.Running() })
	errs := []error{differ("running campaigns", want, running), auditRegistry(r, t), auditEnded(r, t, cs), auditContinuous(r, t, cs), auditUses(r, t, cs)}
	for _, c := range cs {
		if err := AuditCampaign(r, t, c.ID); err != nil {
			errs = append(errs, fmt.Errorf("campaign %s: %w", c.ID, err))
		}
	}
	return errors.Join(append(errs, auditWorks(r, t))...)
}

// AuditCampaign compares counts and indexes of one campaign with its assignments.
func AuditCampaign(r campaign.Reader, t ident.Tenant, c ident.Campaign) error {
	as, err := all(func(after ident.Device) ([]campaign.Assignment, error) { return r.Assignments(t, c, after, page) },
		func(a campaign.Assignment) ident.Device { return a.Device })
	if err != nil {
		return err
	}
	counts, err := r.Counts(t, c)
	if err != nil {
		return err
	}
	index, err := r.StateIndex(t, c)
	if err != nil {
		return err
	}
	listed := map[campaign.State]int{}
	for _, a := range as {
		if !a.Waiting && !a.Unpaid {
			listed[a.State]++
		}
	}
	errs := []error{differ("counts", countsOf(as), told(counts)), differ("entries by state", listed, index.Entries)}
	if index.Kept != nil {
		maps.DeleteFunc(index.Kept, func(_ campaign.State, n int) bool { return n == 0 })
		errs = append(errs, differ("kept by state", listed, index.Kept))
	}
	for _, s := range campaign.States {
		in, err := all(func(after campaign.Place) ([]campaign.Assignment, error) { return r.InState(t, c, s, after, page) },
			campaign.Assignment.Place)
		if err != nil {
			return err
		}
		want := slices.DeleteFunc(slices.Clone(as), func(a campaign.Assignment) bool { return a.State != s || a.Waiting || a.Unpaid })
		slices.SortFunc(want, byPlace)
		errs = append(errs, differ("in state "+string(s), want, in))
	}
	unpaid, err := r.Unpaid(t, c, len(as)+1)
	if err != nil {
		return err
	}
	want := slices.DeleteFunc(slices.Clone(as), func(a campaign.Assignment) bool { return !a.Unpaid })
	slices.SortFunc(want, byPlace)
	return errors.Join(append(errs, differ("unpaid", want, unpaid), auditDue(r, t, c, as), auditAsking(r, t, c, as))...)
}

// auditAsking compares each line for a permit with the assignments that stand in it.
func auditAsking(r campaign.Reader, t ident.Tenant, c ident.Campaign, as []campaign.Assignment) error {
	values := map[string]bool{"": true}
	for _, a := range as {
		values[a.Permit.Value] = true
	}
	var errs []error
	for value := range values {
		want := slices.DeleteFunc(slices.Clone(as), func(a campaign.Assignment) bool { v, ok := a.InLine(); return !ok || v != value })
		slices.SortFunc(want, func(a, b campaign.Assignment) int {
			return cmp.Or(a.Permit.Asked.Compare(b.Permit.Asked), cmp.Compare(a.Device.String(), b.Device.String()))
		})
		line, err := r.Asking(t, c, value, len(as)+1)
		errs = append(errs, err, differ("in line for "+value, want, line))
	}
	return errors.Join(errs...)
}

func auditDue(r campaign.Reader, t ident.Tenant, c ident.Campaign, as []campaign.Assignment) error {
	want := slices.DeleteFunc(slices.Clone(as), func(a campaign.Assignment) bool { return a.Due().IsZero() })
	slices.SortFunc(want, byDue)
	var first, last time.Time
	if len(want) > 0 {
		first, last = want[0].Due(), want[len(want)-1].Due()
	}
	next, err := r.NextDue(t, c)
	if err != nil {
		return err
	}
	due, err := r.DueBy(t, c, last, len(as)+1)
	if err != nil {
		return err
	}
	errs := []error{differ("due", want, due)}
	if next.After(first) || next.IsZero() != first.IsZero() {
		errs = append(errs, fmt.Errorf("next due is %v, the first is due at %v", next, first))
	}
	return errors.Join(errs...)
}

// auditWorks compares the list of live works with the works of the registered devices. A device that is listed need not
// be registered, but must have live work.
func auditWorks(r campaign.Reader, t ident.Tenant) error {
	works, err := all(func(after ident.Device) ([]campaign.DeviceWork, error) { return r.Works(t, after, page) },
		func(w campaign.DeviceWork) ident.Device { return w.Device })
	if err != nil {
		return err
	}
	listed := map[ident.Device]bool{}
	var errs []error
	for _, w := range works {
		listed[w.Device] = true
		if len(w.Work.Live) == 0 {
			errs = append(errs, fmt.Errorf("device %s is listed without live work", w.Device))
		}
	}
	ds, err := all(func(after ident.Device) ([]campaign.Device, error) { return r.Devices(t, after, page) },
		func(d campaign.Device) ident.Device { return d.ID })
	if err != nil {
		return err
	}
	for _, d := range ds {
		w, err := r.Work(t, d.ID)
		if err != nil {
			return err
		}
		if live := len(w.Live) > 0; live != listed[d.ID] {
			errs = append(errs, fmt.Errorf("device %s: live work %t, listed %t", d.ID, live, listed[d.ID]))
		}
	}
	return errors.Join(errs...)
}

// all walks a list to its end.
func all[T, K any](next func(after K) ([]T, error), of func(T) K) (vs []T, err error) {
	var after K
	for {
		page, err := next(after)
		if err != nil || len(page) == 0 {
			return vs, err
		}
		vs = append(vs, page...)
		after = of(page[len(page)-1])
	}
}

// told leaves out the reasons that nothing counts as any more: a scan does not know of them.
func told(n campaign.Counts) campaign.Counts {
	n = n.Clone()
	maps.DeleteFunc(n.Reasons, func(_ string, k uint64) bool { return k == 0 })
	return n
}

// countsOf counts as by scanning them.
func countsOf(as []campaign.Assignment) (n campaign.Counts) {
	for _, a := range as {
		n.Add(a.Wave, a.State, 1)
		n.Reports += a.Reports
		n.Charge(false, a.Charged)
		n.AddMarks(a, 1)
		n.AddReason(a.State, a.Reason, 1)
		n.Permit(a, 1)
	}
	return n
}

func byPlace(a, b campaign.Assignment) int {
	return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Device.String(), b.Device.String()))
}

func byDue(a, b campaign.Assignment) int {
	return cmp.Or(a.Due().Compare(b.Due()), cmp.Compare(a.Device.String(), b.Device.String()))
}

func differ(what string, want, got any) error {
	if d := gocmp.Diff(want, got, gocmp.Exporter(isIdent), cmpopts.EquateEmpty()); d != "" {
		return fmt.Errorf("%s differ from a scan (-scan +store):\n%s", what, d)
	}
	return nil
}
