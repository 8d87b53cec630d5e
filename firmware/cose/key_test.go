package cose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"testing"

	"fleetbridge/firmware/cose"
)

func TestKeyForms(t *testing.T) {
	for _, kind := range []cose.Kind{cose.P256, cose.Curve25519} {
		private := generate(t, kind, "a")
		public := private.Public()
		coseKey, err := cose.COSEKey{Key: public, KID: []byte("k"), Alg: cose.DefaultAlg(public)}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for form, b := range map[string][]byte{"PEM": public.PEM(), "SPKI": public.SPKI(), "COSE_Key": coseKey} {
			got, err := cose.ParsePublicKey(b)
			if err != nil || !got.Equal(public) || got.Kind() != kind {
				t.Errorf("%s of %s: %v", form, kind, err)
			}
		}
		b, err := private.PEM()
		if err != nil {
			t.Fatal(err)
		}
		again, err := cose.ParsePrivateKey(b)
		if err != nil || !again.Public().Equal(public) {
			t.Errorf("private PEM of %s: %v", kind, err)
		}
		if public.Equal(generate(t, kind, "b").Public()) || public.Equal(cose.PublicKey{}) {
			t.Errorf("%s equals another key", kind)
		}
	}
}

// RFC 9864's algorithms are read back too, which go-cose's own COSE_Key doesn't do.
func TestCOSEKeyAlgorithms(t *testing.T) {
	for _, alg := range algs {
		want := cose.COSEKey{Key: generate(t, alg.Kind(), "a").Public(), KID: []byte("author"), Alg: alg}
		b, err := want.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := cose.ParseCOSEKey(b)
		if err != nil || got.Alg != alg || !bytes.Equal(got.KID, want.KID) || !got.Key.Equal(want.Key) {
			t.Errorf("%s: %+v, %v", alg, got, err)
		}
	}
	wrong := cose.COSEKey{Key: generate(t, cose.P256, "a").Public(), Alg: cose.EdDSA}
	if b, err := wrong.Marshal(); !errors.Is(err, cose.ErrKey) || b != nil {
		t.Errorf("EdDSA with a P-256 key: %v", err)
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKIXPublicKey(&p384.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := generate(t, cose.P256, "a").Public()
	private, err := generate(t, cose.P256, "a").PEM()
	if err != nil {
		t.Fatal(err)
	}
	good, err := cose.COSEKey{Key: public}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	spki3 := append(public.SPKI(), 5, 0) // crypto/x509 takes a third item, here a NULL, in silence
	spki3[1] += 2
	edited := func(old, new string) []byte {
		b := bytes.Replace(good, unhex(t, old), unhex(t, new), 1)
		if bytes.Equal(b, good) {
			t.Fatalf("no %s in %x", old, good)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"empty":               nil,
		"text":                []byte("key"),
		"P-384":               other,
		"private key":         private,
		"two PEM blocks":      append(public.PEM(), public.PEM()...),
		"PEM of another type": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public.SPKI()}),
		"DER left over":       append(public.SPKI(), 0),
		"SPKI of three items": spki3,
		"5 KiB":               make([]byte, 5<<10),
		"COSE_Key left over":  append(bytes.Clone(good), 0),
		"other key type":      edited("a40102", "a40104"),
		"other curve":         edited("2001", "2002"),
		"short x":             append([]byte{0xa4, 1, 2, 0x20, 1, 0x21, 0x41, 1}, good[5+2+33:]...),
		"point off the curve": append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"private part":        append([]byte{0xa5}, append(bytes.Clone(good[1:]), 0x23, 0x41, 1)...),
		"unknown member":      append([]byte{0xa5}, append(bytes.Clone(good[1:]), 0x24, 1)...),
		"member twice":        append([]byte{0xa5, 1, 2}, good[1:]...),
		"null key type":       edited("a40102", "a401f6"),
		"long form":           edited("a40102", "a4011802"),
		"algorithm 0":         edited("a4010220", "a501020300"+"20"),
		"nested":              bytes.Repeat([]byte{0xa1}, 4000),
	} {
		if k, err := cose.ParsePublicKey(b); !errors.Is(err, cose.ErrKey) || k.Kind() != "" {
			t.Errorf("%s: a %q key, %v", name, k.Kind(), err)
		}
	}
}

func TestParsePrivateKeyRefuses(t *testing.T) {
	good, err := generate(t, cose.P256, "a").PEM()
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty":      nil,
		"public":     generate(t, cose.P256, "a").Public().PEM(),
		"two":        append(bytes.Clone(good), good...),
		"P-384":      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"not PKCS#8": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
		"5 KiB":      make([]byte, 5<<10),
	} {
		if k, err := cose.ParsePrivateKey(b); !errors.Is(err, cose.ErrKey) || k.Public().Kind() != "" {
			t.Errorf("%s: a %q key, %v", name, k.Public().Kind(), err)
		}
	}
	if _, err := (cose.PrivateKey{}).PEM(); !errors.Is(err, cose.ErrKey) {
		t.Errorf("PEM of no key: %v", err)
	}
}

func TestGenerateRefusesBrokenSources(t *testing.T) {
	for name, src := range map[string]io.Reader{
		"ends":  bytes.NewReader(make([]byte, 31)),
		"zeros": bytes.NewReader(make([]byte, 4096)),
		"ones":  bytes.NewReader(bytes.Repeat([]byte{0xff}, 4096)),
	} {
		if k, err := cose.GeneratePrivateKey(cose.P256, src); err == nil || k.Public().Kind() != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cose.GeneratePrivateKey("P-384", rand.Reader); !errors.Is(err, cose.ErrUnknownAlg) {
		t.Errorf("kind P-384: %v", err)
	}
}

// A key that ends up in a log or in an error says nothing.
func TestPrivateKeyPrintsNothing(t *testing.T) {
	key := generate(t, cose.Curve25519, "a")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, key); got != "redacted" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// FuzzKey: a public key that is read has one form of each kind, and a message or key of any bytes never panics.
func FuzzKey(f *testing.F) {
	for _, kind := range []cose.Kind{cose.P256, cose.Curve25519} {
		key := generate(f, kind, "a")
		b, err := cose.COSEKey{Key: key.Public(), KID: []byte("k"), Alg: cose.DefaultAlg(key.Public())}.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		p, err := key.PEM()
		if err != nil {
			f.Fatal(err)
		}
		msg, err := cose.Sign1([]byte("p"), key, cose.DefaultAlg(key.Public()), []byte("k"), nil)
		if err != nil {
			f.Fatal(err)
		}
		for _, seed := range [][]byte{b, key.Public().PEM(), key.Public().SPKI(), p, msg} {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := cose.ParseCOSEKey(b); err == nil {
			if again, err := k.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("COSE_Key %x is written as %x, %v", b, again, err)
			}
		}
		if k, err := cose.ParseSPKI(b); err == nil && !bytes.Equal(k.SPKI(), b) {
			t.Errorf("SPKI %x is written as %x", b, k.SPKI())
		}
		if k, err := cose.ParsePublicKey(b); (err == nil) != (k.Kind() != "") {
			t.Errorf("a %q key with error %v", k.Kind(), err)
		}
		if k, err := cose.ParsePrivateKey(b); (err == nil) != (k.Public().Kind() != "") {
			t.Errorf("a private %q key with error %v", k.Public().Kind(), err)
		}
		if h, err := cose.Parse(b); (err == nil) != (h.Alg.Kind() != "") {
			t.Errorf("header %+v with error %v", h, err)
		}
	})
}
