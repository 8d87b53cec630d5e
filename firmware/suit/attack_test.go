package suit_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// Each bomb is small and asks for much: memory for what it announces, or work at every level. They are counted in
// allocations, which bound both, since nothing is read without being kept.
func TestBombs(t *testing.T) {
	nested := a{3, 15}
	for len(enc(t, nested)) < 60<<10 {
		nested = a{15, a{enc(t, nested), enc(t, a{3, 15})}}
	}
	wide := bytes2a(bytes.Repeat([]byte{3, 15}, 20_000))
	cases := a{}
	for range 9000 {
		cases = append(cases, enc(t, a{3, 15}))
	}
	huge := []byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} // an array of 2^64-1 items
	hugeMap := append([]byte{0xbb}, huge[1:]...)
	hugeBytes := append([]byte{0x5b}, huge[1:]...)
	deep := bytes.Repeat([]byte{0x81}, 60<<10)
	reach := func(spoil func(*draft)) []byte {
		d := newDraft(t)
		spoil(d)
		return d.bytes()
	}
	oversized := reach(func(d *draft) { d.manifest = m{23: make([]byte, 65_000)} })
	oversized = reach(func(d *draft) { d.manifest = m{23: make([]byte, 65_000+suit.MaxEnvelope+1-len(oversized))} })
	if len(oversized) != suit.MaxEnvelope+1 {
		t.Fatalf("%d bytes", len(oversized))
	}
	for name, b := range map[string][]byte{
		"nested try-each":        reach(func(d *draft) { d.install = nested }),
		"20,000 commands":        reach(func(d *draft) { d.install = wide }),
		"9,000 cases":            reach(func(d *draft) { d.install = a{15, cases} }),
		"array of 2^64":          reach(func(d *draft) { d.install = huge }),
		"map of 2^64":            reach(func(d *draft) { d.manifest = m{23: hugeMap} }),
		"bytes of 2^64":          reach(func(d *draft) { d.manifest = m{3: hugeBytes} }),
		"deep key":               reach(func(d *draft) { d.manifest = m{23: append([]byte{0xa1, 0x62, 'e', 'n', 0xa1}, deep...)} }),
		"deep envelope":          append([]byte{0xd8, 0x6b}, deep...),
		"deep envelope key":      append([]byte{0xd8, 0x6b, 0xa2}, deep...),
		"envelope map of 2^64":   append([]byte{0xd8, 0x6b}, hugeMap...),
		"1 MiB of nested arrays": append([]byte{0xd8, 0x6b}, bytes.Repeat([]byte{0x81}, 1<<20)...),
		"64 KiB and 1 byte":      oversized,
		"1 MiB of tags":          bytes.Repeat([]byte{0xd8, 0x6b}, 1<<19),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n := testing.AllocsPerRun(1, func() { _, err = suit.Decode(b) })
			runtime.ReadMemStats(&after)
			if !errors.Is(err, suit.ErrMalformed) {
				t.Errorf("%d bytes: %v", len(b), err)
			}
			if n > 2000 {
				t.Errorf("%d bytes took %.0f allocations", len(b), n)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 { // of two runs
				t.Errorf("%d bytes took %d bytes of memory", len(b), grown)
			}
		})
	}
}

// Whoever adds or takes a signature block changes the envelope, never what was signed.
func TestAddBlock(t *testing.T) {
	text := enc(t, m{"en": m{1: "x"}})
	d := newDraft(t)
	d.manifest, d.envelope = m{23: ident.SumDigest(enc(t, text))}, m{23: text, "#fw": []byte("payload")}
	b := d.bytes()
	before, err := suit.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		if b, err = suit.AddBlock(b, []byte{byte(n)}); err != nil {
			t.Fatal(err)
		}
	}
	after, err := suit.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Blocks) != 8 || !bytes.Equal(after.Blocks[7], []byte{7}) {
		t.Errorf("blocks %x", after.Blocks)
	}
	after.Blocks = before.Blocks
	if d := cmp.Diff(before, after); d != "" {
		t.Error(d)
	}
	if b, err = suit.AddBlock(b, []byte{8}); !errors.Is(err, suit.ErrMalformed) || b != nil {
		t.Errorf("a ninth block: %v", err)
	}
}

// The four SUIT_Encryption_Info of draft-ietf-suit-firmware-encryption-24 are carried as they are.
func TestEncryptionInfo(t *testing.T) {
	for _, h := range []string{
		"d8608440a20139fffd0550dae613b2e0dc55f4322be38bdba9dc68f6818340a2012204456b69642d315818ce34035ce5c2e2666e46d4c131fc561dd190a6d26cfa1990",
		"d8608443a10101a1054cf14aab9d81d51f7ad943fe87f6818340a2012204456b69642d31581875603ffc9518d794713c8ca8a115a7fb32565a6d59534d62",
		"d8608440a20139fffd0550dae613b2e0dc55f4322be38bdba9dc68f6818344a101381ca120a401022001215820ee0718f6b019c29cc611c18cede2214066ddcedc2f0dbef873cb224c715c1174225820279f2a88e4ab9e2ed30c0fcb69515b31b5d36725bfdb9ae02032ed4d5ab52cb85818e28b4502e4f5151884a995405579006e9465c3e94e3e0808",
		"d8608443a10101a1054cf14aab9d81d51f7ad943fe87f6818344a101381ca120a40102200121582073024f415aa51529a66ccefd88f3f62a734492ff45f6ad37fd2888e73eaf19da2258204005b48a6fd091aa6abfe3cfbeede88b347e521d43405fdbd7d2cff0ebc21b265818a06b8e6550f308712b1df044b21b7d11d9b22792f1de0997",
	} {
		info, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		d := newDraft(t)
		d.install = a{20, m{19: info, 21: "u"}, 21, 2, 3, 15}
		e, err := suit.Decode(d.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Manifest.Install[0].Parameters[0]; got.ID.String() != "encryption-info" || !bytes.Equal(got.Bytes, info) {
			t.Errorf("%s %x", got.ID, got.Bytes)
		}
		if _, err := e.Plan(); !errors.Is(err, suit.ErrUnsupported) {
			t.Errorf("an encrypted payload as a plain image: %v", err)
		}
	}
}

// FuzzDecode feeds an envelope as it is, and again with the digest that its manifest has, which a mutation never gets
// right. What decodes must be the one encoding of its meaning, as an independent encoder sees it.
func FuzzDecode(f *testing.F) {
	for _, b := range vectors(f) {
		f.Add(b)
	}
	for _, c := range refusals(f) {
		d := newDraft(f)
		c.spoil(d)
		f.Add(d.bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, repair(t, b)} {
			e, err := suit.Decode(b)
			if err != nil {
				if e != nil {
					t.Fatal("an envelope comes with the error")
				}
				continue
			}
			if i, err := suit.Describe(b); err != nil || i.Outline() == "" {
				t.Errorf("what decodes can't be described: %v", err)
			}
			samePlan(t, e)
			sameBytes(t, b)
		}
	})
}

// repair puts the right digest into an envelope; nil if it can't be read that far.
func repair(t testing.TB, b []byte) []byte {
	var tag cbor.RawTag
	var members map[any]cbor.RawMessage
	if cbor.Unmarshal(b, &tag) != nil || cbor.Unmarshal(tag.Content, &members) != nil || members[uint64(3)] == nil {
		return nil
	}
	all := m{}
	for k, v := range members {
		all[k] = v
	}
	all[uint64(2)] = enc(t, a{enc(t, ident.SumDigest(members[uint64(3)]))})
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := mode.Marshal(cbor.Tag{Number: 107, Content: all})
	if err != nil {
		return nil
	}
	return fixed
}

// sameBytes re-encodes every layer of a decoded envelope but text, whose array keys no Go map can hold.
func sameBytes(t testing.TB, envelope []byte) {
	t.Helper()
	members := reencode(t, envelope).(cbor.Tag).Content.(m)
	reencode(t, members[uint64(2)].([]byte))
	manifest := reencode(t, members[uint64(3)].([]byte)).(m)
	common := reencode(t, manifest[uint64(3)].([]byte)).(m)
	sequences := a{common[uint64(4)], members[uint64(16)], members[uint64(20)]}
	for _, k := range []uint64{7, 8, 9, 16, 20} {
		sequences = append(sequences, manifest[k])
	}
	for _, s := range sequences {
		if b, ok := s.([]byte); ok {
			sameSequence(t, b)
		}
	}
}

func sameSequence(t testing.TB, b []byte) {
	t.Helper()
	s := reencode(t, b).(a)
	for i := 0; i < len(s); i += 2 {
		switch s[i] {
		case uint64(32):
			sameSequence(t, s[i+1].([]byte))
		case uint64(15):
			for _, c := range s[i+1].(a) {
				if b, ok := c.([]byte); ok {
					sameSequence(t, b)
				}
			}
		case uint64(20):
			for _, k := range []uint64{3, 28} {
				if v, ok := s[i+1].(m)[k]; ok {
					reencode(t, v.([]byte))
				}
			}
		}
	}
}

func reencode(t testing.TB, b []byte) any {
	t.Helper()
	var v any
	if err := cbor.Unmarshal(b, &v); err != nil {
		t.Fatalf("decoded %x, which isn't CBOR: %v", b, err)
	}
	if again := enc(t, v); !bytes.Equal(again, b) {
		t.Fatalf("decoded %x, which isn't the one encoding: %x", b, again)
	}
	return v
}

// samePlan wants what a manifest asks for to be what a manifest written of that asks for.
func samePlan(t *testing.T, e *suit.Envelope) {
	t.Helper()
	p, err := e.Plan()
	if err != nil {
		if !errors.Is(err, suit.ErrUnsupported) && !errors.Is(err, suit.ErrMalformed) && !errors.Is(err, suit.ErrDigest) {
			t.Error(err)
		}
		return
	}
	inside, _ := e.Payload(p.Tries[0].URI)
	b, err := suit.Build(e.Manifest.Sequence, p, inside, suit.Text{})
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	again, err := suit.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Plan(); err != nil || !cmp.Equal(got, p) {
		t.Errorf("%v, %s", err, cmp.Diff(p, got))
	}
}
