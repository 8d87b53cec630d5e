package bridge_test

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"fleetbridge/bridge"
	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// benchFleet is a store on disk with devices that each have a live assignment of one campaign, as after a start.
func benchFleet(b *testing.B, devices int) *bridge.Directory {
	b.Helper()
	store, err := badger.Open(badger.Options{Dir: b.TempDir(), NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	key := must(cose.GeneratePrivateKey(cose.P256, rand.Reader))
	author := must(ident.ParseKey("author"))
	image := ident.SumDigest([]byte("image"))
	unsigned := must(firmware.Create(firmware.Spec{Vendor: vendor, Class: class, Sequence: 7, Image: image, Size: 4096, Version: "1.1"}))
	envelope := must(firmware.Sign(unsigned, key, cose.ESP256, author, rand.Reader))
	anchor := must(firmware.NewAnchor(author, key.Public(), cose.ESP256, time.Now()))
	manifest := must(firmware.Verify(envelope, []firmware.Anchor{anchor}, time.Now()))
	live := campaign.Live{Component: manifest.Component, Manifest: manifest.Digest, Campaign: campaignID("bench")}
	update := func(fn func(tx campaign.Tx) error) {
		b.Helper()
		if err := store.Update(b.Context(), fn); err != nil {
			b.Fatal(err)
		}
	}
	update(func(tx campaign.Tx) error {
		return errors.Join(tx.PutTenant(campaign.Tenant{ID: acme}), tx.PutAnchor(acme, anchor), tx.PutManifest(acme, manifest))
	})
	const page = 1000
	for from := 0; from < devices; from += page {
		update(func(tx campaign.Tx) error {
			for i := from; i < min(from+page, devices); i++ {
				id := benchDevice(i)
				if err := errors.Join(
					tx.PutCredential(acme, campaign.Credential{Name: name(id), Role: string(topics.RoleDevice), Hash: sha256.Sum256([]byte(id)), Created: time.Now()}),
					tx.PutDevice(acme, campaign.Device{ID: device(id), Vendor: vendor, Class: class, Boot: 3, MaxChunk: 4096, Algs: []int64{-9}, HelloSeq: 1,
						Installed: []campaign.Image{{Component: live.Component, Digest: ident.SumDigest([]byte("old")), Sequence: 1, Version: "1.0"}},
						Facts:     map[string]string{"hw": "b2"}, Labels: map[string]string{"site": fmt.Sprint(i % 50)}, LastSeen: time.Now(), Created: time.Now()}),
					tx.PutWork(acme, device(id), campaign.Work{Live: []campaign.Live{live}, Recent: []campaign.Live{live}}),
				); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return bridge.NewDirectory(store, nil)
}

func benchDevice(i int) string { return fmt.Sprintf("bench-%08d", i) }

// BenchmarkConnect is what a device costs the directory when it comes back: its credential, and the manifest that its
// topic holds.
func BenchmarkConnect(b *testing.B) {
	const devices = 100_000
	d := benchFleet(b, devices)
	one := func(i int) int { return i * 7919 % devices } // neighbours in time are none in the store
	b.Run("authenticate", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			id := benchDevice(one(i))
			if _, err := d.Authenticate(b.Context(), "acme/"+id, []byte(id), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("manifest", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			id, got := benchDevice(one(i)), 0
			err := d.Retained(b.Context(), deviceOf(acme, id), topics.ManifestTopic(acme, device(id)), func(_ string, payload []byte) bool {
				got += len(payload)
				return true
			})
			if err != nil || got == 0 {
				b.Fatal(got, err)
			}
		}
	})
}
