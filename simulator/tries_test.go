package simulator_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"fleetbridge/firmware"
	"fleetbridge/firmware/delta"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

const installedWords = "received downloading downloaded installing rebooting installed"

// offer makes b's server offer an update of spec, with the payloads that it names.
func (b *bench) offer(s firmware.Spec, payloads ...[]byte) {
	if b.others == nil {
		b.others = map[ident.Digest][]byte{}
	}
	for _, p := range payloads {
		b.others[ident.SumDigest(p)] = p
	}
	b.setManifest(b.author.sign(s))
}

// next is an image that differs little from b's payload.
func (b *bench) next() []byte {
	n := slices.Clone(b.payload)
	copy(n[len(n)/2:], "what is new")
	return n
}

func (b *bench) install(image []byte) {
	b.config.Image = topics.Installed{Digest: ident.SumDigest(image), Sequence: 1}
	b.config.Images = append(b.config.Images, image)
}

func makeDelta(t *testing.T, from, to []byte) ([]byte, firmware.Delta) {
	t.Helper()
	d, err := delta.Make(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return d, firmware.Delta{From: ident.SumDigest(from), FromSize: int64(len(from)), Payload: ident.SumDigest(d), Size: int64(len(d))}
}

// TestDelta is one device and a manifest with a delta from what it may run.
func TestDelta(t *testing.T) {
	for name, c := range map[string]struct {
		set       func(t *testing.T, b *bench, s *firmware.Spec) (d []byte)
		words     string // "" for the usual ones
		fallbacks int64
		full      bool // the image itself was fetched
	}{
		"applies": {set: func(t *testing.T, b *bench, s *firmware.Spec) []byte {
			b.install(b.payload)
			return deltaFrom(t, b.payload, s, b.next())
		}},
		"another precursor": {full: true, set: func(t *testing.T, b *bench, s *firmware.Spec) []byte {
			b.install(image(5000))
			return deltaFrom(t, b.payload, s, b.next())
		}},
		"second precursor": {set: func(t *testing.T, b *bench, s *firmware.Spec) []byte {
			b.install(b.payload)
			other := deltaFrom(t, image(5000), s, b.next())
			b.others = map[ident.Digest][]byte{ident.SumDigest(other): other}
			return deltaFrom(t, b.payload, s, b.next())
		}},
		"precursor's bytes unknown": {full: true, set: func(t *testing.T, b *bench, s *firmware.Spec) []byte {
			b.install(b.payload)
			b.config.Images = nil
			return deltaFrom(t, b.payload, s, b.next())
		}},
		"other bytes come": {full: true, fallbacks: 1, words: strings.Replace(installedWords, "downloading", "downloading downloading", 1),
			set: func(t *testing.T, b *bench, s *firmware.Spec) []byte {
				b.install(b.payload)
				d := deltaFrom(t, b.payload, s, b.next())
				bad := slices.Clone(d)
				bad[len(bad)/2] ^= 1
				b.others = map[ident.Digest][]byte{ident.SumDigest(d): bad}
				return nil
			}},
		"makes another image": {full: true, fallbacks: 1, words: strings.Replace(installedWords, "downloading", "downloading downloading", 1),
			set: func(t *testing.T, b *bench, s *firmware.Spec) []byte {
				b.install(b.payload)
				evil := b.next()
				evil[0] ^= 1
				return deltaFrom(t, b.payload, s, evil)
			}},
		"does not apply": {words: "received downloading failed:install-error", set: func(t *testing.T, b *bench, s *firmware.Spec) []byte {
			b.install(b.payload)
			deltaFrom(t, b.payload, s, b.next())
			junk := []byte("no frame of Zstandard")
			s.Deltas[0].Payload, s.Deltas[0].Size = ident.SumDigest(junk), int64(len(junk))
			return junk
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 20_000)
				b.config.Progress = -1
				target := b.next()
				s := spec(target)
				d := c.set(t, b, &s)
				b.offer(s, target)
				if d != nil {
					b.others[ident.SumDigest(d)] = d
				}
				f := b.fleet(t)
				run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
				if want := cmpOr(c.words, installedWords); b.words() != want {
					t.Errorf("reports %q, want %q", b.words(), want)
				}
				full := slices.ContainsFunc(b.fetches, func(q topics.Fetch) bool { return q.Digest == s.Image })
				if full != c.full || f.Stats().Fallbacks != c.fallbacks {
					t.Errorf("the image was fetched: %t; %d fallbacks", full, f.Stats().Fallbacks)
				}
				if installed := f.Ledger()[0].Installed.Digest; (installed == s.Image) != strings.HasSuffix(b.words(), "installed") {
					t.Errorf("installed %s", installed)
				}
			})
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// deltaFrom adds a delta to s.
func deltaFrom(t *testing.T, from []byte, s *firmware.Spec, to []byte) []byte {
	t.Helper()
	d, say := makeDelta(t, from, to)
	s.Deltas = append(s.Deltas, say)
	return d
}

// TestDeltaOnDelta: what a delta made is the precursor of the next one, for every device of the fleet.
func TestDeltaOnDelta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 20_000)
		b.config.Devices = identities(t, 5)
		b.install(b.payload)
		second := b.next()
		third := append(slices.Clone(second), "and more"...)
		s2, s3 := spec(second), spec(third)
		s3.Sequence++
		d2, d3 := deltaFrom(t, b.payload, &s2, second), deltaFrom(t, second, &s3, third)
		b.offer(s2, d2)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		b.offer(s3, d3)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		for _, e := range f.Ledger() {
			if e.Installed.Digest != s3.Image {
				t.Errorf("%s runs %s", e.Device, e.Installed.Digest)
			}
		}
		if n := f.Stats().ChunkBytes; n != 5*int64(len(d2)+len(d3)) {
			t.Errorf("%d bytes fetched, want those of the deltas", n)
		}
	})
}

// sealed encrypts plain for a new device key.
func sealed(t *testing.T, plain []byte, content encrypt.Content) (*firmware.Encrypted, []byte, encrypt.Key) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	kek := make([]byte, 16)
	random.Read(kek)
	to, err := encrypt.SharedKey([]byte("site"), kek)
	if err != nil {
		t.Fatal(err)
	}
	key, err := encrypt.DeviceSharedKey([]byte("site"), kek)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	info, err := encrypt.Encrypt(&out, bytes.NewReader(plain), content, []encrypt.Recipient{to}, random)
	if err != nil {
		t.Fatal(err)
	}
	return &firmware.Encrypted{Info: info, Payload: ident.SumDigest(out.Bytes()), Size: int64(out.Len())}, out.Bytes(), key
}

func TestEncrypted(t *testing.T) {
	for _, content := range []encrypt.Content{encrypt.A128GCM, encrypt.A128CTR} {
		for name, c := range map[string]struct {
			spoil func(b *bench, s *firmware.Spec, ciphertext []byte)
			words string
		}{
			"decrypts":         {func(*bench, *firmware.Spec, []byte) {}, installedWords},
			"without the key":  {func(b *bench, _ *firmware.Spec, _ []byte) { b.config.Model.Keys = nil }, "received rejected:unsupported-manifest"},
			"other bytes come": {func(b *bench, s *firmware.Spec, c []byte) { b.others[s.Encrypted.Payload] = append(c[1:], 0) }, "received downloading failed:digest-mismatch"},
			"another image": {func(b *bench, s *firmware.Spec, c []byte) { s.Image = ident.SumDigest(c); b.offer(*s, c) },
				"received downloading failed:digest-mismatch"},
		} {
			t.Run(content.String()+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, 20_000)
					b.config.Progress = -1
					s := spec(b.payload)
					secret, ciphertext, key := sealed(t, b.payload, content)
					s.Encrypted, b.config.Model.Keys = secret, []encrypt.Key{key}
					b.offer(s, ciphertext)
					c.spoil(b, &s, ciphertext)
					f := b.fleet(t)
					run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
					if b.words() != c.words {
						t.Errorf("reports %q, want %q", b.words(), c.words)
					}
				})
			})
		}
	}
}

// TestIntegrated: nothing is fetched.
func TestIntegrated(t *testing.T) {
	for _, secret := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 20_000)
			s := spec(b.payload)
			s.Integrated = b.payload
			if secret {
				e, ciphertext, key := sealed(t, b.payload, encrypt.A128GCM)
				s.Encrypted, s.Integrated, b.config.Model.Keys = e, ciphertext, []encrypt.Key{key}
			}
			b.offer(s)
			f := b.fleet(t)
			run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
			if want := "received downloaded installing rebooting installed"; b.words() != want || len(b.fetches) > 0 || f.Ledger()[0].Installed.Digest != s.Image {
				t.Errorf("encrypted %t: reports %q, %d fetches", secret, b.words(), len(b.fetches))
			}
		})
	}
}

// TestImagesAreBounded: what a fleet keeps of images has a limit, and no fleet starts above it.
func TestImagesAreBounded(t *testing.T) {
	b := newBench(t, 100)
	one := make([]byte, 100<<20)
	b.config.Images = [][]byte{one, append(make([]byte, 100<<20-1), 1), append(make([]byte, 100<<20-1), 2)}
	if _, err := simulator.New(b.config); err == nil {
		t.Error("300 MiB of images")
	}
}
