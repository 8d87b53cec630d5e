package bridge_test

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func keyID(s string) ident.Key { return must(ident.ParseKey(s)) }

// signed signs an unsigned envelope with the fixture's key under an anchor's name.
func (f *fixture) signed(unsigned []byte, id string) []byte {
	f.t.Helper()
	return must(firmware.Sign(unsigned, f.key, cose.ESP256, keyID(id), rand.Reader))
}

// spec is what manifests of the tests are made of.
func spec(d ident.Digest, size int, sequence uint64) firmware.Spec {
	return firmware.Spec{Vendor: vendor, Class: class, Sequence: sequence, Image: d, Size: int64(size), Version: "1.1"}
}

// crafted signs a manifest that no builder of ours writes: change edits its members, and severed go beside it.
func (f *fixture) crafted(d ident.Digest, size int, change func(m map[int]any), severed map[int][]byte) []byte {
	f.t.Helper()
	enc := must(cbor.CoreDetEncOptions().EncMode())
	b := func(v any) []byte { return must(enc.Marshal(v)) }
	digest := func(d ident.Digest) []any { return []any{-16, d[:]} }
	m := map[int]any{
		1: 1, 2: 9,
		3: b(map[int]any{2: []any{[]any{[]byte{0}}}, 4: b([]any{20, map[int]any{1: vendor[:], 2: class[:], 3: b(digest(d)), 14: size}, 1, 15, 2, 15})}),
		7: b([]any{3, 15}), 20: b([]any{20, map[int]any{21: firmware.PayloadURI(d)}, 21, 2, 3, 15}),
	}
	if change != nil {
		change(m)
	}
	manifest := b(b(m))
	signed := b(digest(ident.SumDigest(manifest)))
	block := must(cose.Sign1(signed, f.key, cose.ESP256, []byte("author"), rand.Reader))
	envelope := map[int]any{2: b([]any{signed, block}), 3: cbor.RawMessage(manifest)}
	for k, v := range severed {
		envelope[k] = v
	}
	return b(cbor.Tag{Number: 107, Content: envelope})
}

// uriManifest signs a manifest whose URI no author of ours would write.
func (f *fixture) uriManifest(d ident.Digest, size int, uri string) []byte {
	f.t.Helper()
	image := suit.Content{Digest: d, Size: uint64(size)}
	p := suit.Plan{Vendor: vendor, Class: class, Component: suit.ComponentID{{0}}, Image: image, Tries: []suit.Try{{Payload: image, URI: uri}}}
	return f.signed(must(suit.Build(9, p, nil, suit.Text{Version: "1"})), "author")
}

// TestManifestIsRefused tries every reason for which an upload is refused. Each has a slug of its own, words that name
// what is wrong, and a fix that says what to do.
func TestManifestIsRefused(t *testing.T) {
	f := start(t, nil)
	f.trust(operator)
	data, missing, more := []byte("new firmware"), []byte("never uploaded"), []byte("other firmware")
	d := f.upload(operator, data)
	f.ok("manifest", "create", topics.ManifestCreate{Envelope: f.envelope(d, len(data), 7)}, nil)
	for id, g := range map[string]topics.Grants{
		"vendor": {Vendors: []uuid.UUID{class}}, "class": {Classes: []uuid.UUID{vendor}}, "component": {Components: []string{"0001", "01"}},
		"delta": {Uses: []string{"delta", "https"}}, "image": {Uses: []string{"image"}},
		"early": {NotBefore: time.Now().Add(time.Hour)}, "late": {NotAfter: time.Now().Add(-time.Hour)},
		"revoked": {},
	} {
		f.ok("trust", "add", topics.TrustAdd{ID: keyID(id), Key: f.key.Public().PEM(), Grants: g}, nil)
	}
	f.ok("trust", "revoke", topics.TrustRevoke{ID: keyID("revoked")}, nil)
	if p := f.do(command{p: stranger, noun: "trust", verb: "add"}, topics.TrustAdd{ID: keyID("theirs"), Key: f.key.Public().PEM()}, nil); p != nil {
		t.Fatal(p)
	}
	fresh := must(firmware.Create(spec(d, len(data), 9)))
	good := f.signed(fresh, "author")
	mine := f.key
	f.key = must(cose.GeneratePrivateKey(cose.P256, rand.Reader))
	forged := f.signed(fresh, "author")
	f.key = mine
	nonCanonical := slices.Concat([]byte{0xd9, 0x00, 107}, good[2:]) // the tag in three bytes, where two are enough
	swapped := bytes.Replace(good, vendor[:], class[:], 1)
	far := spec(d, len(data), uint64(time.Now().Add(48*time.Hour).Unix()))
	https := spec(d, len(data), 9)
	https.URI = "https://fw.example/a.bin"
	install := must(cbor.Marshal([]byte{0x84, 21, 2, 3, 15}))
	sum := ident.SumDigest(install)

	rows := []struct {
		what, slug, words string
		envelope          []byte
	}{
		{"nothing of the kind", "manifest-malformed", "tag", []byte("garbage")},
		{"nested arrays", "manifest-malformed", "tag", []byte(strings.Repeat("\x81", 60_000))},
		{"not canonical", "manifest-malformed", "", nonCanonical},
		{"a byte too many", "manifest-malformed", "", append(slices.Clone(good), 0)},
		{"a byte too large", "too-large", "65537 bytes, at most 65536", make([]byte, topics.MaxEnvelope+1)},
		{"changed after signing", "digest-mismatch", "signed is", swapped},
		{"no signature", "manifest-untrusted", "no signature block", fresh},
		{"unknown key", "manifest-untrusted", `key "nobody" with ESP256 is not a trust anchor`, f.signed(fresh, "nobody")},
		{"another tenant's key", "manifest-untrusted", `key "theirs" with ESP256 is not a trust anchor`, f.signed(fresh, "theirs")},
		{"another algorithm", "manifest-untrusted", `with ES256 is not a trust anchor`, must(firmware.Sign(fresh, f.key, cose.ES256, keyID("author"), rand.Reader))},
		{"revoked key", "manifest-key-revoked", "key revoked is revoked since", f.signed(fresh, "revoked")},
		{"another key under the anchor's name", "manifest-signature", "key author", forged},
		{"other vendor", "manifest-not-granted", "not for vendor " + vendor.String(), f.signed(fresh, "vendor")},
		{"other class", "manifest-not-granted", "not for class " + class.String(), f.signed(fresh, "class")},
		{"other component", "manifest-not-granted", "not for component 00", f.signed(fresh, "component")},
		{"other use", "manifest-not-granted", "not for image", f.signed(fresh, "delta")},
		{"https without the grant", "manifest-not-granted", "not for https", f.signed(must(firmware.Create(https)), "image")},
		{"key of tomorrow", "manifest-key-untimely", "not before", f.signed(fresh, "early")},
		{"key of yesterday", "manifest-key-untimely", "not after", f.signed(fresh, "late")},
		{"roll-back", "sequence-not-newer", "sequence number 6 is not above 7", f.envelope(d, len(data), 6)},
		{"number taken", "sequence-taken", "sequence number 7 is that of manifest", f.envelope(f.upload(operator, more), len(more), 7)},
		{"number far ahead", "sequence-too-far-ahead", "more than 24h0m0s ahead", f.signed(must(firmware.Create(far)), "author")},
		{"http", "manifest-uri", `"http://fw.example/a"`, f.uriManifest(d, len(data), "http://fw.example/a")},
		{"file", "manifest-uri", `"file:///etc/shadow"`, f.uriManifest(d, len(data), "file:///etc/shadow")},
		{"user info", "manifest-uri", "without user info", f.uriManifest(d, len(data), "https://me:secret@fw.example/a")},
		{"fragment", "manifest-uri", "fragment", f.uriManifest(d, len(data), "https://fw.example/a#b")},
		{"way out", "manifest-uri", "payload/<sha256 in hex>", f.uriManifest(d, len(data), "payload/../"+d.Hex())},
		{"other folder", "manifest-uri", "payload/<sha256 in hex>", f.uriManifest(d, len(data), "/payload/"+d.Hex())},
		{"other payload", "digest-mismatch", "URI names payload", f.uriManifest(d, len(data), firmware.PayloadURI(ident.SumDigest(more)))},
		{"payload absent", "payload-not-found", ident.SumDigest(missing).String(), f.envelope(ident.SumDigest(missing), len(missing), 9)},
		{"payload of another size", "payload-size", "has 12 bytes, the manifest says 13", f.envelope(d, len(data)+1, 9)},
		{"unknown command", "manifest-unknown-command", "99", f.crafted(d, len(data), func(m map[int]any) { m[7] = []byte{0x82, 0x18, 99, 15} }, nil)},
		{"private command", "manifest-unknown-command", "-300", f.crafted(d, len(data), func(m map[int]any) { m[7] = []byte{0x82, 0x39, 0x01, 0x2b, 15} }, nil)},
		{"unknown parameter", "manifest-unknown-command", "99", f.crafted(d, len(data), func(m map[int]any) { m[7] = []byte{0x84, 20, 0xa1, 0x18, 99, 1, 3, 15} }, nil)},
		{"unknown member", "manifest-unknown-command", "99", f.crafted(d, len(data), func(m map[int]any) { m[99] = []byte{0x80} }, nil)},
		{"severed install", "manifest-severed", "install is severed", f.crafted(d, len(data), func(m map[int]any) { m[20] = []any{-16, sum[:]} }, map[int][]byte{20: []byte{0x84, 21, 2, 3, 15}})},
		{"outside of the profile", "manifest-unsupported", "invoke", f.crafted(d, len(data), func(m map[int]any) { m[9] = []byte{0x82, 23, 2} }, nil)},
	}
	tried := map[string]bool{
		"manifest-not-found": true, // of manifest/get and campaign/create
		"manifest-blocks":    true, // TestManifestAgain
		"manifest-in-use":    true, // TestManifestDelete
	}
	for _, r := range rows {
		p := f.do(command{p: operator, noun: "manifest", verb: "create"}, topics.ManifestCreate{Envelope: r.envelope}, nil)
		if p == nil || p.Type != r.slug || !strings.Contains(p.Detail, r.words) {
			t.Errorf("%s: %v, want %s with %q", r.what, p, r.slug, r.words)
		}
		tried[r.slug] = true
	}
	for _, s := range topics.Problems {
		if about := strings.HasPrefix(s.Type, "manifest-") || strings.HasPrefix(s.Type, "sequence-"); about && !tried[s.Type] {
			t.Errorf("%s: no upload is refused for it here", s.Type)
		}
	}
	var list topics.List[topics.ManifestView]
	f.ok("manifest", "list", topics.Page{}, &list)
	if len(list.Items) != 1 {
		t.Errorf("%d manifests are stored, want the good one", len(list.Items))
	}
	f.ok("manifest", "create", topics.ManifestCreate{Envelope: f.crafted(d, len(data), nil, nil)}, nil) // the crafted one, unspoilt
}

// TestManifestAgain uploads a manifest that is there: the same bytes, another form of the same signature, and further
// blocks change nothing or add keys; none is ever lost.
func TestManifestAgain(t *testing.T) {
	f := start(t, nil)
	f.trust(operator)
	f.ok("trust", "add", topics.TrustAdd{ID: keyID("second"), Key: f.key.Public().PEM()}, nil)
	data := []byte("new firmware")
	d := f.upload(operator, data)
	unsigned := must(firmware.Create(spec(d, len(data), 7)))
	first := f.signed(unsigned, "author")
	both := f.signed(first, "second")
	put := func(what string, envelope []byte, keys ...string) {
		t.Helper()
		var v topics.ManifestView
		f.ok("manifest", "create", topics.ManifestCreate{Envelope: envelope}, &v)
		if !slices.Equal(v.Keys, keys) {
			t.Errorf("%s: keys %v, want %v", what, v.Keys, keys)
		}
	}
	put("first", first, "author (ESP256)")
	put("the same bytes", first, "author (ESP256)")
	put("signed once more by the same key", f.signed(unsigned, "author"), "author (ESP256)")
	if m := f.stored(unsigned); !bytes.Equal(m.Envelope, first) {
		t.Error("another signature of the same key took the place of what was uploaded first")
	}
	put("a further block", both, "author (ESP256)", "second (ESP256)")
	if m := f.stored(unsigned); !bytes.Equal(m.Envelope, both) {
		t.Error("the further block is not stored")
	}
	f.fails(topics.ProblemManifestBlocks, "manifest", "create", topics.ManifestCreate{Envelope: first})
	f.ok("trust", "revoke", topics.TrustRevoke{ID: keyID("author")}, nil)
	put("after a revocation", both, "second (ESP256)")
}

// stored is the manifest of an envelope as the store has it.
func (f *fixture) stored(envelope []byte) (m firmware.Manifest) {
	f.t.Helper()
	parts := must(suit.Split(envelope))
	err := f.store.View(f.t.Context(), func(r campaign.Reader) (err error) {
		m, err = r.Manifest(acme, parts.Digest)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}
