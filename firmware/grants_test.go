package firmware_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

func TestGrants(t *testing.T) {
	vendor, class := firmware.VendorID("acme.example"), firmware.ClassID(firmware.VendorID("acme.example"), "th-2")
	d := ident.SumDigest([]byte("image"))
	fetch := func(r firmware.Role, uri string) []firmware.Fetch {
		return []firmware.Fetch{{Role: r, Digest: d, Size: 1, URI: uri}}
	}
	ours := firmware.PayloadURI(d)
	plain := firmware.Manifest{Vendor: vendor, Class: class, Component: "00/01", Fetches: fetch(firmware.RoleImage, ours)}
	with := func(f []firmware.Fetch) firmware.Manifest { m := plain; m.Fetches = f; return m }
	uses := func(u ...firmware.Use) firmware.Grants { return firmware.Grants{Uses: u} }
	components := func(c ...string) firmware.Grants { return firmware.Grants{Components: c} }
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		g    firmware.Grants
		m    firmware.Manifest
		at   time.Time
		want error
	}{
		"everything":              {firmware.Grants{}, plain, at, nil},
		"vendor":                  {firmware.Grants{Vendors: []uuid.UUID{class, vendor}}, plain, at, nil},
		"other vendor":            {firmware.Grants{Vendors: []uuid.UUID{class}}, plain, at, firmware.ErrGrant},
		"class":                   {firmware.Grants{Classes: []uuid.UUID{class}}, plain, at, nil},
		"other class":             {firmware.Grants{Classes: []uuid.UUID{vendor}}, plain, at, firmware.ErrGrant},
		"component":               {components("00/01"), plain, at, nil},
		"component above":         {components("00"), plain, at, nil},
		"component below":         {components("00/01/02"), plain, at, firmware.ErrGrant},
		"begins with it":          {components("00/0"), plain, at, firmware.ErrGrant},
		"one of two":              {components("05", "00"), plain, at, nil},
		"image":                   {uses(firmware.UseImage), plain, at, nil},
		"not image":               {uses(firmware.UseDelta, firmware.UseHTTPS), plain, at, firmware.ErrGrant},
		"delta":                   {uses(firmware.UseDelta), with(fetch(firmware.RoleDelta, ours)), at, nil},
		"delta with an image too": {uses(firmware.UseDelta), with(append(fetch(firmware.RoleDelta, ours), plain.Fetches...)), at, firmware.ErrGrant},
		"encrypted":               {uses(firmware.UseImage), with(fetch(firmware.RoleCiphertext, ours)), at, firmware.ErrGrant},
		"integrated":              {uses(firmware.UseImage), with(nil), at, firmware.ErrGrant},
		"https":                   {uses(firmware.UseImage), with(fetch(firmware.RoleImage, "https://a.example/b")), at, firmware.ErrGrant},
		"https granted":           {uses(firmware.UseImage, firmware.UseHTTPS), with(fetch(firmware.RoleImage, "https://a.example/b")), at, nil},
		"too early":               {firmware.Grants{NotBefore: at.Add(1)}, plain, at, firmware.ErrUntimely},
		"too late":                {firmware.Grants{NotAfter: at.Add(-1)}, plain, at, firmware.ErrUntimely},
		"first and last moment":   {firmware.Grants{NotBefore: at, NotAfter: at}, plain, at, nil},
		"no clock":                {firmware.Grants{NotBefore: at.Add(day), NotAfter: at.Add(-day)}, plain, time.Time{}, nil},
	} {
		if err := c.g.Cover(c.m, c.at); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestTrust(t *testing.T) {
	anchor := func(id string, alg cose.Alg) firmware.Anchor { return firmware.Anchor{ID: key(t, id), Alg: alg} }
	signed := func(ids ...string) (m firmware.Manifest) {
		for _, id := range ids {
			m.Keys = append(m.Keys, firmware.Signature{Key: key(t, id), Alg: cose.ESP256})
		}
		return m
	}
	gone, late := anchor("gone", cose.ESP256), anchor("late", cose.ESP256)
	gone.Revoked, late.Grants.NotAfter = at, at.Add(-time.Hour)
	anchors := []firmware.Anchor{anchor("a", cose.ESP256), gone, late, anchor("b", cose.ES256)}
	for name, c := range map[string]struct {
		m       firmware.Manifest
		trusted []string
		class   error
		words   string
	}{
		"one":                     {signed("a"), []string{"a"}, nil, ""},
		"one left":                {signed("gone", "late", "a"), []string{"a"}, nil, ""},
		"revoked":                 {signed("gone"), nil, firmware.ErrRevoked, "key gone is revoked since"},
		"outdated":                {signed("late"), nil, firmware.ErrUntimely, "key late is not after"},
		"unknown":                 {signed("x"), nil, firmware.ErrUntrusted, "key x is not a trust anchor"},
		"under another algorithm": {signed("b"), nil, firmware.ErrUntrusted, "key b is not a trust anchor"},
		"by nobody":               {signed(), nil, firmware.ErrUntrusted, ""},
	} {
		got, err := firmware.Trust(c.m, anchors, at)
		var ids []string
		for _, a := range got {
			ids = append(ids, a.ID.String())
		}
		if !slices.Equal(ids, c.trusted) || !errors.Is(err, c.class) || (err == nil) != (c.class == nil) || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
	}
}
