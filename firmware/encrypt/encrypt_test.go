package encrypt

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKeyWrapVectors are those of RFC 3394 section 4.
func TestKeyWrapVectors(t *testing.T) {
	const data = "00112233445566778899AABBCCDDEEFF0001020304050607" + "08090A0B0C0D0E0F"
	const kek = "000102030405060708090A0B0C0D0E0F" + "1011121314151617" + "18191A1B1C1D1E1F"
	for _, v := range []struct {
		kek, data int // bytes
		want      string
	}{
		{16, 16, "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{24, 16, "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"},
		{32, 16, "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"},
		{24, 24, "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2"},
		{32, 24, "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1"},
		{32, 32, "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
	} {
		k, d := unhex(t, kek)[:v.kek], unhex(t, data)[:v.data]
		wrapped, err := wrapKey(k, d)
		if err != nil || !bytes.Equal(wrapped, unhex(t, v.want)) {
			t.Errorf("%d under %d: %x, %v", v.data, v.kek, wrapped, err)
		}
		if got, err := unwrapKey(k, wrapped); err != nil || !bytes.Equal(got, d) {
			t.Errorf("%d under %d: unwrapped %x, %v", v.data, v.kek, got, err)
		}
		for i := range wrapped {
			wrapped[i] ^= 0x10
			if _, err := unwrapKey(k, wrapped); !errors.Is(err, ErrCorrupt) {
				t.Errorf("byte %d changed: %v", i, err)
			}
			wrapped[i] ^= 0x10
		}
	}
	for _, c := range [][2]int{{15, 16}, {16, 8}, {16, 17}, {0, 16}} {
		if _, err := wrapKey(make([]byte, c[0]), make([]byte, c[1])); !errors.Is(err, ErrKey) {
			t.Errorf("%v: %v", c, err)
		}
		if _, err := unwrapKey(make([]byte, c[0]), make([]byte, c[1]+8)); !errors.Is(err, ErrKey) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// draftKeys are the receivers of the vectors of suit-firmware-encryption.
func draftKeys(t testing.TB) []Key {
	t.Helper()
	shared, err := DeviceSharedKey([]byte("kid-1"), bytes.Repeat([]byte{'a'}, 16))
	if err != nil {
		t.Fatal(err)
	}
	priv, err := ecdh.P256().NewPrivateKey(unhex(t, "60FE6DD6D85D5740A5349B6F91267EEAC5BA81B8CB53EE249E4B4EB102C476B3"))
	if err != nil {
		t.Fatal(err)
	}
	if x := hex.EncodeToString(priv.PublicKey().Bytes()[1:33]); x != "5886cd61dd875862e5aaa820e7a15274c968a9bc96048ddcace32f50c3651ba3" {
		t.Fatalf("public key's x is %s", x)
	}
	own, err := DevicePrivateKey([]byte("kid-2"), priv)
	if err != nil {
		t.Fatal(err)
	}
	return []Key{shared, own}
}

const (
	draftPlain = "This is a real firmware image."
	draftCTR   = "2BB8DB522AE978246CC775C3B0241BD4B0333FFDD2DB70C7EE7A4966E3B7"
	draftGCM   = "758C4B7BBAE2C4C1D462423E0F0DC3164FFA7B85BB94D4BD6D7ED26AB32FEB063385D4D3465927EC82CB5E198A59"
)

var draftVectors = map[string]struct {
	info, ciphertext string
	exchange         Exchange
	content          Content
}{
	"A128KW, A128CTR": {"D8608440A20139FFFD0550DAE613B2E0DC55F4322BE38BDBA9DC68F6818340A2012204456B69642D31581" +
		"8CE34035CE5C2E2666E46D4C131FC561DD190A6D26CFA1990", draftCTR, A128KW, A128CTR},
	"A128KW, A128GCM": {"D8608443A10101A1054CF14AAB9D81D51F7AD943FE87F6818340A2012204456B69642D31581875603FFC95" +
		"18D794713C8CA8A115A7FB32565A6D59534D62", draftGCM, A128KW, A128GCM},
	"ECDH-ES, A128CTR": {"D8608440A20139FFFD0550DAE613B2E0DC55F4322BE38BDBA9DC68F6818344A101381CA120A40102200121" +
		"5820EE0718F6B019C29CC611C18CEDE2214066DDCEDC2F0DBEF873CB224C715C1174225820279F2A88E4AB9E2ED30C0FCB69515B31" +
		"B5D36725BFDB9AE02032ED4D5AB52CB85818E28B4502E4F5151884A995405579006E9465C3E94E3E0808", draftCTR, ECDHESA128KW, A128CTR},
	"ECDH-ES, A128GCM": {"D8608443A10101A1054CF14AAB9D81D51F7AD943FE87F6818344A101381CA120A4010220012158207302" +
		"4F415AA51529A66CCEFD88F3F62A734492FF45F6AD37FD2888E73EAF19DA2258204005B48A6FD091AA6ABFE3CFBEEDE88B347E521D" +
		"43405FDBD7D2CFF0EBC21B265818A06B8E6550F308712B1DF044B21B7D11D9B22792F1DE0997", draftGCM, ECDHESA128KW, A128GCM},
}

func TestDraftVectors(t *testing.T) {
	for name, v := range draftVectors {
		info := unhex(t, v.info)
		i, err := Parse(info)
		if err != nil || len(i.Recipients) != 1 || i.Recipients[0].Exchange != v.exchange || i.Content != v.content {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
		var plain bytes.Buffer
		if err := Decrypt(&plain, bytes.NewReader(unhex(t, v.ciphertext)), info, draftKeys(t), int64(len(draftPlain))); err != nil || plain.String() != draftPlain {
			t.Errorf("%s: %q, %v", name, &plain, err)
		}
	}
}

func random(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func recipients(t testing.TB) []Recipient {
	t.Helper()
	keys := draftKeys(t)
	shared, err := SharedKey(keys[0].kid, keys[0].kek)
	if err != nil {
		t.Fatal(err)
	}
	public, err := PublicKey(nil, keys[1].priv.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return []Recipient{shared, public}
}

func TestRoundTrip(t *testing.T) {
	for _, content := range []Content{A128GCM, A128CTR} {
		for _, n := range []int{0, 1, 15, 16, 17, 1 << 16} {
			plain := bytes.Repeat([]byte{7}, n)
			var out bytes.Buffer
			info, err := Encrypt(&out, bytes.NewReader(plain), content, recipients(t), random(1))
			if err != nil {
				t.Fatal(err)
			}
			if got := int64(out.Len()); got != int64(n)+content.Overhead() {
				t.Errorf("%s: %d bytes became %d", content, n, got)
			}
			for i, k := range draftKeys(t) {
				var got bytes.Buffer
				if err := Decrypt(&got, bytes.NewReader(out.Bytes()), info, []Key{k}, int64(n)); err != nil || !bytes.Equal(got.Bytes(), plain) {
					t.Errorf("%s, %d bytes, key %d: %d bytes, %v", content, n, i, got.Len(), err)
				}
			}
		}
	}
}

// TestFreshContentKey: another plaintext is encrypted under another key, and the same randomness gives the same bytes.
func TestFreshContentKey(t *testing.T) {
	source := random(1)
	var infos, outs [3][]byte
	for i, r := range []io.Reader{source, source, random(1)} {
		var out bytes.Buffer
		info, err := Encrypt(&out, strings.NewReader("plain"), A128CTR, recipients(t), r)
		if err != nil {
			t.Fatal(err)
		}
		infos[i], outs[i] = info, out.Bytes()
	}
	if bytes.Equal(infos[0], infos[1]) || bytes.Equal(outs[0], outs[1]) {
		t.Error("a content key was used twice")
	}
	if !bytes.Equal(infos[0], infos[2]) || !bytes.Equal(outs[0], outs[2]) {
		t.Error("not a function of its arguments")
	}
}

func TestDecryptRefuses(t *testing.T) {
	for _, content := range []Content{A128GCM, A128CTR} {
		plain := []byte("the plaintext of a payload")
		var out bytes.Buffer
		info, err := Encrypt(&out, bytes.NewReader(plain), content, recipients(t), random(1))
		if err != nil {
			t.Fatal(err)
		}
		good, size, keys := out.Bytes(), int64(len(plain)), draftKeys(t)
		foreign, err := DeviceSharedKey([]byte("kid-1"), make([]byte, 16))
		if err != nil {
			t.Fatal(err)
		}
		stranger, err := DeviceSharedKey([]byte("kid-9"), bytes.Repeat([]byte{'a'}, 16))
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			ciphertext []byte
			keys       []Key
			size       int64
			want       error
		}{
			"cut short":         {good[:len(good)-1], keys, size, ErrCorrupt},
			"one byte more":     {append(slices.Clone(good), 0), keys, size, ErrCorrupt},
			"nothing":           {nil, keys, size, ErrCorrupt},
			"a smaller image":   {good, keys, size - 1, ErrCorrupt},
			"no key":            {good, nil, size, ErrRecipient},
			"another's key":     {good, []Key{stranger}, size, ErrRecipient},
			"a key of the name": {good, []Key{foreign}, size, ErrCorrupt},
		} {
			var got bytes.Buffer
			err := Decrypt(&got, bytes.NewReader(c.ciphertext), info, c.keys, c.size)
			if !errors.Is(err, c.want) || int64(got.Len()) > c.size || content == A128GCM && got.Len() > 0 {
				t.Errorf("%s, %s: %d bytes, %v, want %v", content, name, got.Len(), err, c.want)
			}
		}
		changed := slices.Clone(good)
		changed[3] ^= 1
		var got bytes.Buffer
		if err := Decrypt(&got, bytes.NewReader(changed), info, keys, size); content == A128GCM && (!errors.Is(err, ErrCorrupt) || got.Len() > 0) {
			t.Errorf("a changed byte: %d bytes, %v", got.Len(), err)
		}
	}
}

type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) { e.read += len(b); return len(b), nil }

// TestEndlessCiphertext: what is read and written is bounded by the size that the manifest announces.
func TestEndlessCiphertext(t *testing.T) {
	for name, v := range draftVectors {
		var plain bytes.Buffer
		source := &endless{}
		err := Decrypt(&plain, source, unhex(t, v.info), draftKeys(t), 1000)
		if !errors.Is(err, ErrCorrupt) || plain.Len() > 1000 || source.read > 1<<12 {
			t.Errorf("%s: %d bytes read, %d written, %v", name, source.read, plain.Len(), err)
		}
	}
}

func TestEncryptRefuses(t *testing.T) {
	zeros := io.LimitReader(&endless{}, MaxWhole+1)
	if _, err := Encrypt(io.Discard, zeros, A128GCM, recipients(t), random(1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes under A128GCM: %v", MaxWhole+1, err)
	}
	if _, err := Encrypt(io.Discard, strings.NewReader("x"), A128GCM, nil, random(1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := Encrypt(io.Discard, strings.NewReader("x"), A128GCM, slices.Repeat(recipients(t), 9), random(1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("18 recipients: %v", err)
	}
	if _, err := Encrypt(io.Discard, strings.NewReader("x"), 24, recipients(t), random(1)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("ChaCha20: %v", err)
	}
	if _, err := Encrypt(io.Discard, strings.NewReader("x"), A128GCM, recipients(t), strings.NewReader("short")); err == nil {
		t.Error("without randomness")
	}
	if _, err := SharedKey(nil, make([]byte, 32)); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	if _, err := PublicKey(nil, nil); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	other, err := ecdh.X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DevicePrivateKey(nil, other); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
}

// TestParseRefuses: no bit of encryption-info means nothing, and only one encoding of it is taken.
func TestParseRefuses(t *testing.T) {
	good := func() []byte { return unhex(t, draftVectors["A128KW, A128GCM"].info) }
	for name, spoil := range map[string]func([]byte) []byte{
		"no tag":              func(b []byte) []byte { return b[2:] },
		"Encrypt0":            func(b []byte) []byte { b[1] = 16; return b },
		"empty":               func([]byte) []byte { return nil },
		"trailing byte":       func(b []byte) []byte { return append(b, 0) },
		"ciphertext inside":   func(b []byte) []byte { return bytes.Replace(b, []byte{0xf6, 0x81}, []byte{0x40, 0x81}, 1) },
		"undefined":           func(b []byte) []byte { return bytes.Replace(b, []byte{0xf6, 0x81}, []byte{0xf7, 0x81}, 1) },
		"no recipients":       func(b []byte) []byte { return append(b[:bytes.Index(b, []byte{0xf6, 0x81})], 0xf6, 0x80) },
		"A256GCM":             func(b []byte) []byte { return bytes.Replace(b, []byte{0xa1, 1, 1}, []byte{0xa1, 1, 3}, 1) },
		"protected is not it": func(b []byte) []byte { return bytes.Replace(b, []byte{0xa1, 1, 1}, []byte{0xa1, 2, 1}, 1) },
		"A256KW":              func(b []byte) []byte { return bytes.Replace(b, []byte{1, 0x22, 4}, []byte{1, 0x24, 4}, 1) },
		"short IV":            func(b []byte) []byte { return bytes.Replace(b, []byte{5, 0x4c, 0xf1}, []byte{5, 0x4b}, 1) },
		"long form":           func(b []byte) []byte { return bytes.Replace(b, []byte{1, 0x22}, []byte{1, 0x38, 2}, 1) },
		"null name":           func(b []byte) []byte { return bytes.Replace(b, []byte("\x45kid-1"), []byte{0xf6}, 1) },
		"short key":           func(b []byte) []byte { return bytes.Replace(b, []byte{0x58, 24, 0x75}, []byte{0x57}, 1) },
		"too large":           func(b []byte) []byte { return append(b, make([]byte, MaxInfo)...) },
		"unknown header":      func(b []byte) []byte { return bytes.Replace(b, []byte{0xa1, 5}, []byte{0xa2, 2, 1, 5}, 1) },
	} {
		b := spoil(good())
		if bytes.Equal(b, good()) {
			t.Fatalf("%s: not spoiled", name)
		}
		if i, err := Parse(b); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) || i.IV != nil {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	ec := unhex(t, draftVectors["ECDH-ES, A128CTR"].info)
	ec[bytes.Index(ec, []byte{0x21, 0x58, 0x20})+5] ^= 1
	if _, err := Parse(ec); !errors.Is(err, ErrMalformed) {
		t.Errorf("a point that is not on the curve: %v", err)
	}
}

// TestKeyIsNotPrinted: nothing that prints a value prints a secret.
func TestKeyIsNotPrinted(t *testing.T) {
	for _, k := range draftKeys(t) {
		if got := fmt.Sprintf("%v %+v %#v %x %s", k, k, k, k, k); strings.Trim(got, "redact ") != "" {
			t.Error(got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range draftVectors {
		f.Add(unhex(f, v.info))
	}
	info, err := Encrypt(io.Discard, strings.NewReader("x"), A128GCM, recipients(f), random(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(info)
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Error(err)
			}
			return
		}
		if again, err := i.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("written again: %x, %v", again, err)
		}
		if err := Decrypt(io.Discard, strings.NewReader("ciphertext"), b, draftKeys(t), 10); err == nil && i.Content == A128GCM {
			t.Error("decrypts what nobody encrypted")
		}
	})
}

// TestOthersCiphertext: the content key that another implementation wrapped for the drafts' receiver makes, out of the
// image, the very ciphertext that it signed the digest of.
func TestOthersCiphertext(t *testing.T) {
	i, err := Parse(unhex(t, "d8608443a10101a1054cac779d54d84abda7d87b88d9f6818344a101381ca204456b69642d3220a40102200121"+
		"5820caf38e7e8faaac3da75cf1208f4838c84ff11c5e990bb055c39c546ad3e5b62c225820780f1a1c9f925250fdd8de3f25ddc2b67842ed"+
		"2437a83c9262f019c3620f4f1658184ca4b1d51c54466bbf7ed97d467603484d1dcdbec0834b41"))
	if err != nil {
		t.Fatal(err)
	}
	cek, err := i.contentKey(draftKeys(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if err := i.seal(sum, bytes.NewReader(bytes.Repeat([]byte("firmware v1.2.3 "), 4096)), cek); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != "1956cf423d6c53c6d58dafc7471fe1141e0f2ca8f4570d099da42a3c92c45159" {
		t.Errorf("ciphertext %s", got)
	}
}
