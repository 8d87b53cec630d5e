package bridge_test

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"fleetbridge/bridge"
	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// anchors trusts the fixture's key under two names.
func (f *fixture) anchors() {
	f.t.Helper()
	f.trust(operator)
	f.ok("trust", "add", topics.TrustAdd{ID: keyID("second"), Key: f.key.Public().PEM(), Alg: "ES256"}, nil)
}

// pushed uploads a manifest for a payload of its own, which is signed by keys ("author" with ESP256, "second" with ES256).
func (f *fixture) pushed(data, component string, keys ...string) topics.ManifestView {
	f.t.Helper()
	s := spec(f.upload(operator, []byte(data)), len(data), 7)
	s.Component = [][]byte{[]byte(component)}
	envelope := must(firmware.Create(s))
	for _, k := range keys {
		alg := cose.ESP256
		if k == "second" {
			alg = cose.ES256
		}
		envelope = must(firmware.Sign(envelope, f.key, alg, keyID(k), rand.Reader))
	}
	var m topics.ManifestView
	f.ok("manifest", "create", topics.ManifestCreate{Envelope: envelope}, &m)
	return m
}

func (f *fixture) campaign(id string) (v topics.CampaignView) {
	f.t.Helper()
	f.ok("campaign", "get", topics.CampaignRef{Campaign: campaignID(id)}, &v)
	return v
}

// TestRevocationStopsCampaigns revokes a key that signed the manifests of two campaigns and of a draft: one stops, with
// the reason, and its slot is cleared; the one whose manifest another key signed goes on; the draft can't start.
func TestRevocationStopsCampaigns(t *testing.T) {
	f := start(t, nil)
	f.anchors()
	alone, both := f.pushed("one image", "a", "author"), f.pushed("two image", "b", "author", "second")
	f.fleet(1)
	topic := topics.ManifestTopic(acme, device("dev-000"))
	f.launch("both", both.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	f.launch("alone", alone.Digest, topics.Policy{})
	f.link.await(t, "the other manifest", 0, func(m link.Message) bool {
		return m.Topic == topic && len(m.Payload) > 0 && must(suit.Split(m.Payload)).Digest == alone.Digest
	})
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID("draft"), Manifest: alone.Digest}, nil)

	var v topics.AnchorRevoked
	f.ok("trust", "revoke", topics.TrustRevoke{ID: keyID("author")}, &v)
	if !v.Revoked || v.RevokedAt.IsZero() || v.Stopped != 1 {
		t.Errorf("reply %+v, want one campaign stopped", v)
	}
	if c := f.campaign("alone"); c.State != "stopping" && c.State != "stopped" {
		t.Errorf("campaign of the revoked key is %s after the reply", c.State)
	}
	f.progress("alone", "its end", stopped)
	c := f.campaign("alone")
	if c.Outcome != "autostopped" || !strings.Contains(c.Reason, "key author is revoked since") {
		t.Errorf("outcome %s, reason %q", c.Outcome, c.Reason)
	}
	if got := f.topic(topic); got == nil || must(suit.Split(got)).Digest != both.Digest {
		t.Error("the topic does not hold the manifest that another key stands behind")
	}
	if c := f.campaign("both"); c.State != "active" {
		t.Errorf("campaign with another key is %s: %s", c.State, c.Reason)
	}
	f.fails(topics.ProblemManifestKeyRevoked, "campaign", "start", topics.CampaignRef{Campaign: campaignID("draft")})
	f.ok("trust", "revoke", topics.TrustRevoke{ID: keyID("second")}, &v)
	f.progress("both", "its end", stopped)
	if got := f.topic(topic); v.Stopped != 1 || got != nil {
		t.Errorf("%d stopped by the second revocation, topic holds %x", v.Stopped, got)
	}
}

// topic is what a topic holds; nil for nothing.
func (f *fixture) topic(name string) (payload []byte) {
	f.t.Helper()
	err := f.directory.Retained(f.t.Context(), operator, name, func(_ string, b []byte) bool { payload = b; return true })
	if err != nil {
		f.t.Fatal(err)
	}
	return payload
}

// TestRevocationAcrossACrash ends the bridge right after the commit of a revocation: the next start withdraws the rest.
func TestRevocationAcrossACrash(t *testing.T) {
	f := start(t, nil)
	f.anchors()
	m := f.pushed("one image", "a", "author")
	f.fleet(3)
	f.launch("c1", m.Digest, topics.Policy{})
	for _, id := range []string{"dev-000", "dev-001", "dev-002"} {
		f.offered(id, 0)
	}
	f.stop()
	err := f.store.Update(t.Context(), func(tx campaign.Tx) error {
		_, _, _, err := campaign.Revoke(tx, time.Now(), acme, keyID("author"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f.directory = bridge.NewDirectory(f.store, nil) // of the process that comes after
	if got := f.topic(topics.ManifestTopic(acme, device("dev-001"))); got != nil {
		t.Error("a manifest that nobody stands behind is served before the stop is through")
	}
	f.run()
	if p := f.progress("c1", "its end", stopped); p.Counts["withdrawn"] != 3 {
		t.Errorf("progress %+v", p)
	}
}

// TestExpiryStopsCampaigns: a key that is valid no longer ends what it signed, without a command.
func TestExpiryStopsCampaigns(t *testing.T) {
	f := start(t, nil)
	f.ok("trust", "add", topics.TrustAdd{ID: keyID("author"), Key: f.key.Public().PEM(),
		Grants: topics.Grants{Vendors: []uuid.UUID{vendor}, NotAfter: time.Now().Add(1500 * time.Millisecond)}}, nil)
	m := f.pushed("one image", "a", "author")
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{Membership: "continuous"})
	f.offered("dev-000", 0)
	f.progress("c1", "its end", stopped)
	if c := f.campaign("c1"); c.Outcome != "autostopped" || !strings.Contains(c.Reason, "key author is not after") {
		t.Errorf("outcome %s, reason %q", c.Outcome, c.Reason)
	}
}

// TestDeliveryPerClass: each device gets the manifest with the signature that it understands and no other, and otherwise
// byte for byte as it was signed; one that understands none is skipped, and told why.
func TestDeliveryPerClass(t *testing.T) {
	f := start(t, nil)
	f.anchors()
	m := f.pushed("one image", "a", "author", "second")
	var uploaded firmware.Manifest
	err := f.store.View(t.Context(), func(r campaign.Reader) (err error) {
		uploaded, err = r.Manifest(acme, m.Digest)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string][]int64{"old": {-7}, "new": {-9, -7}, "either": {-19, -7, -9}, "mute": nil, "other": {-19, -48}}
	for id, algs := range classes {
		f.hello(id, topics.Hello{Seq: 1, Algs: algs})
	}
	f.launch("c1", m.Digest, topics.Policy{})
	forms := map[string][]byte{}
	for id, alg := range map[string]cose.Alg{"old": cose.ES256, "new": cose.ESP256, "either": cose.ES256} {
		f.offered(id, 0)
		got := f.topic(topics.ManifestTopic(acme, device(id)))
		p := must(suit.Split(got))
		if p.Digest != m.Digest || len(p.Blocks) != 1 || must(cose.Parse(p.Blocks[0])).Alg != alg {
			t.Errorf("%s: %d blocks, want one of %s", id, len(p.Blocks), alg)
		}
		key := must(firmware.NewAnchor(keyID(map[cose.Alg]string{cose.ES256: "second", cose.ESP256: "author"}[alg]), f.key.Public(), alg, time.Time{}))
		seen, err := firmware.Verify(got, []firmware.Anchor{key}, time.Now())
		if err != nil || seen.Image != m.Payload {
			t.Errorf("%s: the device refuses it: %v", id, err)
		}
		if said := f.link.on(topics.ManifestTopic(acme, device(id))); !bytes.Equal(said[len(said)-1].Payload, got) {
			t.Errorf("%s: what was published is not what the topic holds", id)
		}
		if forms[alg.String()] != nil && !bytes.Equal(forms[alg.String()], got) {
			t.Errorf("%s: two devices of one algorithm got different bytes", id)
		}
		forms[alg.String()] = got
		// What is left out is the other block; nothing else is different.
		if tail := uploaded.Envelope[bytes.LastIndex(uploaded.Envelope, []byte{0x03, 0x58}):]; !bytes.HasSuffix(got, tail) {
			t.Errorf("%s: the manifest's bytes are not those that were signed", id)
		}
	}
	f.offered("mute", 0)
	if got := f.topic(topics.ManifestTopic(acme, device("mute"))); !bytes.Equal(got, uploaded.Envelope) {
		t.Error("a device that said no algorithm does not get what was uploaded")
	}
	var why topics.DeviceAnswer
	f.ok("device", "why", topics.DeviceWhy{Device: device("other")}, &why)
	if a := why.Campaigns[0]; a.State != "skipped" || a.Reason != "no-common-algorithm" || !strings.Contains(a.Detail, "manifest sign --alg") {
		t.Errorf("device why: %+v", a)
	}
}
