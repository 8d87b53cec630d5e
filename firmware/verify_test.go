package firmware_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

var allAlgs = []cose.Alg{cose.ES256, cose.ESP256, cose.EdDSA, cose.Ed25519}

func spec() firmware.Spec {
	vendor := firmware.VendorID("acme.example")
	return firmware.Spec{
		Vendor:      vendor,
		Class:       firmware.ClassID(vendor, "sensor-x1:rev-b"),
		Sequence:    uint64(at.Unix()),
		Image:       ident.SumDigest([]byte("payload")),
		Size:        7,
		Version:     "1.2.3",
		Description: "what is new",
	}
}

func create(t testing.TB, s firmware.Spec) []byte {
	t.Helper()
	b, err := firmware.Create(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// author is a private key with its anchor.
type author struct {
	private cose.PrivateKey
	firmware.Anchor
}

func newAuthor(t testing.TB, id string, alg cose.Alg) author {
	t.Helper()
	seed := sha256.Sum256([]byte(id))
	k, err := cose.GeneratePrivateKey(alg.Kind(), bytes.NewReader(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return author{k, anchor(t, id, k.Public(), alg)}
}

func (a author) sign(t testing.TB, envelope []byte) []byte {
	t.Helper()
	b, err := firmware.Sign(envelope, a.private, a.Alg, a.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (a author) revoked() firmware.Anchor {
	a.Revoked = at.Add(-time.Hour)
	return a.Anchor
}

func TestCreateSignVerify(t *testing.T) {
	for _, alg := range allAlgs {
		t.Run(alg.String(), func(t *testing.T) {
			a := newAuthor(t, "author-1", alg)
			b := a.sign(t, create(t, spec()))
			want := firmware.Manifest{
				Envelope: b, Sequence: spec().Sequence, Vendor: spec().Vendor, Class: spec().Class, Component: "00",
				Image: spec().Image, Size: 7, Version: "1.2.3",
				Fetches: []firmware.Fetch{{Role: firmware.RoleImage, Digest: spec().Image, Size: 7, URI: "payload/" + spec().Image.Hex()}},
				Keys:    []firmware.Signature{{Key: a.ID, Alg: alg}}, Created: at,
			}
			e, err := suit.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			want.Digest = e.Digest
			got, err := firmware.Verify(b, []firmware.Anchor{newAuthor(t, "other", alg).Anchor, a.Anchor}, at)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(ident.Key{})); d != "" {
				t.Error(d)
			}
			if e.Manifest.Description() != "what is new" {
				t.Errorf("description %q", e.Manifest.Description())
			}
		})
	}
}

// Verify keeps a copy: whoever changes the buffer afterwards doesn't change what was verified.
func TestVerifyCopies(t *testing.T) {
	a := newAuthor(t, "author-1", cose.ESP256)
	b := a.sign(t, create(t, spec()))
	m, err := firmware.Verify(b, []firmware.Anchor{a.Anchor}, at)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(b)
	clear(b)
	if !bytes.Equal(m.Envelope, want) {
		t.Error("the envelope shares memory with the argument")
	}
}

// Blocks of several algorithms and keys over one digest: any may come or go, the manifest stays the same.
func TestVerifySeveralBlocks(t *testing.T) {
	unsigned := create(t, spec())
	var anchors []firmware.Anchor
	all := unsigned
	var keys []firmware.Signature
	digests := map[ident.Digest]bool{}
	for _, alg := range allAlgs {
		a := newAuthor(t, "author-"+alg.String(), alg)
		anchors = append(anchors, a.Anchor)
		all = a.sign(t, all)
		keys = append(keys, firmware.Signature{Key: a.ID, Alg: alg})
		for _, b := range [][]byte{all, a.sign(t, unsigned)} {
			m, err := firmware.Verify(b, anchors, at)
			if err != nil {
				t.Fatal(err)
			}
			digests[m.Digest] = true
		}
	}
	again := newAuthor(t, "author-ES256", cose.ES256).sign(t, all)
	m, err := firmware.Verify(again, anchors, at)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(keys, m.Keys, cmp.AllowUnexported(ident.Key{})); d != "" {
		t.Errorf("each key counts once: %s", d)
	}
	if len(digests) != 1 {
		t.Errorf("%d identities for one manifest", len(digests))
	}
}

// A block of a key that isn't trusted counts for nothing, and spoils nothing: keys rotate by overlapping.
func TestVerifyRotation(t *testing.T) {
	old, young := newAuthor(t, "author-1", cose.ESP256), newAuthor(t, "author-2", cose.ESP256)
	b := young.sign(t, old.sign(t, create(t, spec())))
	for name, anchors := range map[string][]firmware.Anchor{
		"not yet":        {old.Anchor},
		"overlap":        {old.Anchor, young.Anchor},
		"old is revoked": {old.revoked(), young.Anchor},
		"old is gone":    {young.Anchor},
	} {
		if _, err := firmware.Verify(b, anchors, at); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyAttacks(t *testing.T) {
	a, mallory := newAuthor(t, "author-1", cose.ESP256), newAuthor(t, "mallory", cose.ESP256)
	unsigned := create(t, spec())
	signed := a.sign(t, unsigned)
	other := spec()
	other.Image = ident.SumDigest([]byte("evil"))
	replace := func(old, young string) []byte { return bytes.Replace(signed, []byte(old), []byte(young), 1) }
	posing := mallory
	posing.ID = a.ID
	sameKeyES256 := a
	sameKeyES256.Alg = cose.ES256
	noKID := a
	noKID.ID = ident.Key{}
	for name, c := range map[string]struct {
		envelope []byte
		anchors  []firmware.Anchor
		want     string
		words    string
	}{
		"no signature":            {unsigned, []firmware.Anchor{a.Anchor}, "untrusted", "no signature block"},
		"no anchors":              {signed, nil, "untrusted", "not a trust anchor"},
		"unknown key":             {mallory.sign(t, unsigned), []firmware.Anchor{a.Anchor}, "untrusted", "not a trust anchor"},
		"revoked key":             {signed, []firmware.Anchor{a.revoked()}, "untrusted", "is revoked since 2026-11-24T11:00:00Z"},
		"revoked key, not named":  {noKID.sign(t, unsigned), []firmware.Anchor{a.revoked()}, "untrusted", "no live ESP256 key"},
		"unknown key, not named":  {noKID.sign(t, unsigned), []firmware.Anchor{mallory.Anchor}, "untrusted", "no live ESP256 key"},
		"other key by this name":  {posing.sign(t, unsigned), []firmware.Anchor{a.Anchor}, "untrusted", "does not verify"},
		"bad block beside a good": {posing.sign(t, mallory.sign(t, unsigned)), []firmware.Anchor{a.Anchor, mallory.Anchor}, "untrusted", "does not verify"},
		"key under another alg":   {sameKeyES256.sign(t, unsigned), []firmware.Anchor{a.Anchor}, "untrusted", "not a trust anchor"},
		"anchor without a key":    {signed, []firmware.Anchor{{ID: a.ID, Alg: a.Alg}}, "untrusted", "unusable key"},
		"tampered URI":            {replace("payload/"+spec().Image.Hex(), "payload/"+other.Image.Hex()), []firmware.Anchor{a.Anchor}, "digest", ""},
		"tampered text":           {replace("1.2.3", "9.9.9"), []firmware.Anchor{a.Anchor}, "digest", "severed text"},
		"other manifest inside":   {transplant(t, signed, create(t, other)), []firmware.Anchor{a.Anchor}, "digest", ""},
		"too large":               {make([]byte, suit.MaxEnvelope+1), []firmware.Anchor{a.Anchor}, "malformed", "at most 65536"},
		"1 MiB of nested CBOR":    {bytes.Repeat([]byte{0x81}, 1<<20), []firmware.Anchor{a.Anchor}, "malformed", ""},
		"nothing":                 {nil, []firmware.Anchor{a.Anchor}, "malformed", ""},
		"text":                    {[]byte("hello"), []firmware.Anchor{a.Anchor}, "malformed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := firmware.Verify(c.envelope, c.anchors, at)
			checkClass(t, err, c.want, verifyClasses)
			if err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v: want %q in it", err, c.words)
			}
			if !cmp.Equal(m, firmware.Manifest{}) {
				t.Errorf("a manifest comes with the error: %+v", m)
			}
		})
	}
}

// transplant puts the manifest of one envelope under the signatures of another; both have members of the same length.
func transplant(t *testing.T, signed, unsigned []byte) []byte {
	t.Helper()
	at := bytes.Index(unsigned, []byte{0x01, 0x01, 0x02}) // version, sequence number: where a manifest begins
	into := bytes.Index(signed, []byte{0x01, 0x01, 0x02})
	if at < 0 || into < 0 || len(signed)-into != len(unsigned)-at {
		t.Fatal("the two envelopes have another form than expected")
	}
	return append(bytes.Clone(signed[:into]), unsigned[at:]...)
}

// The twin (r, n-s) of an ECDSA signature verifies, so envelopes of one manifest differ; its identity doesn't.
func TestVerifyMalleableSignature(t *testing.T) {
	a := newAuthor(t, "author-1", cose.ESP256)
	s := spec()
	s.Version, s.Description = "", ""
	b := a.sign(t, create(t, s))
	e, err := suit.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	block := e.Blocks[0]
	twin := bytes.Clone(block)
	tail := twin[len(twin)-32:]
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(tail)).FillBytes(tail)
	other := bytes.Replace(b, block, twin, 1)
	if bytes.Equal(other, b) {
		t.Fatal("the twin is the same envelope")
	}
	first, err := firmware.Verify(b, []firmware.Anchor{a.Anchor}, at)
	if err != nil {
		t.Fatal(err)
	}
	second, err := firmware.Verify(other, []firmware.Anchor{a.Anchor}, at)
	if err != nil {
		t.Fatal(err)
	}
	if first.Digest != second.Digest {
		t.Error("two identities for one manifest")
	}
}

// A sequence number far ahead would lock every later manifest out.
func TestVerifySequence(t *testing.T) {
	a := newAuthor(t, "author-1", cose.Ed25519)
	now := uint64(at.Unix())
	for _, c := range []struct {
		sequence uint64
		at       time.Time
		ok       bool
	}{
		{1, at, true}, {now, at, true}, {now + 86400, at, true},
		{now + 86401, at, false}, {1<<64 - 1, at, false}, {1 << 63, at, false},
		{now + 86401, time.Time{}, true}, {1, time.Unix(-1e9, 0), false},
	} {
		s := spec()
		s.Sequence = c.sequence
		_, err := firmware.Verify(a.sign(t, create(t, s)), []firmware.Anchor{a.Anchor}, c.at)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, firmware.ErrUnsupported) {
			t.Errorf("%d at %s: %v", c.sequence, c.at, err)
		}
	}
}

// What Create wouldn't write, another author's tool may: it is refused when it comes signed.
func TestVerifyProfileLimits(t *testing.T) {
	a := newAuthor(t, "author-1", cose.ESP256)
	d := spec().Image
	for name, c := range map[string]struct {
		spoil func(p *suit.Plan, sequence *uint64, text *suit.Text)
		want  string
	}{
		"within":       {func(*suit.Plan, *uint64, *suit.Text) {}, ""},
		"sequence 0":   {func(_ *suit.Plan, s *uint64, _ *suit.Text) { *s = 0 }, "unsupported"},
		"size 0":       {func(p *suit.Plan, _ *uint64, _ *suit.Text) { p.Image.Size = 0 }, "unsupported"},
		"size of 2^63": {func(p *suit.Plan, _ *uint64, _ *suit.Text) { p.Image.Size = 1 << 63 }, "unsupported"},
		"long version": {func(_ *suit.Plan, _ *uint64, t *suit.Text) { t.Version = strings.Repeat("1", 65) }, "unsupported"},
		"http":         {func(p *suit.Plan, _ *uint64, _ *suit.Text) { p.Tries[1].URI = "http://fw.example/f" }, "unsupported"},
		"another payload": {func(p *suit.Plan, _ *uint64, _ *suit.Text) {
			p.Tries[1].URI = firmware.PayloadURI(ident.SumDigest(nil))
		}, "digest"},
		"delta of 0":     {func(p *suit.Plan, _ *uint64, _ *suit.Text) { p.Tries[0].Payload.Size = 0 }, "unsupported"},
		"delta by http":  {func(p *suit.Plan, _ *uint64, _ *suit.Text) { p.Tries[0].URI = "http://fw.example/d" }, "unsupported"},
		"another delta":  {func(p *suit.Plan, _ *uint64, _ *suit.Text) { p.Tries[0].URI = firmware.PayloadURI(d) }, "digest"},
		"precursor of 0": {func(p *suit.Plan, _ *uint64, _ *suit.Text) { p.Tries[0].Precursor.Size = 0 }, "unsupported"},
	} {
		p, sequence, text := deltaPlan(d), uint64(1), suit.Text{Version: "1"}
		c.spoil(&p, &sequence, &text)
		p.Tries[1].Payload = p.Image
		b, err := suit.Build(sequence, p, nil, text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Run(name, func(t *testing.T) {
			_, err := firmware.Verify(a.sign(t, b), []firmware.Anchor{a.Anchor}, at)
			checkClass(t, err, c.want, verifyClasses)
		})
	}
}

// deltaPlan is the plan of an image of 7 bytes that a delta makes as well.
func deltaPlan(image ident.Digest) suit.Plan {
	old, delta, whole := ident.SumDigest([]byte("old")), ident.SumDigest([]byte("delta")), suit.Content{Digest: image, Size: 7}
	return suit.Plan{Vendor: spec().Vendor, Class: spec().Class, Component: suit.ComponentID{{0}}, Staging: suit.ComponentID{{1}}, Image: whole,
		Tries: []suit.Try{
			{Precursor: suit.Content{Digest: old, Size: 3}, Payload: suit.Content{Digest: delta, Size: 5}, URI: firmware.PayloadURI(delta)},
			{Payload: whole, URI: firmware.PayloadURI(image)},
		}}
}

var old = ident.SumDigest([]byte("old"))

func deltasOf(from ident.Digest) []firmware.Delta {
	return []firmware.Delta{{From: from, FromSize: 3, Payload: ident.SumDigest([]byte("delta")), Size: 5}}
}

// ciphertext is that of the image "payload", with its bytes.
func ciphertext(t testing.TB) (*firmware.Encrypted, []byte) {
	t.Helper()
	to, err := encrypt.SharedKey(nil, make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	info, err := encrypt.Encrypt(&out, strings.NewReader("payload"), encrypt.A128GCM, []encrypt.Recipient{to}, rand.NewChaCha8([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	return &firmware.Encrypted{Info: info, Payload: ident.SumDigest(out.Bytes()), Size: int64(out.Len())}, out.Bytes()
}

// TestFetches: what a device may fetch, by what the author says.
func TestFetches(t *testing.T) {
	a := newAuthor(t, "author-1", cose.ESP256)
	whole := firmware.Fetch{Role: firmware.RoleImage, Digest: spec().Image, Size: 7, URI: firmware.PayloadURI(spec().Image)}
	delta := deltasOf(old)[0]
	secret, secretBytes := ciphertext(t)
	for name, c := range map[string]struct {
		spec func(*firmware.Spec)
		want []firmware.Fetch
	}{
		"image":    {func(*firmware.Spec) {}, []firmware.Fetch{whole}},
		"by https": {func(s *firmware.Spec) { s.URI = "https://fw.example/f" }, []firmware.Fetch{{Role: firmware.RoleImage, Digest: whole.Digest, Size: 7, URI: "https://fw.example/f"}}},
		"delta": {func(s *firmware.Spec) { s.Deltas = deltasOf(old) }, []firmware.Fetch{
			{Role: firmware.RoleDelta, Digest: delta.Payload, Size: 5, URI: firmware.PayloadURI(delta.Payload), Precursor: old}, whole}},
		"encrypted": {func(s *firmware.Spec) { s.Encrypted = secret }, []firmware.Fetch{
			{Role: firmware.RoleCiphertext, Digest: secret.Payload, Size: 23, URI: firmware.PayloadURI(secret.Payload)}}},
		"integrated":               {func(s *firmware.Spec) { s.Integrated = []byte("payload") }, nil},
		"integrated and encrypted": {func(s *firmware.Spec) { s.Integrated, s.Encrypted = secretBytes, secret }, nil},
	} {
		s := spec()
		c.spec(&s)
		m, err := firmware.Verify(a.sign(t, create(t, s)), []firmware.Anchor{a.Anchor}, at)
		if diff := cmp.Diff(c.want, m.Fetches); diff != "" || err != nil || m.Image != s.Image || m.Size != s.Size {
			t.Errorf("%s (-want +got):\n%s%v, image %s of %d", name, diff, err, m.Image, m.Size)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	good, _ := ciphertext(t)
	var secret firmware.Encrypted
	for name, c := range map[string]struct {
		spoil func(*firmware.Spec)
		want  error
	}{
		"no vendor":         {func(s *firmware.Spec) { s.Vendor = uuid.Nil }, firmware.ErrUnsupported},
		"no class":          {func(s *firmware.Spec) { s.Class = uuid.Nil }, firmware.ErrUnsupported},
		"sequence 0":        {func(s *firmware.Spec) { s.Sequence = 0 }, firmware.ErrUnsupported},
		"no payload":        {func(s *firmware.Spec) { s.Image = ident.Digest{} }, firmware.ErrUnsupported},
		"no size":           {func(s *firmware.Spec) { s.Size = 0 }, firmware.ErrUnsupported},
		"negative size":     {func(s *firmware.Spec) { s.Size = -1 }, firmware.ErrUnsupported},
		"http":              {func(s *firmware.Spec) { s.URI = "http://fw.example/f" }, firmware.ErrUnsupported},
		"another payload":   {func(s *firmware.Spec) { s.URI = firmware.PayloadURI(ident.SumDigest(nil)) }, firmware.ErrDigestMismatch},
		"long version":      {func(s *firmware.Spec) { s.Version = strings.Repeat("1", 65) }, firmware.ErrTooLarge},
		"long description":  {func(s *firmware.Spec) { s.Description = strings.Repeat("d", 1025) }, firmware.ErrTooLarge},
		"component, no id":  {func(s *firmware.Spec) { s.Component = [][]byte{} }, firmware.ErrMalformed},
		"component too big": {func(s *firmware.Spec) { s.Component = [][]byte{make([]byte, 33)} }, firmware.ErrMalformed},
		"delta from itself": {func(s *firmware.Spec) { s.Deltas = deltasOf(s.Image) }, firmware.ErrUnsupported},
		"delta from none":   {func(s *firmware.Spec) { s.Deltas = deltasOf(ident.Digest{}) }, firmware.ErrUnsupported},
		"delta of no bytes": {func(s *firmware.Spec) { s.Deltas = deltasOf(old); s.Deltas[0].Size = 0 }, firmware.ErrUnsupported},
		"delta by http":     {func(s *firmware.Spec) { s.Deltas = deltasOf(old); s.Deltas[0].URI = "http://fw.example/d" }, firmware.ErrUnsupported},
		"16 deltas":         {func(s *firmware.Spec) { s.Deltas = slices.Repeat(deltasOf(old), 16) }, firmware.ErrTooLarge},
		"staging is image":  {func(s *firmware.Spec) { s.Deltas, s.Staging = deltasOf(old), [][]byte{{0}} }, firmware.ErrMalformed},
		"encrypted deltas":  {func(s *firmware.Spec) { s.Deltas, s.Encrypted = deltasOf(old), &secret }, firmware.ErrUnsupported},
		"no recipient":      {func(s *firmware.Spec) { s.Encrypted = &secret; secret.Info = nil }, firmware.ErrMalformed},
		"no ciphertext":     {func(s *firmware.Spec) { s.Encrypted = &secret; secret.Size = 0 }, firmware.ErrUnsupported},
		"long ciphertext":   {func(s *firmware.Spec) { s.Encrypted = &secret; secret.Size++ }, firmware.ErrUnsupported},
		"integrated deltas": {func(s *firmware.Spec) { s.Deltas, s.Integrated = deltasOf(old), []byte("payload") }, firmware.ErrUnsupported},
		"integrated, else":  {func(s *firmware.Spec) { s.Integrated = []byte("PAYLOAD") }, firmware.ErrDigestMismatch},
		"integrated, large": {func(s *firmware.Spec) { s.Integrated = make([]byte, firmware.MaxIntegrated+1) }, firmware.ErrTooLarge},
	} {
		s := spec()
		secret = *good
		c.spoil(&s)
		if b, err := firmware.Create(s); !errors.Is(err, c.want) || b != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// An author's tool signs only what it has itself read.
func TestSignRefuses(t *testing.T) {
	a := newAuthor(t, "author-1", cose.ESP256)
	b := create(t, spec())
	for name, c := range map[string]struct {
		envelope []byte
		alg      cose.Alg
		want     error
	}{
		"garbage":         {[]byte("x"), cose.ESP256, firmware.ErrMalformed},
		"tampered":        {bytes.Replace(b, []byte("payload/"), []byte("Payload/"), 1), cose.ESP256, firmware.ErrDigestMismatch},
		"other algorithm": {b, cose.Ed25519, cose.ErrUnknownAlg},
	} {
		if got, err := firmware.Sign(c.envelope, a.private, c.alg, a.ID, nil); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestURI(t *testing.T) {
	d := ident.SumDigest([]byte("payload"))
	if got, ok := firmware.PayloadOf(firmware.PayloadURI(d)); !ok || got != d {
		t.Errorf("payload %s, %t", got, ok)
	}
	for uri, ok := range map[string]bool{
		"payload/" + d.Hex():                  true,
		"https://fw.example/f/abc.bin":        true,
		"https://fw.example:8443/f?v=1":       true,
		"https://[2001:db8::1]/f":             true,
		"":                                    false,
		"payload/":                            false,
		"payload/" + d.String():               false,
		"payload/" + strings.ToUpper(d.Hex()): false,
		"payload/" + d.Hex() + "/":            false,
		"payload/../" + d.Hex():               false,
		"payload/" + strings.Repeat("0", 64):  false,
		"/payload/" + d.Hex():                 false,
		"//fw.example/f":                      false,
		"http://fw.example/f":                 false,
		"HTTPS:fw.example":                    false,
		"https:///f":                          false,
		"https://:443/f":                      false,
		"https://user:secret@fw.example/f":    false,
		"https://fw.example/f#part":           false,
		"https://fw.example/f#":               false,
		"file:///etc/passwd":                  false,
		"mqtt://fw.example/f":                 false,
		"#fw":                                 false,
		"https://fw.example/\n":               false,
		"https://fw.example/%zz":              false,
		"https://" + strings.Repeat("f", 250): false,
	} {
		if err := firmware.CheckURI(uri); (err == nil) != ok || err != nil && !errors.Is(err, firmware.ErrUnsupported) {
			t.Errorf("%q: %v, want ok=%t", uri, err, ok)
		}
	}
}

func TestIDs(t *testing.T) {
	vendor := firmware.VendorID("acme.example")
	if got := vendor.String(); got != "0637e301-e05d-505b-8267-486f5677de9b" {
		t.Errorf("vendor %s", got)
	}
	if got := firmware.ClassID(vendor, "sensor-x1:rev-b").String(); got != "80646209-e5d8-5c4a-b7d3-203a35b1d156" {
		t.Errorf("class %s", got)
	}
	if got := firmware.VendorID("arm.com").String(); got != "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe" {
		t.Errorf("vendor of the draft's examples %s", got)
	}
}

// FuzzVerify: whatever comes, an envelope verifies whole or yields one class of error and no manifest.
func FuzzVerify(f *testing.F) {
	for _, v := range loadVectors(f, "*.json") {
		f.Add(unhex(f, v.Envelope))
	}
	a := newAuthor(f, "author-1", cose.ESP256)
	f.Add(a.sign(f, create(f, spec())))
	anchors := append(vectorAnchors(f), a.Anchor)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := firmware.Verify(b, anchors, at)
		if err == nil {
			if !bytes.Equal(m.Envelope, b) || m.Keys == nil || m.Image.IsZero() || m.Size < 1 || slices.ContainsFunc(m.Fetches, func(f firmware.Fetch) bool { return firmware.CheckURI(f.URI) != nil }) {
				t.Errorf("verified %+v", m)
			}
			return
		}
		if !cmp.Equal(m, firmware.Manifest{}) {
			t.Errorf("a manifest comes with the error: %+v", m)
		}
		n := 0
		for _, class := range verifyClasses {
			if errors.Is(err, class) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%v is of %d classes", err, n)
		}
	})
}
