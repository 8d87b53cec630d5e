package cose

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrEncrypted is wrapped where a private key is encrypted and no passphrase was given, ErrPassphrase where it was not
// the right one.
var (
	ErrEncrypted  = errors.New("private key is encrypted")
	ErrPassphrase = errors.New("wrong passphrase")
)

const (
	encryptedBlock = "ENCRYPTED PRIVATE KEY"
	iterations     = 600_000    // of PBKDF2 with SHA-256 in what we write
	maxIterations  = 10_000_000 // in what we read: some seconds
	saltSize       = 16
	aes256KeySize  = 32
)

// The object identifiers of RFC 8018 (PKCS #5) that are read; the first cipher and PRF are what is written.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	ciphers   = []struct {
		id      asn1.ObjectIdentifier
		keySize int
	}{
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, aes256KeySize}, // AES-256-CBC
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, 16},             // AES-128-CBC
	}
	prfs = []struct {
		id   asn1.ObjectIdentifier
		hash func() hash.Hash
	}{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, sha256.New},  // hmacWithSHA256
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}, sha512.New}, // hmacWithSHA512
	}
)

// encryptedKey is EncryptedPrivateKeyInfo (RFC 5958 section 3).
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// pbes2 is PBES2-params (RFC 8018 appendix A.4).
type pbes2 struct{ KDF, Cipher pkix.AlgorithmIdentifier }

// pbkdf2Params is PBKDF2-params (RFC 8018 appendix A.2).
type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeySize    int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// EncryptedPEM returns the key as a PKCS#8 PEM block that passphrase opens: PBES2 with PBKDF2 (HMAC-SHA-256, 600,000
// iterations) and AES-256-CBC, which OpenSSL reads. Salt and initialization vector are drawn from rand.
func (k PrivateKey) EncryptedPEM(passphrase string, rand io.Reader) ([]byte, error) {
	plain, err := k.pkcs8()
	if err != nil {
		return nil, err
	}
	if passphrase == "" {
		return nil, fmt.Errorf("encrypt private key: the passphrase is empty: %w", ErrPassphrase)
	}
	random := make([]byte, saltSize+aes.BlockSize)
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, fmt.Errorf("encrypt private key: %w", err)
	}
	salt, iv := random[:saltSize], random[saltSize:]
	key, err := pbkdf2.Key(sha256.New, passphrase, salt, iterations, aes256KeySize)
	if err != nil {
		return nil, fmt.Errorf("encrypt private key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encrypt private key: %w", err)
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize // RFC 5652 section 6.3
	data := append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	der, err := marshalEncrypted(salt, iv, data)
	if err != nil {
		return nil, fmt.Errorf("encrypt private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: encryptedBlock, Bytes: der}), nil
}

func marshalEncrypted(salt, iv, data []byte) ([]byte, error) {
	kdf, err := asn1.Marshal(pbkdf2Params{Salt: salt, Iterations: iterations,
		PRF: pkix.AlgorithmIdentifier{Algorithm: prfs[0].id, Parameters: asn1.NullRawValue}})
	if err != nil {
		return nil, err
	}
	vector, err := asn1.Marshal(iv)
	if err != nil {
		return nil, err
	}
	params, err := asn1.Marshal(pbes2{
		KDF:    pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: asn1.RawValue{FullBytes: kdf}},
		Cipher: pkix.AlgorithmIdentifier{Algorithm: ciphers[0].id, Parameters: asn1.RawValue{FullBytes: vector}},
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(encryptedKey{pkix.AlgorithmIdentifier{Algorithm: oidPBES2, Parameters: asn1.RawValue{FullBytes: params}}, data})
}

// DecryptPrivateKey parses a PKCS#8 PEM block ("ENCRYPTED PRIVATE KEY") with its passphrase. It reads PBES2 with PBKDF2
// over HMAC-SHA-256 or -512 and AES-CBC, and no more than 10 million iterations. The error wraps ErrKey, or
// ErrPassphrase. The form authenticates nothing: damage looks like a wrong passphrase, or makes another key that fits no
// trust anchor.
func DecryptPrivateKey(b []byte, passphrase string) (PrivateKey, error) {
	if len(b) > maxKey {
		return PrivateKey{}, fmt.Errorf("decrypt private key: %d bytes, at most %d: %w", len(b), maxKey, ErrKey)
	}
	der, err := pemBytes(b, encryptedBlock)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("decrypt private key: %w", err)
	}
	var e encryptedKey
	if err := exactly(der, &e); err != nil {
		return PrivateKey{}, fmt.Errorf("decrypt private key: %w", err)
	}
	plain, err := e.decrypt(passphrase)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("decrypt private key: %w", err)
	}
	k, err := parsePKCS8(plain)
	if errors.Is(err, errNotPKCS8) {
		return PrivateKey{}, fmt.Errorf("decrypt private key: %w", ErrPassphrase)
	}
	return k, err
}

func (e encryptedKey) decrypt(passphrase string) ([]byte, error) {
	if !e.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("encrypted by %v, want PBES2: %w", e.Algorithm.Algorithm, ErrKey)
	}
	var scheme pbes2
	if err := exactly(e.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, err
	}
	keySize, iv := 0, []byte(nil)
	for _, c := range ciphers {
		if c.id.Equal(scheme.Cipher.Algorithm) {
			keySize = c.keySize
		}
	}
	if keySize == 0 {
		return nil, fmt.Errorf("cipher %v, want AES-256-CBC: %w", scheme.Cipher.Algorithm, ErrKey)
	}
	if err := exactly(scheme.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	if len(iv) != aes.BlockSize || len(e.Data) == 0 || len(e.Data)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("initialization vector of %d bytes and data of %d: %w", len(iv), len(e.Data), ErrKey)
	}
	key, err := deriveKey(scheme.KDF, passphrase, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(e.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, e.Data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, ErrPassphrase
	}
	return plain[:len(plain)-pad], nil
}

func deriveKey(kdf pkix.AlgorithmIdentifier, passphrase string, size int) ([]byte, error) {
	if !kdf.Algorithm.Equal(oidPBKDF2) {
		return nil, fmt.Errorf("key derivation %v, want PBKDF2 (`openssl pkcs8 -topk8 -iter 600000` writes it): %w", kdf.Algorithm, ErrKey)
	}
	var p pbkdf2Params
	if err := exactly(kdf.Parameters.FullBytes, &p); err != nil {
		return nil, err
	}
	if p.Iterations < 1 || p.Iterations > maxIterations || p.KeySize != 0 && p.KeySize != size || len(p.Salt) < 8 {
		return nil, fmt.Errorf("PBKDF2 with %d iterations, salt of %d bytes, key of %d: %w", p.Iterations, len(p.Salt), p.KeySize, ErrKey)
	}
	for _, prf := range prfs {
		if prf.id.Equal(p.PRF.Algorithm) {
			return pbkdf2.Key(prf.hash, passphrase, p.Salt, p.Iterations, size)
		}
	}
	return nil, fmt.Errorf("PBKDF2 over %v, want HMAC-SHA-256: %w", p.PRF.Algorithm, ErrKey)
}

// exactly parses DER that must be used up.
func exactly(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes left over: %w", len(rest), ErrKey)
	}
	return nil
}
