package encrypt

import (
	"bytes"
	"crypto/ecdh"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Info is encryption-info.
type Info struct {
	Content    Content
	IV         []byte
	Recipients []Wrapped
}

// Wrapped is the content key, wrapped for one recipient.
type Wrapped struct {
	Exchange  Exchange
	KID       []byte          // nil: the recipient isn't named
	Ephemeral *ecdh.PublicKey // of ECDHESA128KW
	Key       []byte
}

// The wire forms (RFC 9052 section 5.1; RFC 9053 section 6.4.1). Raw members are read and written apart.
type (
	message struct {
		_           struct{} `cbor:",toarray"`
		Protected   cbor.ByteString
		Unprotected contentHeader
		Ciphertext  cbor.RawMessage // null: the ciphertext is elsewhere
		Recipients  []recipient
	}
	contentHeader struct {
		Alg int64           `cbor:"1,keyasint,omitempty"`
		IV  cbor.ByteString `cbor:"5,keyasint,omitempty"`
	}
	recipient struct {
		_           struct{} `cbor:",toarray"`
		Protected   cbor.ByteString
		Unprotected recipientHeader
		Key         cbor.ByteString
	}
	recipientHeader struct {
		Alg       int64           `cbor:"1,keyasint,omitempty"`
		KID       cbor.ByteString `cbor:"4,keyasint,omitempty"`
		Ephemeral *coseKey        `cbor:"-1,keyasint,omitempty"`
	}
	coseKey struct {
		Kty int64           `cbor:"1,keyasint"`
		Crv int64           `cbor:"-1,keyasint"`
		X   cbor.ByteString `cbor:"-2,keyasint"`
		Y   cbor.ByteString `cbor:"-3,keyasint"`
	}
)

const (
	tagEncrypt = "\xd8\x60" // CBOR tag 96
	null       = "\xf6"
	ktyEC2     = 2
	crvP256    = 1
	coordinate = 32 // bytes

	protectedGCM  = "\xa1\x01\x01"     // {1: A128GCM}
	protectedECDH = "\xa1\x01\x38\x1c" // {1: ECDHESA128KW}
)

// The two modes are constants; a mistake in their options is returned by whoever uses them.
var (
	decoding, errDecoding = cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxNestedLevels: 6, MaxArrayElements: maxRecipients, MaxMapPairs: 16,
	}.DecMode()
	encoding, errEncoding = cbor.CoreDetEncOptions().EncMode()
)

// Parse reads encryption-info. Only the deterministic encoding of what this package itself writes is taken: what is read
// is written again and must be the same bytes. The error wraps ErrMalformed or ErrUnsupported.
func Parse(b []byte) (Info, error) {
	i, err := parse(b)
	if err != nil {
		return Info{}, fmt.Errorf("parse encryption-info: %w", err)
	}
	again, err := i.Marshal()
	if err != nil {
		return Info{}, fmt.Errorf("parse encryption-info: %w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, b) {
		return Info{}, fmt.Errorf("parse encryption-info: not in the one encoding that is allowed: %w", ErrMalformed)
	}
	return i, nil
}

func parse(b []byte) (Info, error) {
	if errDecoding != nil {
		return Info{}, errDecoding
	}
	body, tagged := bytes.CutPrefix(b, []byte(tagEncrypt))
	if len(b) > MaxInfo || !tagged {
		return Info{}, fmt.Errorf("%d bytes, want at most %d with tag 96: %w", len(b), MaxInfo, ErrMalformed)
	}
	var m message
	if err := decoding.Unmarshal(body, &m); err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	i := Info{IV: []byte(m.Unprotected.IV)}
	switch {
	case m.Protected == protectedGCM:
		i.Content = A128GCM
	case m.Protected == "" && m.Unprotected.Alg == int64(A128CTR):
		i.Content = A128CTR
	default:
		return Info{}, fmt.Errorf("content header %x with algorithm %d, want A128GCM protected or A128CTR unprotected: %w",
			string(m.Protected), m.Unprotected.Alg, ErrUnsupported)
	}
	for _, r := range m.Recipients {
		w, err := r.wrapped()
		if err != nil {
			return Info{}, err
		}
		i.Recipients = append(i.Recipients, w)
	}
	return i, nil
}

func (r recipient) wrapped() (Wrapped, error) {
	w := Wrapped{Key: []byte(r.Key)}
	if r.Unprotected.KID != "" {
		w.KID = []byte(r.Unprotected.KID)
	}
	switch k := r.Unprotected.Ephemeral; {
	case r.Protected == "" && r.Unprotected.Alg == int64(A128KW) && k == nil:
		w.Exchange = A128KW
	case r.Protected == protectedECDH && k != nil:
		point, err := ecdh.P256().NewPublicKey([]byte("\x04" + string(k.X) + string(k.Y)))
		if err != nil || k.Kty != ktyEC2 || k.Crv != crvP256 {
			return Wrapped{}, fmt.Errorf("ephemeral key is not a point of P-256: %w", ErrMalformed)
		}
		w.Exchange, w.Ephemeral = ECDHESA128KW, point
	default:
		return Wrapped{}, fmt.Errorf("recipient header %x with algorithm %d, want A128KW or ECDH-ES+A128KW: %w",
			string(r.Protected), r.Unprotected.Alg, ErrUnsupported)
	}
	return w, nil
}

// Marshal writes i in deterministic encoding, tag 96 included.
func (i Info) Marshal() ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	m := message{Unprotected: contentHeader{IV: cbor.ByteString(i.IV)}, Ciphertext: []byte(null)}
	switch i.Content {
	case A128GCM:
		m.Protected = protectedGCM
	case A128CTR:
		m.Unprotected.Alg = int64(A128CTR) // suit-firmware-encryption: nothing is protected where nothing authenticates it
	}
	for _, w := range i.Recipients {
		m.Recipients = append(m.Recipients, w.recipient())
	}
	b, err := encoding.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write encryption-info: %w", err)
	}
	if b = append([]byte(tagEncrypt), b...); len(b) > MaxInfo {
		return nil, fmt.Errorf("write encryption-info: %d bytes, at most %d: %w", len(b), MaxInfo, ErrMalformed)
	}
	return b, nil
}

func (i Info) check() error {
	if errEncoding != nil {
		return errEncoding
	}
	switch {
	case i.Content != A128GCM && i.Content != A128CTR:
		return fmt.Errorf("write encryption-info: %s: %w", i.Content, ErrUnsupported)
	case len(i.IV) != i.Content.ivSize():
		return fmt.Errorf("write encryption-info: initialization vector of %d bytes, want %d: %w", len(i.IV), i.Content.ivSize(), ErrMalformed)
	case len(i.Recipients) == 0 || len(i.Recipients) > maxRecipients:
		return fmt.Errorf("write encryption-info: %d recipients, want 1 to %d: %w", len(i.Recipients), maxRecipients, ErrMalformed)
	}
	for _, w := range i.Recipients {
		if len(w.Key) != keySize+wrapBlock || len(w.KID) > maxKID || (w.Ephemeral == nil) != (w.Exchange == A128KW) {
			return fmt.Errorf("write encryption-info: recipient with %s, a wrapped key of %d bytes and a name of %d: %w",
				w.Exchange, len(w.Key), len(w.KID), ErrMalformed)
		}
	}
	return nil
}

func (w Wrapped) recipient() recipient {
	r := recipient{Unprotected: recipientHeader{KID: cbor.ByteString(w.KID)}, Key: cbor.ByteString(w.Key)}
	if w.Exchange == A128KW {
		r.Unprotected.Alg = int64(A128KW) // RFC 9053 section 6.2.1: the protected header is empty
		return r
	}
	point := w.Ephemeral.Bytes()[1:]
	r.Protected = protectedECDH
	r.Unprotected.Ephemeral = &coseKey{ktyEC2, crvP256, cbor.ByteString(point[:coordinate]), cbor.ByteString(point[coordinate:])}
	return r
}
