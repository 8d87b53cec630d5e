package campaign_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// label runs Label as a store may and fails the test if that fails.
func (w *world) label(filter string, ch campaign.LabelChange, ids ...string) (done campaign.Labelled) {
	w.t.Helper()
	var list []ident.Device
	for _, id := range ids {
		list = append(list, device(id))
	}
	w.update(func(tx campaign.Tx) (res campaign.Result, err error) {
		done, res, err = campaign.Label(tx, w.now, acme, list, filter, ch)
		return res, err
	})
	return done
}

func TestLabel(t *testing.T) {
	w := newWorld(t)
	w.register("a", "b")
	set := campaign.LabelChange{Set: map[string]string{"ring": "canary", "site": "oslo"}, Join: []string{"south", "north", "south"}}
	if done := w.label("", set, "a", "b"); done != (campaign.Labelled{Matched: 2, Changed: 2}) {
		t.Errorf("first: %+v", done)
	}
	if done := w.label("", set, "a", "b"); done != (campaign.Labelled{Matched: 2}) {
		t.Errorf("again: %+v", done)
	}
	change := campaign.LabelChange{Unset: []string{"site", "nothing"}, Leave: []string{"south"}, Join: []string{"east"}}
	if done := w.label(`id == "b"`, change, "a", "b"); done != (campaign.Labelled{Matched: 1, Changed: 1}) {
		t.Errorf("of a filter: %+v", done)
	}
	a, b := w.m.devices[device("a")], w.m.devices[device("b")]
	if len(a.Labels) != 2 || !slices.Equal(a.Groups, []string{"north", "south"}) {
		t.Errorf("a has %v %v", a.Labels, a.Groups)
	}
	if d := gocmp.Diff(map[string]string{"ring": "canary"}, b.Labels); d != "" || !slices.Equal(b.Groups, []string{"east", "north"}) {
		t.Errorf("b has %v %v", b.Labels, b.Groups)
	}
}

func TestLabelRefuses(t *testing.T) {
	w := newWorld(t)
	w.register("a")
	many := map[string]string{}
	for i := range campaign.MaxLabels + 1 {
		many[fmt.Sprint(i)] = ""
	}
	var groups []string
	for i := range campaign.MaxGroups + 1 {
		groups = append(groups, fmt.Sprint(i))
	}
	tests := map[string]struct {
		ids    []ident.Device
		filter string
		ch     campaign.LabelChange
		want   error
	}{
		"a device that is not there": {ids: []ident.Device{device("a"), device("x")}, want: campaign.ErrNotFound},
		"too many labels":            {ids: []ident.Device{device("a")}, ch: campaign.LabelChange{Set: many}},
		"too many groups":            {ids: []ident.Device{device("a")}, ch: campaign.LabelChange{Join: groups}},
		"too many devices":           {ids: make([]ident.Device, campaign.MaxLabelled+1)},
		"no filter":                  {ids: []ident.Device{device("a")}, filter: "lables.x == 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := w.m.clone()
			_, _, err := campaign.Label(m, w.now, acme, tt.ids, tt.filter, tt.ch)
			if _, invalid := errors.AsType[*campaign.InvalidError](err); tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && !invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestFind: pages of every size and every look hold each device that passes once, in order.
func TestFind(t *testing.T) {
	w := newWorld(t)
	var want []ident.Device
	for i := range 40 {
		d := campaign.Device{ID: device(fmt.Sprintf("d%02d", i)), Labels: map[string]string{"third": fmt.Sprint(i % 3)}}
		if i == 7 {
			d.Installed = []campaign.Image{{Component: "00", Version: "?"}}
		} else {
			d.Installed = []campaign.Image{{Component: "00", Version: "1.0.0"}}
		}
		if i%3 == 1 && i != 7 {
			want = append(want, d.ID)
		}
		w.m.devices[d.ID] = d
	}
	q, err := campaign.NewQuery(`labels.third == "1" && version < semver("2.0.0")`, nil, w.now)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 2, 5, 13, 100} {
		for _, look := range []int{1, 3, 40, 1000} {
			var got []ident.Device
			var after ident.Device
			var unjudged uint64
			for pages := 0; ; pages++ {
				page, err := q.Find(w.m, acme, after, size, look)
				if err != nil || len(page.Picked) > size || pages > 100 {
					t.Fatalf("page of %d, look %d: %d devices, %v", size, look, len(page.Picked), err)
				}
				for _, p := range page.Picked {
					got = append(got, p.ID)
				}
				unjudged += page.Unjudged
				if after = page.Next; after.IsZero() {
					break
				}
			}
			if !slices.Equal(got, want) || unjudged == 0 {
				t.Errorf("pages of %d, look %d: got %v, %d unjudged, want %v", size, look, got, unjudged, want)
			}
		}
	}
	y, err := q.Tally(w.m, acme, 3, func() error { return nil })
	if err != nil || y.Total != 40 || y.Matched != uint64(len(want)) || y.Unjudged != 1 || len(y.Sample) != 3 || y.Unjudgeable == "" {
		t.Errorf("tally %+v, %v", y, err)
	}
}

// TestTallyNear: who matched nobody is told what there is.
func TestTallyNear(t *testing.T) {
	w := newWorld(t)
	w.m.devices[device("a")] = campaign.Device{ID: device("a"), Labels: map[string]string{"ring": "canary"}, Groups: []string{"prod"}, Facts: map[string]string{"radio": "lte"}}
	for filter, want := range map[string][]campaign.Near{
		`labels.ring == "canry"`:                          {{Field: "labels.ring", Value: "canry", Have: []string{"canary"}}},
		`"pord" in groups && facts.radio == "lte"`:        {{Field: "groups", Value: "pord", Have: []string{"prod"}}},
		`labels.ring == "canary" && labels.none == "xyz"`: {{Field: "labels.none", Value: "xyz", Have: []string{}}},
	} {
		q, err := campaign.NewQuery(filter, nil, w.now)
		if err != nil {
			t.Fatal(err)
		}
		y, err := q.Tally(w.m, acme, 3, func() error { return nil })
		if d := gocmp.Diff(want, y.Near); d != "" && len(want[0].Have)+len(y.Near[0].Have) > 0 || err != nil {
			t.Errorf("%s: %v %s", filter, err, d)
		}
	}
	stop := errors.New("stop")
	q, err := campaign.NewQuery("true", nil, w.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Tally(w.m, acme, 1, func() error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// TestFreezeOfAnOlderLook: what Fetch found is worth nothing once the campaign has moved.
func TestFreezeOfAnOlderLook(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	c := w.create("c", m, policy())
	for !isFetching(w.campaign(c)) {
		w.update(func(tx campaign.Tx) (campaign.Result, error) {
			res, _, err := campaign.Advance(tx, w.now, acme, c, w.outside(), 10)
			return res, err
		})
	}
	found, err := campaign.Fetch(w.m, acme, c)
	if err != nil {
		t.Fatal(err)
	}
	w.stop(c)
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		res, wake, err := campaign.Freeze(tx, w.now, acme, c, found)
		if !wake.Again {
			t.Error("a campaign that stops is not looked at")
		}
		return res, err
	})
	w.run(c)
	w.wantEnd(c, campaign.UserStopped)
	if _, err := campaign.Fetch(w.m, acme, campaignID("no")); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func isFetching(c campaign.Campaign) bool {
	return c.Phase == campaign.Starting && c.Step == campaign.DeviceFetch
}

// TestUnjudged: a campaign says how many devices its filter could not judge; if that leaves nobody, it is why.
func TestUnjudged(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a", "b")
	d := w.m.devices[device("a")]
	d.Installed = []campaign.Image{{Component: component, Version: "1.0.0"}}
	w.m.devices[d.ID] = d
	for filter, phase := range map[string]campaign.Phase{`version < semver("2.0.0")`: campaign.Active, `version < semver("1.0.0")`: campaign.Stopped} {
		c := campaignID("c-" + string(phase))
		w.update(func(tx campaign.Tx) (campaign.Result, error) {
			_, err := campaign.Create(tx, w.now, acme, campaign.Spec{ID: c, Manifest: m.Digest, Selection: campaign.Selection{Filter: filter}, Policy: policy()})
			return campaign.Result{}, err
		})
		w.update(func(tx campaign.Tx) (campaign.Result, error) {
			_, res, err := campaign.Start(tx, w.now, acme, c, 1, "op")
			return res, err
		})
		w.run(c)
		have := w.campaign(c)
		if have.Phase != phase || have.Unjudged != 1 || have.Unjudgeable != `b: "" is not a version: want 1.2.3 or 1.2.3-rc.1` {
			t.Errorf("%s: %s, %d unjudged, %q (%s)", filter, have.Phase, have.Unjudged, have.Unjudgeable, have.Reason)
		}
	}
}
