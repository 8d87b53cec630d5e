package firmware_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
)

// good reports whether an inspection with key vouches for the envelope: what `manifest verify` exits with 0 on.
func good(envelope []byte, key cose.PublicKey) bool {
	in, err := firmware.Inspect(envelope, []cose.PublicKey{key})
	return err == nil && in.Verified()
}

// TestInspectDraft wants the draft's key to verify each of the draft's examples, and no example of which one bit differs.
func TestInspectDraft(t *testing.T) {
	key := loadKeys(t)["draft-p256"]
	vectors := loadVectors(t, "draft.json")
	if len(vectors) != 7 { // example 2 with and without its severed members
		t.Fatalf("%d examples", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			b := v.bytes(t)
			if !good(b, key) {
				in, err := firmware.Inspect(b, []cose.PublicKey{key})
				t.Fatalf("not verified: %+v, %v", in, err)
			}
			for i := range b {
				for bit := range 8 {
					flipped := slices.Clone(b)
					flipped[i] ^= 1 << bit
					if good(flipped, key) {
						t.Errorf("bit %d of byte %d is flipped, and it verifies", bit, i)
					}
				}
			}
			for n := range b {
				if good(b[:n], key) {
					t.Errorf("the first %d bytes verify", n)
				}
			}
		})
	}
}

// TestInspectNegative: a digest that does not match is never verified, whoever signed; what is merely outside of the
// profile is.
func TestInspectNegative(t *testing.T) {
	key := loadKeys(t)["draft-p256"]
	verifies := map[string]bool{"n2b-severed-install": true, "n4-custom-command": true, "n4b-custom-parameter": true,
		"n13-kid-unprotected": true}
	for _, v := range loadVectors(t, "negative.json") {
		if got := good(v.bytes(t), key); got != verifies[v.Name] {
			_, err := firmware.Inspect(v.bytes(t), []cose.PublicKey{key})
			t.Errorf("%s (%s): verified %t, error %v", v.Name, v.About, got, err)
		}
	}
}

// TestInspectSaysWhy: each key's verdict on each block.
func TestInspectSaysWhy(t *testing.T) {
	keys := loadKeys(t)
	other, err := cose.GeneratePrivateKey(cose.P256, strings.NewReader(strings.Repeat("another key.....", 8)))
	if err != nil {
		t.Fatal(err)
	}
	list := []cose.PublicKey{keys["rfc8032-1"], keys["draft-p256"], other.Public()}
	in, err := firmware.Inspect(loadVectors(t, "draft.json")[3].bytes(t), list)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(in.Severed, []suit.Member{suit.MemberInstall, suit.MemberText}) {
		t.Errorf("severed and checked: %v", in.Severed)
	}
	got := in.Blocks[0].Verdicts
	if len(got) != 3 || got[1] != nil || !errors.Is(got[0], cose.ErrSignature) || !errors.Is(got[2], cose.ErrSignature) {
		t.Fatalf("verdicts %v", got)
	}
	if !strings.Contains(got[0].Error(), "ES256 wants a key of kind P-256, this one is Ed25519") || !strings.Contains(got[2].Error(), "another key made it") {
		t.Errorf("verdicts %v", got)
	}
}
