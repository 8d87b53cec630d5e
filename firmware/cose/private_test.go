package cose_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetbridge/firmware/cose"
)

const passphrase = "correct horse"

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "openssl", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDecryptOpenSSL reads keys that `openssl pkcs8 -topk8` wrote, one of each kind, with its defaults and with -v2
// aes-128-cbc -v2prf hmacWithSHA512. The key material was made for this test.
func TestDecryptOpenSSL(t *testing.T) {
	for _, name := range []string{"ec", "ed"} {
		want, err := cose.ParsePublicKey(readFile(t, name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		b := readFile(t, name+".enc")
		if _, err := cose.ParsePrivateKey(b); !errors.Is(err, cose.ErrEncrypted) || !cose.HoldsPrivateKey(b) {
			t.Errorf("%s without a passphrase: %v", name, err)
		}
		if k, err := cose.DecryptPrivateKey(b, passphrase); err != nil || !k.Public().Equal(want) {
			t.Errorf("%s: %v", name, err)
		}
		for _, wrong := range []string{"", "correct horsE", passphrase + "\n"} {
			if k, err := cose.DecryptPrivateKey(b, wrong); !errors.Is(err, cose.ErrPassphrase) || k.Public().Kind() != "" {
				t.Errorf("%s with passphrase %q: %v", name, wrong, err)
			}
		}
	}
	if _, err := cose.DecryptPrivateKey(readFile(t, "ed.scrypt"), passphrase); !errors.Is(err, cose.ErrKey) || !strings.Contains(err.Error(), "want PBKDF2") {
		t.Errorf("scrypt: %v", err)
	}
}

func TestEncryptedPEM(t *testing.T) {
	for _, kind := range []cose.Kind{cose.P256, cose.Curve25519} {
		key := generate(t, kind, "a")
		b, err := key.EncryptedPEM(passphrase, strings.NewReader(strings.Repeat("s", 32)))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := cose.DecryptPrivateKey(b, passphrase); err != nil || !again.Public().Equal(key.Public()) {
			t.Errorf("%s: %v", kind, err)
		}
		plain, err := key.PEM()
		if err != nil {
			t.Fatal(err)
		}
		secret, _ := pem.Decode(plain)
		sealed, _ := pem.Decode(b)
		if bytes.Contains(sealed.Bytes, secret.Bytes[len(secret.Bytes)-16:]) {
			t.Errorf("%s is there in the clear", kind)
		}
	}
	key := generate(t, cose.P256, "a")
	if _, err := key.EncryptedPEM("", strings.NewReader(strings.Repeat("s", 32))); !errors.Is(err, cose.ErrPassphrase) {
		t.Errorf("empty passphrase: %v", err)
	}
	if _, err := key.EncryptedPEM(passphrase, strings.NewReader("short")); err == nil {
		t.Error("a random source that ends makes a key file")
	}
}

// TestDecryptDamaged changes each byte of a key file. CBC authenticates nothing, so that a damaged seed may be another
// key; the test is that nothing panics or takes long, and that errors are of the two classes.
func TestDecryptDamaged(t *testing.T) {
	block, _ := pem.Decode(readFile(t, "ed.enc"))
	for i := range block.Bytes {
		der := bytes.Clone(block.Bytes)
		der[i] ^= 0x81
		_, err := cose.DecryptPrivateKey(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), passphrase)
		if err != nil && !errors.Is(err, cose.ErrKey) && !errors.Is(err, cose.ErrPassphrase) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func TestPrivateCOSEKey(t *testing.T) {
	for _, kind := range []cose.Kind{cose.P256, cose.Curve25519} {
		key := generate(t, kind, "a")
		b, err := key.COSEKey([]byte("author"), cose.DefaultAlg(key.Public()))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := cose.ParsePrivateKey(b); err != nil || !again.Public().Equal(key.Public()) || !cose.HoldsPrivateKey(b) {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := cose.ParsePublicKey(b); !errors.Is(err, cose.ErrKey) {
			t.Errorf("%s: a private key is taken for a public one: %v", kind, err)
		}
		for i := range b { // the halves belong together, so no byte can be another
			damaged := bytes.Clone(b)
			damaged[i] ^= 1
			if k, err := cose.ParsePrivateKey(damaged); err == nil && !k.Public().Equal(key.Public()) {
				t.Errorf("%s, byte %d changed: another key", kind, i)
			}
		}
		public, err := cose.COSEKey{Key: key.Public()}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cose.ParsePrivateKey(public); !errors.Is(err, cose.ErrKey) || cose.HoldsPrivateKey(public) {
			t.Errorf("%s: a public key is taken for a private one: %v", kind, err)
		}
	}
	if _, err := (cose.PrivateKey{}).COSEKey(nil, 0); !errors.Is(err, cose.ErrKey) {
		t.Errorf("no key: %v", err)
	}
}
