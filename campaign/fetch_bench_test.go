package campaign_test

import (
	"fmt"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// BenchmarkFetch is what finding a campaign's devices costs in a registry of 200,000: all of a class, those of a filter
// that looks at each, and a tenth of them by a label that an index knows.
func BenchmarkFetch(b *testing.B) {
	const devices, page = 200_000, 500
	s, err := badger.Open(badger.Options{Dir: b.TempDir(), NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m := firmware.Manifest{Digest: ident.SumDigest([]byte("m")), Image: ident.SumDigest([]byte("p")), Vendor: vendor, Class: class, Component: component}
	for i := 0; i < devices; i += page {
		err := s.Update(b.Context(), func(tx campaign.Tx) error {
			for n := i; n < i+page; n++ {
				d := campaign.Device{ID: device(fmt.Sprintf("device-%07d", n)), Vendor: vendor, Class: class, LastSeen: start, Created: start,
					Installed: []campaign.Image{{Component: component, Digest: factory, Sequence: 1, Version: "2.4.1"}},
					Labels:    map[string]string{"ring": fmt.Sprint(n % 10), "site": fmt.Sprint(n % 100)}}
				if err := tx.PutDevice(acme, d); err != nil {
					return err
				}
			}
			return tx.PutManifest(acme, m)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, filter := range map[string]string{"class": "", "filter": `version < semver("2.5.0")`, "label": `labels.ring == "3"`} {
		b.Run(name, func(b *testing.B) {
			c := campaign.Campaign{ID: campaignID(name), Manifest: m.Digest, Image: m.Image, Vendor: vendor, Class: class, Component: component,
				Selection: campaign.Selection{Filter: filter}, Policy: policy(), Phase: campaign.Starting, Step: campaign.DeviceFetch, Revision: 1}
			if err := s.Update(b.Context(), func(tx campaign.Tx) error { return tx.PutCampaign(acme, c) }); err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			for b.Loop() {
				err := s.View(b.Context(), func(r campaign.Reader) error {
					_, err := campaign.Fetch(r, acme, c.ID)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(devices*b.N)/time.Since(began).Seconds(), "devices/s")
		})
	}
}
