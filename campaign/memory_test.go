package campaign_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

type key struct {
	c ident.Campaign
	d ident.Device
}

// memory is one tenant's records in maps, with every index computed by a scan: what the rules say can be judged without
// any store. Records are copied on the way in and out, so that nothing is shared by accident. Methods that no rule
// calls are those of the nil Tx inside.
type memory struct {
	campaign.Tx
	manifests   map[ident.Digest]firmware.Manifest
	devices     map[ident.Device]campaign.Device
	works       map[ident.Device]campaign.Work
	campaigns   map[ident.Campaign]campaign.Campaign
	assignments map[key]campaign.Assignment
	audits      []campaign.AuditEntry
	quota       campaign.Quota
	ledger      []campaign.LedgerEntry
	turned      campaign.TurnedAway
	fail        error // what every read answers, if set
	writes      int
}

func newMemory() *memory {
	return &memory{
		manifests: map[ident.Digest]firmware.Manifest{}, devices: map[ident.Device]campaign.Device{},
		works: map[ident.Device]campaign.Work{}, campaigns: map[ident.Campaign]campaign.Campaign{},
		assignments: map[key]campaign.Assignment{},
	}
}

// clone is a snapshot: records are replaced, never changed, so the maps are all there is to copy.
func (m *memory) clone() *memory {
	c := *m
	c.manifests, c.devices, c.works = maps.Clone(m.manifests), maps.Clone(m.devices), maps.Clone(m.works)
	c.campaigns, c.assignments = maps.Clone(m.campaigns), maps.Clone(m.assignments)
	return &c
}

func get[K comparable, V any](m *memory, from map[K]V, k K, copied func(V) V) (V, error) {
	v, ok := from[k]
	if m.fail != nil || !ok {
		var zero V
		return zero, cmp.Or(m.fail, campaign.ErrNotFound)
	}
	return copied(v), nil
}

func copyDevice(d campaign.Device) campaign.Device {
	d.Installed, d.Algs = slices.Clone(d.Installed), slices.Clone(d.Algs)
	d.Facts, d.Labels, d.Groups = maps.Clone(d.Facts), maps.Clone(d.Labels), slices.Clone(d.Groups)
	return d
}

func copyWork(w campaign.Work) campaign.Work {
	return campaign.Work{Live: slices.Clone(w.Live), Waiting: slices.Clone(w.Waiting), Recent: slices.Clone(w.Recent),
		Failures: slices.Clone(w.Failures)}
}

func copyAssignment(a campaign.Assignment) campaign.Assignment {
	a.Path = slices.Clone(a.Path)
	return a
}

func copyCampaign(c campaign.Campaign) campaign.Campaign {
	c.Bounds, c.Selection.Devices = slices.Clone(c.Bounds), slices.Clone(c.Selection.Devices)
	c.Selection.Labels = maps.Clone(c.Selection.Labels)
	c.Selection.From.States = slices.Clone(c.Selection.From.States)
	c.Policy.Waves, c.Policy.Deadlines = slices.Clone(c.Policy.Waves), maps.Clone(c.Policy.Deadlines)
	c.Policy.Retry.Reasons = slices.Clone(c.Policy.Retry.Reasons)
	return c
}

func (m *memory) Manifest(_ ident.Tenant, d ident.Digest) (firmware.Manifest, error) {
	return get(m, m.manifests, d, func(v firmware.Manifest) firmware.Manifest { return v })
}

func (m *memory) Device(_ ident.Tenant, d ident.Device) (campaign.Device, error) {
	return get(m, m.devices, d, copyDevice)
}

func (m *memory) Boot(_ ident.Tenant, d ident.Device) (uint64, error) {
	return m.devices[d].Boot, m.fail
}

func (m *memory) Work(_ ident.Tenant, d ident.Device) (campaign.Work, error) {
	return copyWork(m.works[d]), m.fail
}

func (m *memory) Campaign(_ ident.Tenant, c ident.Campaign) (campaign.Campaign, error) {
	return get(m, m.campaigns, c, copyCampaign)
}

func (m *memory) Assignment(_ ident.Tenant, c ident.Campaign, d ident.Device) (campaign.Assignment, error) {
	return get(m, m.assignments, key{c, d}, copyAssignment)
}

// scan returns the assignments of c that keep says, sorted.
func (m *memory) scan(c ident.Campaign, limit int, keep func(campaign.Assignment) bool, by func(a, b campaign.Assignment) int) ([]campaign.Assignment, error) {
	var out []campaign.Assignment
	for k, a := range m.assignments {
		if k.c == c && keep(a) {
			out = append(out, copyAssignment(a))
		}
	}
	slices.SortFunc(out, func(a, b campaign.Assignment) int { return cmp.Or(by(a, b), byDevice(a, b)) })
	return out[:min(limit, len(out))], m.fail
}

func byDevice(a, b campaign.Assignment) int { return cmp.Compare(a.Device.String(), b.Device.String()) }

func byPlace(a, b campaign.Place) int {
	return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Device.String(), b.Device.String()))
}

func (m *memory) Assignments(_ ident.Tenant, c ident.Campaign, after ident.Device, limit int) ([]campaign.Assignment, error) {
	return m.scan(c, limit, func(a campaign.Assignment) bool { return a.Device.String() > after.String() }, byDevice)
}

func (m *memory) InState(_ ident.Tenant, c ident.Campaign, s campaign.State, after campaign.Place, limit int) ([]campaign.Assignment, error) {
	return m.scan(c, limit,
		func(a campaign.Assignment) bool {
			return a.State == s && !a.Waiting && !a.Unpaid && byPlace(a.Place(), after) > 0
		},
		func(a, b campaign.Assignment) int { return byPlace(a.Place(), b.Place()) })
}

func (m *memory) StateIndex(_ ident.Tenant, c ident.Campaign) (campaign.StateIndex, error) {
	x := campaign.StateIndex{Entries: map[campaign.State]int{}}
	for k, a := range m.assignments {
		if k.c == c && !a.Waiting && !a.Unpaid {
			x.Entries[a.State]++
		}
	}
	return x, m.fail
}

func (m *memory) DueBy(_ ident.Tenant, c ident.Campaign, until time.Time, limit int) ([]campaign.Assignment, error) {
	return m.scan(c, limit,
		func(a campaign.Assignment) bool { return !a.Due().IsZero() && !a.Due().After(until) },
		func(a, b campaign.Assignment) int { return a.Due().Compare(b.Due()) })
}

func (m *memory) NextDue(t ident.Tenant, c ident.Campaign) (time.Time, error) {
	list, err := m.DueBy(t, c, time.Unix(1<<40, 0), 1)
	if err != nil || len(list) == 0 {
		return time.Time{}, err
	}
	return list[0].Due(), nil
}

func (m *memory) Asking(_ ident.Tenant, c ident.Campaign, value string, limit int) ([]campaign.Assignment, error) {
	return m.scan(c, limit,
		func(a campaign.Assignment) bool { v, ok := a.InLine(); return ok && v == value },
		func(a, b campaign.Assignment) int { return a.Permit.Asked.Compare(b.Permit.Asked) })
}

func (m *memory) Counts(_ ident.Tenant, c ident.Campaign) (campaign.Counts, error) {
	var n campaign.Counts
	for k, a := range m.assignments {
		if k.c == c {
			n.Add(a.Wave, a.State, 1)
			n.Reports += a.Reports
			n.Charge(false, a.Charged)
			n.AddMarks(a, 1)
			n.AddReason(a.State, a.Reason, 1)
			n.Permit(a, 1)
		}
	}
	return n, m.fail
}

func (m *memory) Running(_ ident.Tenant, after ident.Campaign, limit int) ([]campaign.Campaign, error) {
	var out []campaign.Campaign
	for _, c := range m.campaigns {
		if c.Phase.Running() && c.ID.String() > after.String() {
			out = append(out, copyCampaign(c))
		}
	}
	slices.SortFunc(out, func(a, b campaign.Campaign) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return out[:min(limit, len(out))], m.fail
}

func (m *memory) Devices(_ ident.Tenant, after ident.Device, limit int) ([]campaign.Device, error) {
	ids := page(m.devices, after, limit)
	out := make([]campaign.Device, len(ids))
	for i, id := range ids {
		out[i] = copyDevice(m.devices[id])
	}
	return out, m.fail
}

func (m *memory) DevicesOf(_ ident.Tenant, ids []ident.Device) ([]campaign.Device, error) {
	out := make([]campaign.Device, len(ids))
	for i, id := range ids {
		out[i] = copyDevice(m.devices[id])
	}
	return out, m.fail
}

func (m *memory) WorksOf(_ ident.Tenant, ids []ident.Device) ([]campaign.Work, error) {
	out := make([]campaign.Work, len(ids))
	for i, id := range ids {
		out[i] = copyWork(m.works[id])
	}
	return out, m.fail
}

func (m *memory) Narrow(_ ident.Tenant, n campaign.Narrow, after ident.Device, limit int) (ids []ident.Device, next ident.Device, err error) {
	match := map[ident.Device]campaign.Device{}
	for id, d := range m.devices {
		in := d.Vendor == n.Vendor && d.Class == n.Class || n.Vendor == uuid.Nil && n.Class == uuid.Nil
		for k, v := range n.Labels {
			have, ok := d.Labels[k]
			in = in && ok && have == v
		}
		for _, g := range n.Groups {
			in = in && slices.Contains(d.Groups, g)
		}
		if in {
			match[id] = d
		}
	}
	if ids = page(match, after, limit); len(ids) == limit {
		next = ids[limit-1]
	}
	return ids, next, m.fail
}

func (m *memory) Continuous(ident.Tenant) (ids []ident.Campaign, err error) {
	for id, c := range m.campaigns {
		if c.Joinable() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b ident.Campaign) int { return cmp.Compare(a.String(), b.String()) })
	return ids, m.fail
}

func (m *memory) Works(_ ident.Tenant, after ident.Device, limit int) ([]campaign.DeviceWork, error) {
	live := maps.Clone(m.works)
	maps.DeleteFunc(live, func(_ ident.Device, w campaign.Work) bool { return len(w.Live) == 0 })
	var out []campaign.DeviceWork
	for _, id := range page(live, after, limit) {
		out = append(out, campaign.DeviceWork{Device: id, Work: copyWork(live[id])})
	}
	return out, m.fail
}

func page[V any](from map[ident.Device]V, after ident.Device, limit int) []ident.Device {
	ids := slices.SortedFunc(maps.Keys(from), func(a, b ident.Device) int { return cmp.Compare(a.String(), b.String()) })
	ids = slices.DeleteFunc(ids, func(d ident.Device) bool { return d.String() <= after.String() })
	return ids[:min(limit, len(ids))]
}

func (m *memory) PutDevice(_ ident.Tenant, d campaign.Device) error {
	m.writes++
	m.devices[d.ID] = copyDevice(d)
	return nil
}

func (m *memory) PutWork(_ ident.Tenant, d ident.Device, w campaign.Work) error {
	m.writes++
	m.works[d] = copyWork(w)
	return nil
}

func (m *memory) PutCampaign(_ ident.Tenant, c campaign.Campaign) error {
	m.writes++
	m.campaigns[c.ID] = copyCampaign(c)
	return nil
}

func (m *memory) Ended(_ ident.Tenant, p campaign.Phase, until time.Time, limit int) ([]campaign.Campaign, error) {
	var out []campaign.Campaign
	for _, c := range m.campaigns {
		if c.Phase == p && !c.StoppedAt.After(until) {
			out = append(out, copyCampaign(c))
		}
	}
	slices.SortFunc(out, func(a, b campaign.Campaign) int {
		return cmp.Or(a.StoppedAt.Compare(b.StoppedAt), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return out[:min(limit, len(out))], m.fail
}

func (m *memory) DeleteCampaign(_ ident.Tenant, c ident.Campaign) error {
	m.writes++
	delete(m.campaigns, c)
	return nil
}

func (m *memory) DeleteAssignment(_ ident.Tenant, c ident.Campaign, d ident.Device) error {
	m.writes++
	delete(m.assignments, key{c, d})
	return nil
}

func (m *memory) PutAssignment(_ ident.Tenant, a campaign.Assignment) error {
	m.writes++
	m.assignments[key{a.Campaign, a.Device}] = copyAssignment(a)
	return nil
}

// The cast of the tests.
var (
	acme      = ident.MustTenant("acme")
	vendor    = uuid.MustParse("11111111-1111-4111-8111-111111111111")
	class     = uuid.MustParse("22222222-2222-4222-8222-222222222222")
	component = "00"
	factory   = ident.SumDigest([]byte("factory"))
	start     = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
)

func device(s string) ident.Device {
	d, err := ident.ParseDevice(s)
	if err != nil {
		panic(err)
	}
	return d
}

func campaignID(s string) ident.Campaign {
	c, err := ident.ParseCampaign(s)
	if err != nil {
		panic(err)
	}
	return c
}

// fataler is what a world needs of a test; *testing.T and *rapid.T have it.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// world runs steps on records the way a store and its callers would, and remembers what devices' topics show.
type world struct {
	t     fataler
	m     *memory
	now   time.Time
	seq   uint64 // one counter for all devices will do
	topic map[ident.Device]ident.Digest
	moves []campaign.Transition
	check campaign.Checker
	deaf  map[ident.Device]bool // who is away, and not told of an offer before it comes back
	slice int
	woken map[ident.Campaign]bool // campaigns that results named
	// mirror, if there is one, does each committed step elsewhere too, given the records that it was done on.
	mirror func(before *memory, step func(campaign.Tx) (campaign.Result, error), res campaign.Result)
	watch  func(before, after *memory) // sees each committed step, if there is one
	lose   func() loss                 // what a crash takes from the next step; nil: nothing ever
	lost   loss                        // what it took from the last one
}

// loss is what a crash takes.
type loss int

const (
	nothing loss = iota
	commit       // the step ran, and nothing of it is there
	words        // it is durable, and nothing was said
)

func newWorld(t fataler) *world {
	return &world{t: t, m: newMemory(), now: start, topic: map[ident.Device]ident.Digest{}, slice: 100, woken: map[ident.Campaign]bool{},
		check: func(campaign.Reader, firmware.Manifest) error { return nil }}
}

// update is attempt for a step that must not fail.
func (w *world) update(step func(campaign.Tx) (campaign.Result, error)) campaign.Result {
	w.t.Helper()
	res, err := w.attempt(step)
	if err != nil {
		w.t.Fatalf("step: %v", err)
	}
	return res
}

// attempt runs step twice on the same records, as a store may, and keeps the second run.
func (w *world) attempt(step func(campaign.Tx) (campaign.Result, error)) (campaign.Result, error) {
	w.t.Helper()
	first, err1 := step(w.m.clone())
	tx := w.m.clone()
	res, err := step(tx)
	if diff := gocmp.Diff(first, res, equate); diff != "" || (err == nil) != (err1 == nil) {
		w.t.Fatalf("a second run gives something else: %v, %v\n%s", err1, err, diff)
	}
	if err != nil {
		return campaign.Result{}, err
	}
	if w.lost = nothing; w.lose != nil {
		w.lost = w.lose()
	}
	before := w.m
	if w.lost != commit {
		w.m = tx
		if w.watch != nil {
			w.watch(before, tx)
		}
	}
	if w.lost != nothing {
		return campaign.Result{}, nil
	}
	if w.mirror != nil {
		w.mirror(before, step, res)
	}
	for _, c := range res.Campaigns {
		w.woken[c] = true
	}
	for _, o := range res.Offers {
		w.topic[o.Device] = o.Manifest
	}
	for _, c := range res.Clears {
		delete(w.topic, c.Device)
	}
	w.moves = append(w.moves, res.Transitions...)
	return res, nil
}

// equate compares identifiers, whose text is unexported, with ==.
var equate = cmpopts.EquateComparable(ident.Device{}, ident.Campaign{})

func (w *world) manifest(name string) firmware.Manifest {
	m := firmware.Manifest{Digest: ident.SumDigest([]byte("manifest " + name)), Image: ident.SumDigest([]byte(name)),
		Vendor: vendor, Class: class, Component: component, Size: 1000, Sequence: 7}
	m.Fetches = []firmware.Fetch{{Role: firmware.RoleCiphertext, Digest: ident.SumDigest([]byte("encrypted " + name)), Size: 1016}}
	w.m.manifests[m.Digest] = m
	return m
}

func (w *world) register(ids ...string) {
	for _, id := range ids {
		w.m.devices[device(id)] = campaign.Device{ID: device(id), Vendor: vendor, Class: class, Created: w.now}
	}
}

// policy is a lenient one; tests tighten what they are about.
func policy(change ...func(*campaign.Policy)) campaign.Policy {
	p := campaign.PolicyDefaults()
	p.FailurePercent = 100
	for _, c := range change {
		c(&p)
	}
	return p
}

// create makes campaign id of manifest m for all devices and starts it.
func (w *world) create(id string, m firmware.Manifest, p campaign.Policy, devices ...string) ident.Campaign {
	w.t.Helper()
	c := campaignID(id)
	spec := campaign.Spec{ID: c, Manifest: m.Digest, Policy: p, Seed: [16]byte{1}, By: "op"}
	for _, d := range devices {
		spec.Selection.Devices = append(spec.Selection.Devices, device(d))
	}
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, err := campaign.Create(tx, w.now, acme, spec)
		return campaign.Result{}, err
	})
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Start(tx, w.now, acme, c, 0, "op")
		return res, err
	})
	return c
}

// run advances c until it wants to wait.
func (w *world) run(c ident.Campaign) campaign.Wake {
	w.t.Helper()
	for range 2000 {
		wake := w.advance(c)
		if !wake.Again {
			return wake
		}
	}
	w.t.Fatalf("campaign %s never rests", c)
	return campaign.Wake{}
}

func (w *world) outside() campaign.Outside {
	return campaign.Outside{Check: w.check, Listens: func(d ident.Device) bool { return !w.deaf[d] }}
}

func (w *world) advance(c ident.Campaign) campaign.Wake {
	w.t.Helper()
	var wake campaign.Wake
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		res, wk, err := campaign.Advance(tx, w.now, acme, c, w.outside(), w.slice)
		wake = wk
		return res, err
	})
	if !wake.Fetch {
		return wake
	}
	f, err := campaign.Fetch(w.m.clone(), acme, c)
	if err != nil {
		w.t.Fatalf("fetch: %v", err)
	}
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		res, wk, err := campaign.Freeze(tx, w.now, acme, c, f)
		wake = wk
		return res, err
	})
	return wake
}

func (w *world) stop(c ident.Campaign) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Stop(tx, w.now, acme, c, 0, "op", "")
		return res, err
	})
}

// report sends a report with the next sequence number.
func (w *world) report(d string, m firmware.Manifest, word string, change ...func(*campaign.Report)) campaign.Result {
	w.t.Helper()
	w.seq++
	r := campaign.Report{Seq: w.seq, Manifest: m.Digest, State: word}
	for _, c := range change {
		c(&r)
	}
	return w.update(func(tx campaign.Tx) (campaign.Result, error) {
		return campaign.ApplyReport(tx, w.now, acme, device(d), r)
	})
}

// holding says in a report that the component holds the digest.
func holding(d ident.Digest) func(*campaign.Report) {
	return func(r *campaign.Report) { r.Installed = []campaign.Image{{Component: component, Digest: d}} }
}

// hello says hello with the next sequence number and the given boot; a zero digest says nothing of the component.
func (w *world) hello(d string, installed ident.Digest, boot uint64) campaign.Result {
	w.t.Helper()
	w.seq++
	h := campaign.Hello{Seq: w.seq, Vendor: vendor, Class: class, Boot: boot}
	if !installed.IsZero() {
		h.Installed = []campaign.Image{{Component: component, Digest: installed}}
	}
	return w.sayHello(d, h)
}

func (w *world) sayHello(d string, h campaign.Hello) campaign.Result {
	w.t.Helper()
	return w.update(func(tx campaign.Tx) (campaign.Result, error) {
		return campaign.ApplyHello(tx, w.now, acme, device(d), h)
	})
}

func (w *world) campaign(c ident.Campaign) campaign.Campaign { return w.m.campaigns[c] }

func (w *world) assignment(c ident.Campaign, d string) campaign.Assignment {
	return w.m.assignments[key{c, device(d)}]
}

// want fails unless the assignment stands in state s, and the device's topic agrees.
func (w *world) want(c ident.Campaign, d string, s campaign.State) {
	w.t.Helper()
	a := w.assignment(c, d)
	if a.State != s {
		w.t.Fatalf("%s in %s is %q (%s), want %q; path %v", d, c, a.State, a.Reason, s, a.Path)
	}
	if _, shown := w.topic[device(d)]; s.Live() && !shown {
		w.t.Fatalf("%s is %s and its topic is empty", d, s)
	}
}

// wantEnd fails unless the campaign has stopped with the outcome.
func (w *world) wantEnd(c ident.Campaign, o campaign.Outcome) {
	w.t.Helper()
	if have := w.campaign(c); have.Phase != campaign.Stopped || have.Outcome != o {
		w.t.Fatalf("campaign is %s %q (%s), want stopped %q", have.Phase, have.Outcome, have.Reason, o)
	}
}

var _ fataler = (*testing.T)(nil)

// campaignAnd is a campaign with its manifest.
type campaignAnd struct {
	c ident.Campaign
	m firmware.Manifest
}
