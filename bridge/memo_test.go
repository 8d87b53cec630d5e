package bridge

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// Whatever a connection publishes on, in whatever order, its memo reads a topic as topics.Parse does.
func TestMemoReadsTopicsAsTheyAre(t *testing.T) {
	names := []string{"fetch", "report", "hello", "manifest", "chunk/t/1", "nothing", ""}
	var list []string
	for _, who := range []string{"acme/device/d1", "acme/device/d2", "other/device/d1", "other/device/d2"} {
		for _, n := range names {
			list = append(list, "fleet/v1/"+who+"/"+n)
		}
	}
	list = append(list, "", "fleet/v1/acme/command/server/info", "fleet/v1/acme/device/d1")
	backward := slices.Clone(list)
	slices.Reverse(backward)
	for _, order := range [][]string{list, backward} {
		m := &memo{}
		for range 3 {
			for _, topic := range order {
				want, wantErr := topics.Parse(topic)
				got, err := m.parse(strings.Clone(topic))
				if got != want || (err == nil) != (wantErr == nil) {
					t.Errorf("%s: %+v, %v; want %+v, %v", topic, got, err, want, wantErr)
				}
			}
		}
	}
}

// A connection that goes from payload to payload, and from token to token, gets each time what it asked for.
func TestMemoHoldsWhatWasAsked(t *testing.T) {
	br, data := stage(t, 0, "acme")
	c, tenant := br.o.Catalogue, ident.MustTenant("acme")
	small := []byte("small")
	d := ident.SumDigest(small)
	_, err := c.Begin(tenant, d, int64(len(small)))
	if err == nil {
		_, err = c.Append(tenant, d, 0, small)
	}
	if err = errors.Join(err, c.Commit(tenant, d)); err != nil {
		t.Fatal(err)
	}
	m := &memo{}
	var last *firmware.Handle
	for i := range 6 {
		want, size := ident.SumDigest(data), int64(len(data))
		if i%3 == 2 {
			want, size = d, int64(len(small))
		}
		h, err := m.hold(c, tenant, want)
		if err != nil || h.Size() != size {
			t.Fatalf("%d: %v, want %d bytes", i, err, size)
		}
		if i%3 == 1 && h != last {
			t.Errorf("%d: another handle of the same payload", i)
		}
		last = h
		if err := h.Release(); err != nil {
			t.Error(err)
		}
	}
	p := enter(t, br, data, "acme", "dev")
	for _, token := range []string{"a", "b", "a", "a"} {
		p.fetch(t, token, topics.Fetch{Size: 1024, First: 7, Count: 1})
		if got := p.order[len(p.order)-1]; got != "fleet/v1/acme/device/dev/chunk/"+token+"/7" {
			t.Errorf("token %s: sent on %s", token, got)
		}
	}
}
