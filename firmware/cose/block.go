package cose

import (
	"errors"
	"fmt"

	gocose "github.com/veraison/go-cose"
)

// Block is what a COSE message says of itself, whether or not it is in our profile. Nothing of it has been verified.
type Block struct {
	Type    string // COSE_Sign1, COSE_Sign, COSE_Mac0 or COSE_Mac, by its tag
	Alg     Alg    // 0 if the protected header of a COSE_Sign1 names none
	KID     []byte // nil if absent
	Signed  bool   // the key identifier is in the protected header
	Outside error  // why Parse refuses it; nil for a message of our profile

	message *gocose.Sign1Message // nil unless it is a COSE_Sign1
}

// tagged are the registered tags of messages that authenticate (RFC 9052 section 2), as they are encoded.
var tagged = []struct{ head, name string }{
	{"\xd2", "COSE_Sign1"}, {"\xd8\x62", "COSE_Sign"}, {"\xd1", "COSE_Mac0"}, {"\xd8\x61", "COSE_Mac"},
}

// ReadBlock reads a tagged message as RFC 9052 allows it, for people who ask what it is. Servers and devices use Parse.
// The error wraps ErrMalformed.
func ReadBlock(msg []byte) (Block, error) {
	if len(msg) > MaxMessage {
		return Block{}, fmt.Errorf("read block: %d bytes, at most %d: %w", len(msg), MaxMessage, ErrMalformed)
	}
	var b Block
	for _, t := range tagged {
		if len(msg) > len(t.head) && string(msg[:len(t.head)]) == t.head {
			b.Type = t.name
		}
	}
	if b.Type == "" {
		return Block{}, fmt.Errorf("read block: no tag of COSE_Sign1, COSE_Sign, COSE_Mac0 or COSE_Mac in front: %w", ErrMalformed)
	}
	_, b.Outside = Parse(msg)
	if b.Type != "COSE_Sign1" {
		return b, nil
	}
	var m gocose.Sign1Message
	if err := m.UnmarshalCBOR(msg); err != nil {
		return Block{}, fmt.Errorf("read block: %w: %w", ErrMalformed, err)
	}
	b.message = &m
	if a, err := m.Headers.Protected.Algorithm(); err == nil {
		b.Alg = Alg(a)
	}
	if b.KID, b.Signed = m.Headers.Protected[gocose.HeaderLabelKeyID].([]byte); !b.Signed {
		b.KID, _ = m.Headers.Unprotected[gocose.HeaderLabelKeyID].([]byte)
	}
	return b, nil
}

// Verify verifies the block over payload with key, under the algorithm that the block names. Unlike Verify1 it takes an
// unprotected header, which nobody has signed, and any encoding. The error says why key did not make the block, and wraps
// ErrSignature.
func (b Block) Verify(payload []byte, key PublicKey) error {
	why := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrSignature, fmt.Errorf(format, args...))
	}
	switch {
	case b.message == nil:
		return why("%s isn't checked here, only COSE_Sign1 is", b.Type)
	case b.message.Payload != nil:
		return why("the payload is attached; SUIT wants it detached")
	case b.Alg.Kind() == "":
		return why("%s is not an algorithm of ours", b.Alg)
	case b.Alg.Kind() != key.Kind():
		return why("%s wants a key of kind %s, this one is %s", b.Alg, b.Alg.Kind(), key.Kind())
	case len(b.message.Signature) != signatureSize:
		return why("it has %d bytes, want %d", len(b.message.Signature), signatureSize)
	case b.message.Headers.Protected[gocose.HeaderLabelCritical] != nil:
		return why("the block has a critical header parameter that isn't known here")
	}
	m := *b.message
	m.Payload = payload
	if err := m.Verify(nil, verifier{key, b.Alg}); err != nil {
		if errors.Is(err, gocose.ErrVerification) {
			return fmt.Errorf("%w: another key made it, or it signs something else", ErrSignature)
		}
		return why("%w", err)
	}
	return nil
}
