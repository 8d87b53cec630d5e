package encrypt

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// AES Key Wrap, RFC 3394. The standard library has none.

const wrapBlock = 8

// wrapIV is the initial value of section 2.2.3.1.
var wrapIV = [wrapBlock]byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6}

// wrapKey wraps key, of a multiple of 8 bytes and at least 16, under kek.
func wrapKey(kek, key []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil || len(key) < 2*wrapBlock || len(key)%wrapBlock != 0 {
		return nil, fmt.Errorf("wrap a key of %d bytes under one of %d: %w", len(key), len(kek), ErrKey)
	}
	out := append(wrapIV[:], key...)
	n := len(key) / wrapBlock
	var b [2 * wrapBlock]byte
	copy(b[:], wrapIV[:])
	for step := 1; step <= 6*n; step++ {
		r := out[wrapBlock*(1+(step-1)%n):][:wrapBlock]
		copy(b[wrapBlock:], r)
		block.Encrypt(b[:], b[:])
		count(b[:wrapBlock], step)
		copy(r, b[wrapBlock:])
	}
	copy(out, b[:wrapBlock])
	return out, nil
}

// unwrapKey undoes wrapKey. The error wraps ErrCorrupt if kek is not what wrapped.
func unwrapKey(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil || len(wrapped) < 3*wrapBlock || len(wrapped)%wrapBlock != 0 {
		return nil, fmt.Errorf("unwrap a key of %d bytes under one of %d: %w", len(wrapped), len(kek), ErrKey)
	}
	out := append([]byte(nil), wrapped[wrapBlock:]...)
	n := len(out) / wrapBlock
	var b [2 * wrapBlock]byte
	copy(b[:], wrapped[:wrapBlock])
	for step := 6 * n; step > 0; step-- {
		r := out[wrapBlock*((step-1)%n):][:wrapBlock]
		count(b[:wrapBlock], step)
		copy(b[wrapBlock:], r)
		block.Decrypt(b[:], b[:])
		copy(r, b[wrapBlock:])
	}
	if subtle.ConstantTimeCompare(b[:wrapBlock], wrapIV[:]) != 1 {
		return nil, fmt.Errorf("unwrap key: %w", ErrCorrupt)
	}
	return out, nil
}

// count adds a step's number to the register, as an exclusive or.
func count(register []byte, step int) {
	binary.BigEndian.PutUint64(register, binary.BigEndian.Uint64(register)^uint64(step))
}
