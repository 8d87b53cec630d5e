package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
)

// Encrypt writes the ciphertext of plain to w and returns its encryption-info. The content key and what else is random are
// drawn from rand afresh. A128CTR streams; A128GCM takes at most MaxWhole bytes (ErrTooLarge).
func Encrypt(w io.Writer, plain io.Reader, content Content, recipients []Recipient, rand io.Reader) ([]byte, error) {
	secret := make([]byte, keySize+content.ivSize())
	if _, err := io.ReadFull(rand, secret); err != nil {
		return nil, fmt.Errorf("encrypt: draw a content key: %w", err)
	}
	cek := secret[:keySize]
	i := Info{Content: content, IV: secret[keySize:]}
	for _, r := range recipients {
		wrapped, err := r.wrap(cek, rand)
		if err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		i.Recipients = append(i.Recipients, wrapped)
	}
	info, err := i.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if err := i.seal(w, plain, cek); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return info, nil
}

func (i Info) seal(w io.Writer, plain io.Reader, cek []byte) error {
	block, err := aes.NewCipher(cek)
	if err != nil {
		return err
	}
	if i.Content == A128CTR {
		_, err := io.Copy(w, &cipher.StreamReader{S: cipher.NewCTR(block, i.IV), R: plain})
		return err
	}
	b, err := readWhole(plain, MaxWhole)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	_, err = w.Write(gcm.Seal(b[:0], i.IV, b, []byte(aad)))
	return err
}

// aad is the Enc_structure of RFC 9052 section 5.3: ["Encrypt", <<{1: A128GCM}>>, h”].
const aad = "\x83\x67Encrypt\x43" + protectedGCM + "\x40"

// Decrypt writes to w the plaintext of exactly size bytes that ciphertext holds for one of keys. It never writes more, and
// under A128GCM nothing before the tag has been checked; what A128CTR writes means nothing before its digest is compared
// with the manifest's. The error wraps ErrMalformed, ErrUnsupported, ErrRecipient, ErrCorrupt or ErrTooLarge, or is w's or
// ciphertext's own.
func Decrypt(w io.Writer, ciphertext io.Reader, info []byte, keys []Key, size int64) error {
	i, err := Parse(info)
	if err != nil {
		return fmt.Errorf("decrypt: %w", err)
	}
	cek, err := i.contentKey(keys)
	if err != nil {
		return fmt.Errorf("decrypt: %w", err)
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return fmt.Errorf("decrypt: %w", err)
	}
	if i.Content == A128CTR {
		err = openCTR(w, ciphertext, cipher.NewCTR(block, i.IV), size)
	} else {
		err = i.openGCM(w, ciphertext, block, size)
	}
	if err != nil {
		return fmt.Errorf("decrypt: %w", err)
	}
	return nil
}

func openCTR(w io.Writer, ciphertext io.Reader, s cipher.Stream, size int64) error {
	n, err := io.Copy(w, &cipher.StreamReader{S: s, R: io.LimitReader(ciphertext, size)})
	if err != nil {
		return err
	}
	var more [1]byte
	if m, err := io.ReadFull(ciphertext, more[:]); n < size || m > 0 {
		return fmt.Errorf("ciphertext of another length than %d: %w", size, ErrCorrupt)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (i Info) openGCM(w io.Writer, ciphertext io.Reader, block cipher.Block, size int64) error {
	if size > MaxWhole {
		return fmt.Errorf("%d bytes, at most %d: %w", size, MaxWhole, ErrTooLarge)
	}
	b, err := readWhole(ciphertext, size+tagSize)
	if errors.Is(err, ErrTooLarge) || err == nil && int64(len(b)) < size+tagSize {
		return fmt.Errorf("ciphertext of another length than %d: %w", size+tagSize, ErrCorrupt)
	}
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	if b, err = gcm.Open(b[:0], i.IV, b, []byte(aad)); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	_, err = w.Write(b)
	return err
}

// readWhole reads all of r, at most limit bytes.
func readWhole(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("more than %d bytes: %w", limit, ErrTooLarge)
	}
	return b.Bytes(), nil
}
