package firmware_test

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/ident"
)

// shapes is a manifest of each way in which an author makes one.
func shapes(t *testing.T) map[string]firmware.Spec {
	t.Helper()
	with := func(change func(s *firmware.Spec)) firmware.Spec {
		s := spec()
		s.Version, s.Description = "", ""
		change(&s)
		return s
	}
	secret, ciphertext := sealed(t, []byte("payload"))
	return map[string]firmware.Spec{
		"plain":      with(func(*firmware.Spec) {}),
		"text":       with(func(s *firmware.Spec) { s.Version, s.Description = "1.2.3", "what is new" }),
		"https":      with(func(s *firmware.Spec) { s.URI = "https://fw.example/a.bin" }),
		"integrated": with(func(s *firmware.Spec) { s.Integrated = []byte("payload") }),
		"delta": with(func(s *firmware.Spec) {
			s.Deltas = []firmware.Delta{{From: ident.SumDigest([]byte("old")), FromSize: 3, Payload: ident.SumDigest([]byte("delta")), Size: 5}}
		}),
		"encrypted":         with(func(s *firmware.Spec) { s.Encrypted = secret }),
		"integrated secret": with(func(s *firmware.Spec) { s.Encrypted, s.Integrated = secret, ciphertext }),
	}
}

func sealed(t *testing.T, plain []byte) (*firmware.Encrypted, []byte) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	to, err := encrypt.SharedKey([]byte("site"), make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	info, err := encrypt.Encrypt(&out, bytes.NewReader(plain), encrypt.A128GCM, []encrypt.Recipient{to}, random)
	if err != nil {
		t.Fatal(err)
	}
	return &firmware.Encrypted{Info: info, Payload: ident.SumDigest(out.Bytes()), Size: int64(out.Len())}, out.Bytes()
}

// sameMeaning is all of a manifest but who stands behind it.
var sameMeaning = cmp.Options{cmpopts.IgnoreFields(firmware.Manifest{}, "Envelope", "Keys"), cmp.AllowUnexported(ident.Key{})}

// TestEveryBit flips each bit of an envelope with two signatures, one after the other: it is refused, or says the same
// with one signature less.
func TestEveryBit(t *testing.T) {
	for name, s := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := newAuthor(t, "author-1", cose.ESP256), newAuthor(t, "author-2", cose.Ed25519)
			anchors := []firmware.Anchor{first.Anchor, second.Anchor}
			b := second.sign(t, first.sign(t, create(t, s)))
			want, err := firmware.Verify(b, anchors, at)
			if err != nil {
				t.Fatal(err)
			}
			taken := 0
			for bit := range 8 * len(b) {
				b[bit/8] ^= 1 << (bit % 8)
				m, err := firmware.Verify(b, anchors, at)
				if err == nil {
					taken++
					if d := cmp.Diff(want, m, sameMeaning); d != "" || len(m.Keys) != 1 {
						t.Errorf("bit %d: keys %v, and another meaning: %s", bit, m.Keys, d)
					}
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
			// Bits of a name or an algorithm make a block one of nobody; all others refuse the envelope.
			if most := 8 * 2 * (len("author-1") + 3); taken > most || taken == 0 {
				t.Errorf("%d of %d flips were taken, want at most %d", taken, 8*len(b), most)
			}
		})
	}
}

// TestBlocksAreASet: whatever order the signatures have, and whichever are there twice or gone, the manifest is the same.
func TestBlocksAreASet(t *testing.T) {
	var authors []author
	var anchors []firmware.Anchor
	unsigned := create(t, spec())
	for _, alg := range allAlgs {
		authors = append(authors, newAuthor(t, "author-"+alg.String(), alg))
		anchors = append(anchors, authors[len(authors)-1].Anchor)
	}
	tried := 0
	for order := range sequences(len(authors)) {
		b := unsigned
		for _, i := range order {
			b = authors[i].sign(t, b)
		}
		m, err := firmware.Verify(b, anchors, at)
		if len(order) == 0 {
			if !errors.Is(err, firmware.ErrUntrusted) {
				t.Errorf("without a block: %v", err)
			}
			continue
		}
		tried++
		want := map[int]bool{}
		for _, i := range order {
			want[i] = true
		}
		if err != nil || m.Digest != digestOf(t, unsigned) || len(m.Keys) != len(want) {
			t.Errorf("blocks %v: %s with keys %v: %v", order, m.Digest, m.Keys, err)
		}
	}
	if tried != 4+16+64 {
		t.Errorf("%d orders tried", tried)
	}
}

// sequences yields every list of at most three of the numbers below n, with repetitions.
func sequences(n int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		lists := [][]int{{}}
		for len(lists) > 0 {
			l := lists[0]
			if lists = lists[1:]; !yield(l) {
				return
			}
			for i := range n {
				if len(l) < 3 {
					lists = append(lists, append(slices.Clone(l), i))
				}
			}
		}
	}
}

// digestOf is a manifest's digest: over its byte string, head included.
func digestOf(t *testing.T, envelope []byte) ident.Digest {
	t.Helper()
	return ident.SumDigest(members(t, envelope)[uint64(3)])
}

// members are an envelope's, as they are encoded.
func members(t *testing.T, envelope []byte) map[any]cbor.RawMessage {
	t.Helper()
	var tag cbor.RawTag
	var m map[any]cbor.RawMessage
	if err := errors.Join(cbor.Unmarshal(envelope, &tag), cbor.Unmarshal(tag.Content, &m)); err != nil {
		t.Fatal(err)
	}
	return m
}

func assemble(t *testing.T, m map[any]cbor.RawMessage) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(cbor.Tag{Number: 107, Content: m})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestExchange takes parts of one author's envelope for those of another one of the same author.
func TestExchange(t *testing.T) {
	a := newAuthor(t, "author-1", cose.ESP256)
	one, two := shapes(t), shapes(t)
	for name, s := range two {
		s.Sequence++
		s.Version, s.Description = "9.9.9", "what was new before"
		if name == "integrated" {
			s.Image, s.Integrated = ident.SumDigest([]byte("tampers")), []byte("tampers")
		}
		two[name] = s
	}
	text, payload, wrapper, manifest := uint64(23), "#payload", uint64(2), uint64(3)
	for what, c := range map[string]struct {
		shape  string
		part   any
		gone   bool
		refuse error // nil: taken, and the same manifest
	}{
		"another text":                {"text", text, false, firmware.ErrDigestMismatch},
		"no text":                     {"text", text, true, nil},
		"text where there is none":    {"plain", text, false, firmware.ErrMalformed},
		"another integrated payload":  {"integrated", payload, false, firmware.ErrDigestMismatch},
		"no integrated payload":       {"integrated", payload, true, firmware.ErrMalformed},
		"signatures of another":       {"delta", wrapper, false, firmware.ErrDigestMismatch},
		"manifest of another":         {"encrypted", manifest, false, firmware.ErrDigestMismatch},
		"payload's ciphertext itself": {"integrated secret", payload, true, firmware.ErrMalformed},
	} {
		mine, theirs := a.sign(t, create(t, one[c.shape])), a.sign(t, create(t, two[c.shape]))
		want, err := firmware.Verify(mine, []firmware.Anchor{a.Anchor}, at.AddDate(0, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		m := maps.Clone(members(t, mine))
		if m[c.part] = members(t, theirs)[c.part]; c.gone {
			delete(m, c.part)
		}
		got, err := firmware.Verify(assemble(t, m), []firmware.Anchor{a.Anchor}, at.AddDate(0, 0, 1))
		want.Version = got.Version // who took the text away took what it says
		if !errors.Is(err, c.refuse) || err == nil && !cmp.Equal(want, got, sameMeaning) {
			t.Errorf("%s: %v", what, err)
		}
	}
	both := members(t, a.sign(t, create(t, one["integrated"])))
	both["#second"] = both[payload]
	if _, err := firmware.Verify(assemble(t, both), []firmware.Anchor{a.Anchor}, at); !errors.Is(err, firmware.ErrMalformed) {
		t.Errorf("a second integrated payload: %v", err)
	}
}
