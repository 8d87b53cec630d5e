package cose_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"fleetbridge/firmware/cose"
)

var algs = []cose.Alg{cose.ES256, cose.EdDSA, cose.ESP256, cose.Ed25519}

func generate(t testing.TB, k cose.Kind, seed string) cose.PrivateKey {
	t.Helper()
	sum := sha256.Sum256([]byte(seed))
	key, err := cose.GeneratePrivateKey(k, bytes.NewReader(sum[:]))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignVerify(t *testing.T) {
	for _, alg := range algs {
		for _, kid := range [][]byte{nil, []byte("author-1"), bytes.Repeat([]byte("k"), cose.MaxKID)} {
			t.Run(fmt.Sprintf("%s kid of %d", alg, len(kid)), func(t *testing.T) {
				key := generate(t, alg.Kind(), "a")
				msg, err := cose.Sign1([]byte("payload"), key, alg, kid, rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				h, err := cose.Parse(msg)
				if err != nil || h.Alg != alg || !bytes.Equal(h.KID, kid) {
					t.Errorf("header %+v, %v", h, err)
				}
				if err := cose.Verify1(msg, []byte("payload"), key.Public(), alg); err != nil {
					t.Error(err)
				}
				refusesOthers(t, msg, key.Public(), alg)
			})
		}
	}
}

// refusesOthers wants msg to verify with nothing but its own payload, key and algorithm.
func refusesOthers(t *testing.T, msg []byte, key cose.PublicKey, alg cose.Alg) {
	t.Helper()
	payload := []byte("payload")
	checks := map[string]error{
		"other payload": cose.Verify1(msg, []byte("Payload"), key, alg),
		"no payload":    cose.Verify1(msg, nil, key, alg),
		"other key":     cose.Verify1(msg, payload, generate(t, alg.Kind(), "b").Public(), alg),
		"no key":        cose.Verify1(msg, payload, cose.PublicKey{}, alg),
	}
	for _, other := range algs {
		if other != alg {
			checks["as "+other.String()] = cose.Verify1(msg, payload, generate(t, other.Kind(), "a").Public(), other)
		}
	}
	for name, err := range checks {
		if !errors.Is(err, cose.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range msg {
		bad := bytes.Clone(msg)
		bad[i] ^= 1
		if cose.Verify1(bad, payload, key, alg) == nil {
			t.Errorf("verifies with byte %d changed", i)
		}
	}
}

// With no random source a signature is a function of key and payload; with one, ECDSA's is not.
func TestSignDeterministic(t *testing.T) {
	for _, alg := range algs {
		sign := func() []byte {
			b, err := cose.Sign1([]byte("payload"), generate(t, alg.Kind(), "a"), alg, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		if !bytes.Equal(sign(), sign()) {
			t.Errorf("%s: two signatures differ", alg)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	p256, ed := generate(t, cose.P256, "a"), generate(t, cose.Curve25519, "a")
	for name, c := range map[string]struct {
		key cose.PrivateKey
		alg cose.Alg
		kid []byte
	}{
		"P-256 with EdDSA":    {p256, cose.EdDSA, nil},
		"Ed25519 with ESP256": {ed, cose.ESP256, nil},
		"no key":              {cose.PrivateKey{}, cose.ESP256, nil},
		"no algorithm":        {p256, 0, nil},
		"ES384":               {p256, -35, nil},
		"long kid":            {p256, cose.ES256, make([]byte, cose.MaxKID+1)},
	} {
		if b, err := cose.Sign1([]byte("p"), c.key, c.alg, c.kid, rand.Reader); err == nil || b != nil {
			t.Errorf("%s: signed %x, %v", name, b, err)
		}
	}
}

// RFC 8032's first key and the draft's example key, each over the digest of its vector.
func TestVerifyKnown(t *testing.T) {
	digest := unhex(t, "822f58206658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af")
	msg := unhex(t, "d28443a10126a0f65840408d0816f9b510749bf6a51b066951e08a4438f849eb092a1ac768eed9de696c1b1dd35d82ef149e6a73a61976ad2cfe78444b8064293350a122f332cb49f0da")
	if err := cose.Verify1(msg, digest, draftKey(t), cose.ES256); err != nil {
		t.Error(err)
	}
}

func draftKey(t testing.TB) cose.PublicKey {
	t.Helper()
	k, err := cose.ParseCOSEKey(unhex(t, "a4010220012158208496811aae0baaabd26157189eecda26beaa8bf11b6f3fe6e2b5659c85dbc0ad2258203b1f2a4b6c098131c0a36dacd1d78bd381dcdfb09c052db33991db7338b4a896"))
	if err != nil {
		t.Fatal(err)
	}
	return k.Key
}

// For a signature (r, s), (r, n-s) verifies too: nothing may be keyed by a message's bytes.
func TestMalleableSignature(t *testing.T) {
	key := generate(t, cose.P256, "a")
	msg, err := cose.Sign1([]byte("payload"), key, cose.ES256, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := msg[len(msg)-32:]
	other := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(s)).FillBytes(make([]byte, 32))
	twin := append(bytes.Clone(msg[:len(msg)-32]), other...)
	if bytes.Equal(twin, msg) {
		t.Fatal("the twin is the same message")
	}
	if err := cose.Verify1(twin, []byte("payload"), key.Public(), cose.ES256); err != nil {
		t.Errorf("the twin doesn't verify; the warning in the package comment is out of date: %v", err)
	}
}

// message encodes a COSE_Sign1 by hand.
func message(t testing.TB, protected any, unprotected map[any]any, payload any, sig []byte) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	p, ok := protected.([]byte)
	if !ok {
		if p, err = mode.Marshal(protected); err != nil {
			t.Fatal(err)
		}
	}
	b, err := mode.Marshal(cbor.Tag{Number: 18, Content: []any{p, unprotected, payload, sig}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseRefuses(t *testing.T) {
	type header = map[any]any
	sig, none, alg := make([]byte, 64), header{}, header{1: -7}
	good := message(t, alg, none, nil, sig)
	if _, err := cose.Parse(good); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty":                   nil,
		"untagged":                good[1:],
		"tag in long form":        append([]byte{0xd8, 18}, good[1:]...),
		"COSE_Sign":               append([]byte{0xd8, 98}, good[1:]...),
		"COSE_Mac0":               append([]byte{0xd1}, good[1:]...),
		"three items":             append([]byte{0xd2, 0x83}, good[2:]...),
		"bytes left over":         append(bytes.Clone(good), 0),
		"truncated":               good[:len(good)-1],
		"attached":                message(t, alg, none, []byte("payload"), sig),
		"attached, empty":         message(t, alg, none, []byte{}, sig),
		"undefined payload":       bytes.Replace(good, []byte{0xf6}, []byte{0xf7}, 1),
		"no algorithm":            message(t, none, none, nil, sig),
		"no protected header":     message(t, []byte{}, none, nil, sig),
		"algorithm unprotected":   message(t, none, header{1: -7}, nil, sig),
		"kid unprotected":         message(t, alg, header{4: []byte("k")}, nil, sig),
		"algorithm as text":       message(t, header{1: "ES256"}, none, nil, sig),
		"ES384":                   message(t, header{1: -35}, none, nil, sig),
		"ML-DSA-44":               message(t, header{1: -48}, none, nil, make([]byte, 2420)),
		"critical":                message(t, header{1: -7, 2: []any{4}, 4: []byte("k")}, none, nil, sig),
		"content type":            message(t, header{1: -7, 3: 0}, none, nil, sig),
		"private header":          message(t, header{1: -7, -70000: 1}, none, nil, sig),
		"empty kid":               message(t, header{1: -7, 4: []byte{}}, none, nil, sig),
		"kid as text":             message(t, header{1: -7, 4: "k"}, none, nil, sig),
		"long kid":                message(t, header{1: -7, 4: make([]byte, 65)}, none, nil, sig),
		"long form in the header": message(t, []byte{0xa1, 0x18, 0x01, 0x26}, none, nil, sig),
		"algorithm twice":         message(t, []byte{0xa2, 0x01, 0x26, 0x01, 0x26}, none, nil, sig),
		"kid before algorithm":    message(t, []byte{0xa2, 0x04, 0x41, 'k', 0x01, 0x26}, none, nil, sig),
		"empty signature":         message(t, alg, none, nil, []byte{}),
		"DER signature":           message(t, alg, none, nil, make([]byte, 71)),
		"too large":               message(t, alg, none, nil, make([]byte, cose.MaxMessage)),
		"nested":                  append([]byte{0xd2, 0x84}, bytes.Repeat([]byte{0x81}, 4000)...),
		// A SUIT_Report of libcsuit: a COSE_Sign1 with an attached payload.
		"report": unhex(t, "d28443a10128a05850a40248010203040506070818638260822f5820bfc166fadcfa0b8deb568d558fd533bc04a91b256d3e155932dbaab2ee7b5f390381858014185400a101500637e301e05d505b8267486f5677de9b04f5584042302da8d2b80bc637591248d60e5787adf44f1c04da163ebf3b8e4931b61749ae2002113f929384a03c2e1f21d162605b808f25ac8f7d18a3d35c8a85f2b99a"),
	} {
		h, err := cose.Parse(b)
		if !errors.Is(err, cose.ErrMalformed) || h.Alg != 0 || h.KID != nil {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		if unknown := name == "ES384" || name == "ML-DSA-44" || strings.HasPrefix(name, "no ") || name == "algorithm unprotected"; errors.Is(err, cose.ErrUnknownAlg) && !unknown {
			t.Errorf("%s is blamed on its algorithm: %v", name, err)
		}
		if err := cose.Verify1(b, []byte("payload"), draftKey(t), cose.ES256); !errors.Is(err, cose.ErrMalformed) {
			t.Errorf("%s: verify says %v", name, err)
		}
	}
	for _, alg := range []int{-35, -48} {
		if _, err := cose.Parse(message(t, header{1: alg}, none, nil, make([]byte, 2420))); !errors.Is(err, cose.ErrUnknownAlg) {
			t.Errorf("algorithm %d: %v", alg, err)
		}
	}
}

func TestAlg(t *testing.T) {
	for _, alg := range algs {
		if got, err := cose.ParseAlg(alg.String()); err != nil || got != alg {
			t.Errorf("%s: %v, %v", alg, got, err)
		}
		if alg.Kind() == "" {
			t.Errorf("%s has no kind of key", alg)
		}
	}
	for _, s := range []string{"", "es256", "-7", "RS256"} {
		if _, err := cose.ParseAlg(s); !errors.Is(err, cose.ErrUnknownAlg) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if a, b := cose.DefaultAlg(generate(t, cose.P256, "a").Public()), cose.DefaultAlg(generate(t, cose.Curve25519, "a").Public()); a != cose.ESP256 || b != cose.Ed25519 {
		t.Errorf("defaults %s and %s", a, b)
	}
}
