package cose_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"

	"fleetbridge/firmware/cose"
)

// TestToBeSigned holds the bytes against those of the draft's example 0.
func TestToBeSigned(t *testing.T) {
	digest := unhex(t, "822f58206658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af")
	got, err := cose.ToBeSigned(digest, cose.ES256, nil)
	if want := "846a5369676e61747572653143a10126405824" + hex.EncodeToString(digest); err != nil || hex.EncodeToString(got) != want {
		t.Errorf("got %x, %v, want %s", got, err, want)
	}
	if _, err := cose.ToBeSigned(digest, -7000, nil); !errors.Is(err, cose.ErrUnknownAlg) {
		t.Errorf("an unknown algorithm: %v", err)
	}
	if _, err := cose.ToBeSigned(digest, cose.ES256, make([]byte, cose.MaxKID+1)); !errors.Is(err, cose.ErrMalformed) {
		t.Errorf("a long key identifier: %v", err)
	}
}

// TestAssemble makes of the signature in a message that message again, whichever form it comes in.
func TestAssemble(t *testing.T) {
	payload, kid := []byte("payload"), []byte("author")
	for _, alg := range algs {
		key := generate(t, alg.Kind(), "a")
		want, err := cose.Sign1(payload, key, alg, kid, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw := want[len(want)-64:]
		forms := map[string][]byte{"raw": raw}
		if alg.Kind() == cose.P256 {
			forms["DER"], err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
			if err != nil {
				t.Fatal(err)
			}
		}
		for form, sig := range forms {
			got, err := cose.Assemble(payload, sig, key.Public(), alg, kid)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %x, %v", alg, form, got, err)
			}
			for name, c := range map[string]struct {
				payload, sig, kid []byte
				key               cose.PublicKey
			}{
				"another payload": {[]byte("other"), sig, kid, key.Public()},
				"another name":    {payload, sig, []byte("mallory"), key.Public()},
				"another key":     {payload, sig, kid, generate(t, alg.Kind(), "b").Public()},
				"cut short":       {payload, sig[:len(sig)-1], kid, key.Public()},
				"left over":       {payload, append(bytes.Clone(sig), 0), kid, key.Public()},
				"nothing":         {payload, nil, kid, key.Public()},
			} {
				if got, err := cose.Assemble(c.payload, c.sig, c.key, alg, c.kid); !errors.Is(err, cose.ErrSignature) || got != nil {
					t.Errorf("%s, %s, %s: %v", alg, form, name, err)
				}
			}
		}
		if _, err := cose.Assemble(payload, raw, cose.PublicKey{}, alg, kid); !errors.Is(err, cose.ErrUnknownAlg) {
			t.Errorf("%s without a key: %v", alg, err)
		}
	}
}
