package firmware_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// at is when the tests take place.
var at = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// vector is an envelope and what must become of it; Decode and Verify are a class of error, "" for none.
type vector struct {
	Name     string
	About    string
	Envelope string
	SHA256   string
	Manifest ident.Digest // as the wrapper says it
	Blocks   []struct{ Alg, Key, KID string }
	Decode   string
	Verify   string
}

func (v vector) bytes(t *testing.T) []byte {
	t.Helper()
	b := unhex(t, v.Envelope)
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != v.SHA256 {
		t.Fatalf("%s isn't the vector that was published", v.Name)
	}
	return b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadVectors(t testing.TB, pattern string) []vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "vectors", pattern))
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, name := range files {
		if filepath.Base(name) == "keys.json" {
			continue
		}
		var f struct {
			Source  string
			Vectors []vector
		}
		readJSON(t, name, &f)
		if len(f.Vectors) == 0 {
			t.Fatalf("%s holds no vectors", name)
		}
		all = append(all, f.Vectors...)
	}
	if len(all) == 0 {
		t.Fatalf("no vectors match %s", pattern)
	}
	return all
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// loadKeys returns the public keys of the vectors, by name.
func loadKeys(t testing.TB) map[string]cose.PublicKey {
	t.Helper()
	var raw map[string]string
	readJSON(t, filepath.Join("testdata", "vectors", "keys.json"), &raw)
	keys := map[string]cose.PublicKey{}
	for name, h := range raw {
		k, err := cose.ParseCOSEKey(unhex(t, h))
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = k.Key
	}
	return keys
}

func key(t testing.TB, s string) ident.Key {
	t.Helper()
	k, err := ident.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func anchor(t testing.TB, id string, k cose.PublicKey, alg cose.Alg) firmware.Anchor {
	t.Helper()
	a, err := firmware.NewAnchor(key(t, id), k, alg, at)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// vectorAnchors trusts both keys under each algorithm of theirs, and under the identifiers that vectors name.
func vectorAnchors(t testing.TB) []firmware.Anchor {
	keys := loadKeys(t)
	return []firmware.Anchor{
		anchor(t, "p256-es256", keys["draft-p256"], cose.ES256),
		anchor(t, "p256-esp256", keys["draft-p256"], cose.ESP256),
		anchor(t, "ed-eddsa", keys["rfc8032-1"], cose.EdDSA),
		anchor(t, "ed-ed25519", keys["rfc8032-1"], cose.Ed25519),
		anchor(t, "author-2026-1", keys["draft-p256"], cose.ES256),
		anchor(t, "1a40022000", keys["draft-p256"], cose.ES256),
	}
}

var suitClasses = map[string]error{"malformed": suit.ErrMalformed, "unsupported": suit.ErrUnsupported, "digest": suit.ErrDigest}

var verifyClasses = map[string]error{"malformed": firmware.ErrMalformed, "unsupported": firmware.ErrUnsupported,
	"digest": firmware.ErrDigestMismatch, "untrusted": firmware.ErrUntrusted}

// checkClass wants err to be of the class named want, and of no other.
func checkClass(t *testing.T, err error, want string, classes map[string]error) {
	t.Helper()
	if _, known := classes[want]; want != "" && !known {
		t.Fatalf("no class of error is called %q", want)
	}
	if (err == nil) != (want == "") {
		t.Fatalf("error %v, want class %q", err, want)
	}
	for name, class := range classes {
		if errors.Is(err, class) != (name == want) {
			t.Errorf("error %v: of class %s: %t", err, name, errors.Is(err, class))
		}
	}
}

func TestVectors(t *testing.T) {
	keys, anchors := loadKeys(t), vectorAnchors(t)
	for _, v := range loadVectors(t, "*.json") {
		t.Run(v.Name, func(t *testing.T) {
			b := v.bytes(t)
			e, err := suit.Decode(b)
			checkClass(t, err, v.Decode, suitClasses)
			if err == nil && e.Digest != v.Manifest {
				t.Errorf("manifest %s, want %s", e.Digest, v.Manifest)
			}
			m, err := firmware.Verify(b, anchors, at)
			checkClass(t, err, v.Verify, verifyClasses)
			if err != nil && !cmp.Equal(m, firmware.Manifest{}) {
				t.Errorf("a manifest comes with the error: %+v", m)
			}
			if err == nil && (m.Digest != v.Manifest || !bytes.Equal(m.Envelope, b)) {
				t.Errorf("verified %s, want %s and the exact bytes", m.Digest, v.Manifest)
			}
			for i, want := range v.Blocks {
				checkBlock(t, e.Blocks[i], e.Digest, want.Alg, want.KID, keys[want.Key])
			}
		})
	}
}

func checkBlock(t *testing.T, block []byte, d ident.Digest, alg, kid string, k cose.PublicKey) {
	t.Helper()
	a, err := cose.ParseAlg(alg)
	if err != nil {
		t.Fatal(err)
	}
	h, err := cose.Parse(block)
	if err != nil || h.Alg != a || hex.EncodeToString(h.KID) != kid {
		t.Errorf("header %+v, %v, want %s and kid %q", h, err, alg, kid)
	}
	signed, err := d.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	if err := cose.Verify1(block, signed, k, a); err != nil {
		t.Error(err)
	}
}

// TestVerifyProfile spells out what one vector says, so that no field can be mixed up with another.
func TestVerifyProfile(t *testing.T) {
	for _, v := range loadVectors(t, "profile.json") {
		if v.Name != "v2-es256-kid" {
			continue
		}
		vendor := firmware.VendorID("acme.example")
		fw := ident.SumDigest(bytes.Repeat([]byte("firmware v1.2.3 "), 4096))
		want := firmware.Manifest{
			Digest:    v.Manifest,
			Envelope:  v.bytes(t),
			Sequence:  7,
			Vendor:    vendor,
			Class:     firmware.ClassID(vendor, "sensor-x1:rev-b"),
			Component: "00",
			Image:     fw,
			Size:      65536,
			Fetches:   []firmware.Fetch{{Role: firmware.RoleImage, Digest: fw, Size: 65536, URI: "https://fw.example/f/abc.bin"}},
			Keys:      []firmware.Signature{{Key: key(t, "author-2026-1"), Alg: cose.ES256}},
			Created:   at,
		}
		got, err := firmware.Verify(v.bytes(t), vectorAnchors(t), at)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(ident.Key{})); d != "" {
			t.Error(d)
		}
		return
	}
	t.Fatal("vector v2-es256-kid is gone")
}

// TestVectorPlans: two vectors of other shapes than a single image say what they are known to say, and what we write of
// that is the same manifest, byte for byte.
func TestVectorPlans(t *testing.T) {
	fw, old := bytes.Repeat([]byte("firmware v1.2.3 "), 4096), bytes.Repeat([]byte("firmware v1.2.2 "), 4096)
	vendor := firmware.VendorID("acme.example")
	content := func(hex string, size uint64) suit.Content {
		return suit.Content{Digest: ident.Digest(unhex(t, hex)), Size: size}
	}
	image := suit.Content{Digest: ident.SumDigest(fw), Size: 65536}
	want := map[string]suit.Plan{
		"v5-delta-try-each": {Tries: []suit.Try{
			{
				Precursor: suit.Content{Digest: ident.SumDigest(old), Size: 65536},
				Payload:   content("43a6a4c50edf436fb497a7723dcadcd37f5bc60a95799f4e839351c31f49d44d", 20),
				URI:       "https://fw.example/f/delta.bin",
			},
			{Payload: image, URI: "https://fw.example/f/abc.bin"},
		}},
		"v6-encrypted": {Tries: []suit.Try{{
			Payload:    content("1956cf423d6c53c6d58dafc7471fe1141e0f2ca8f4570d099da42a3c92c45159", 65552),
			URI:        "https://fw.example/f/abc.enc",
			Encryption: unhex(t, "d8608443a10101a1054cac779d54d84abda7d87b88d9f6818344a101381ca204456b69642d3220a401022001215820caf38e7e8faaac3da75cf1208f4838c84ff11c5e990bb055c39c546ad3e5b62c225820780f1a1c9f925250fdd8de3f25ddc2b67842ed2437a83c9262f019c3620f4f1658184ca4b1d51c54466bbf7ed97d467603484d1dcdbec0834b41"),
		}}},
	}
	for _, v := range loadVectors(t, "profile.json") {
		p, ok := want[v.Name]
		if !ok {
			continue
		}
		delete(want, v.Name)
		p.Vendor, p.Class, p.Image = vendor, firmware.ClassID(vendor, "sensor-x1:rev-b"), image
		p.Component, p.Staging = suit.ComponentID{{0}}, suit.ComponentID{{1}}
		e, err := suit.Decode(v.bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Plan(); err != nil || !cmp.Equal(got, p) {
			t.Errorf("%s: %v %s", v.Name, err, cmp.Diff(p, got))
		}
		b, err := suit.Build(e.Manifest.Sequence, p, nil, suit.Text{})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := suit.Decode(b); err != nil || again.Digest != v.Manifest {
			t.Errorf("%s: written again it is %s, %v", v.Name, again.Digest, err)
		}
	}
	if len(want) > 0 {
		t.Errorf("no vectors of %v", want)
	}
}
