package badger

import (
	"fmt"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// starts is an empty source that notes where scans start.
type starts struct{ from []string }

func (*starts) get([]byte, func([]byte) error) (bool, error) { return false, nil }

func (*starts) among([]byte, []string, func(int, []byte) error) error { return nil }

func (s *starts) scan(_, from []byte, _ bool, _ func(key, val []byte) (bool, error)) error {
	s.from = append(s.from, string(from))
	return nil
}

// TestFronts: a scan of a queue starts at its front, where the one before found its first entry, a put in front of it
// moves it back, and a rollback does so for what it takes back.
func TestFronts(t *testing.T) {
	base := &starts{}
	o := newOverlay(newMemory())
	o.reset(base)
	tn := ident.MustTenant("t")
	c, err := ident.ParseCampaign("c")
	if err != nil {
		t.Fatal(err)
	}
	at := func(order uint64) key {
		return statePrefix(tn, c, campaign.Pending).place(campaign.Place{Order: order})
	}
	prefix := statePrefix(tn, c, campaign.Pending)
	// scan returns the first entry, and where in base it was looked for.
	scan := func() (first, from string) {
		t.Helper()
		err := o.scan(prefix, prefix, true, func(k, _ []byte) (bool, error) { first = string(k); return false, nil })
		if err != nil {
			t.Fatal(err)
		}
		return first, base.from[len(base.from)-1]
	}
	check := func(what string, wantFirst, wantFrom key) {
		t.Helper()
		if first, from := scan(); first != string(wantFirst) || from != string(wantFrom) {
			t.Errorf("%s: found %q from %q, want %q from %q", what, first, from, wantFirst, wantFrom)
		}
	}
	o.begin()
	for i := range uint64(10) {
		o.put(at(i), nil)
	}
	check("unknown", at(0), prefix)
	o.delete(at(0))
	o.delete(at(1))
	check("after two were taken", at(2), at(0))
	check("again", at(2), at(2))
	o.begin()
	o.put(at(1), nil)
	check("after one was put back", at(1), at(1))
	o.rollback()
	check("after the putting back was undone", at(2), at(2))
	o.begin()
	for i := range uint64(10) {
		o.delete(at(i))
	}
	check("empty", nil, at(2))
	check("known to be empty", nil, key(behind(string(prefix))))
	o.rollback()
	check("after the emptying was undone", at(2), at(2))
	o.begin()
	o.put(at(0), nil)
	check("in front of the front", at(0), at(0))
}

func TestFrontPrefix(t *testing.T) {
	tn := ident.MustTenant("t")
	c, err := ident.ParseCampaign("c")
	if err != nil {
		t.Fatal(err)
	}
	due := duePrefix(tn, c)
	state := statePrefix(tn, c, campaign.Pending)
	for _, test := range []struct{ key, want string }{
		{string(due) + "\x80\x00\x00\x00\x00\x00\x00\x01d", string(due)},
		{string(state) + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01d", string(state)},
		{string(state), string(state)},
		{string(keyOf(tn, kindState).part("c")), ""},
		{string(keyOf(tn, kindDevice).last("s")), ""},
		{string(schemaKey), ""},
		{string(tenantKey(tn)), ""},
		{"t\x00", ""},
		{"", ""},
	} {
		if got := frontPrefix(test.key); got != test.want {
			t.Errorf("front prefix of %q: %q, want %q", test.key, got, test.want)
		}
	}
}

// TestFrontsAreBounded: what is forgotten is only slower.
func TestFrontsAreBounded(t *testing.T) {
	o := newOverlay(newMemory())
	o.reset(&starts{})
	for i := range 3 * maxFronts {
		o.setFront(fmt.Sprintf("t\x00tc%d\x00", i), "x")
	}
	if n := len(o.memory.fronts); n > maxFronts {
		t.Errorf("%d fronts are kept, at most %d", n, maxFronts)
	}
}
