package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"fleetbridge/firmware/encrypt"
	"fleetbridge/ident"
)

// encrypted is what `payload encrypt` prints: all that a manifest says of a ciphertext.
type encrypted struct {
	File       string       `json:"file"`
	Info       string       `json:"info"` // file with the encryption-info
	Payload    ident.Digest `json:"payload"`
	Size       int64        `json:"size"`
	Image      ident.Digest `json:"image"`
	ImageSize  int64        `json:"image_size"`
	Alg        string       `json:"alg"`
	Recipients int          `json:"recipients"`
}

// infoSuffix is added to a ciphertext's file name to name that of its encryption-info.
const infoSuffix = ".cose"

// encryptFlags are the flags of `payload encrypt`.
type encryptFlags struct {
	recipients, keks    []string
	alg, out, plaintext string
}

func payloadEncrypt(a *app) *cobra.Command {
	var f encryptFlags
	c := &cobra.Command{Use: "encrypt FILE --recipient [ID=]PUBLIC_KEY_FILE | --kek [ID=]FILE", Args: cobra.ExactArgs(1),
		Short: "Encrypt a payload for devices, offline",
		Long: "Writes the ciphertext, which is the payload to push, and beside it the encryption-info (" + infoSuffix + ") that its\n" +
			"manifest carries. The content key is drawn anew each time. The server has no part in it: it sees neither.\n" +
			fmt.Sprintf("A128GCM takes at most %s. A128CTR takes any length and lets a device decrypt as the bytes come; the\n", bytesText(encrypt.MaxWhole)) +
			"digest of the image in the manifest is what protects it."}
	c.Flags().StringArrayVar(&f.recipients, "recipient", nil, "P-256 public key of the devices, may be repeated (ECDH-ES+A128KW)")
	c.Flags().StringArrayVar(&f.keks, "kek", nil, "key of 16 bytes, or 32 hex digits, that author and devices share, may be repeated (A128KW)")
	c.Flags().StringVar(&f.alg, "alg", encrypt.A128GCM.String(), "A128GCM or A128CTR")
	c.Flags().StringVar(&f.out, "out", "", "file to write (default: the payload's name with .enc)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		f.plaintext = args[0]
		if f.out == "" {
			f.out = f.plaintext + ".enc"
		}
		e, err := a.encryptPayload(f)
		if err != nil {
			return err
		}
		return a.printOne(e, row{"file", e.File}, row{"payload", e.Payload.String()}, row{"size", bytesText(e.Size)}, row{"info", e.Info},
			row{"algorithm", e.Alg}, row{"recipients", fmt.Sprint(e.Recipients)}, row{"image", e.Image.String() + ", " + bytesText(e.ImageSize)})
	}
	return c
}

func (a *app) encryptPayload(f encryptFlags) (encrypted, error) {
	content, err := encrypt.ParseContent(f.alg)
	if err != nil {
		return encrypted{}, usagef("--alg: %w", err)
	}
	to, err := a.readRecipients(f)
	if err != nil {
		return encrypted{}, err
	}
	e := encrypted{File: f.out, Info: f.out + infoSuffix, Alg: content.String(), Recipients: len(to)}
	if e.Image, e.ImageSize, err = digestFile(f.plaintext); err != nil {
		return encrypted{}, err
	}
	if e.ImageSize == 0 {
		return encrypted{}, usagef("%s is empty", f.plaintext)
	}
	plain, err := os.Open(f.plaintext)
	if err != nil {
		return encrypted{}, fmt.Errorf("read payload: %w", err)
	}
	defer plain.Close()
	info, err := encryptInto(f.out, plain, content, to)
	if err != nil {
		return encrypted{}, err
	}
	if err := writeNew(e.Info, info, 0o644); err != nil {
		return encrypted{}, errors.Join(err, os.Remove(f.out))
	}
	e.Payload, e.Size, err = digestFile(f.out)
	return e, err
}

// encryptInto writes a ciphertext into a file that must not be there yet, whole or not at all.
func encryptInto(path string, plain io.Reader, content encrypt.Content, to []encrypt.Recipient) ([]byte, error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, &failure{code: exitFailure, err: fmt.Errorf("create file: %w", err), hint: "nothing is overwritten: name another file, or move this one away"}
	}
	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}
	info, err := encrypt.Encrypt(out, plain, content, to, rand.Reader)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return info, nil
}

func (a *app) readRecipients(f encryptFlags) ([]encrypt.Recipient, error) {
	var to []encrypt.Recipient
	for _, s := range f.recipients {
		kid, file := namedFile(s)
		key, err := a.readPublicKey(file, "")
		if err != nil {
			return nil, err
		}
		pub, err := key.ECDH()
		if err != nil {
			return nil, usagef("--recipient %s: %w", s, err)
		}
		r, err := encrypt.PublicKey(kid, pub)
		if err != nil {
			return nil, usagef("--recipient %s: %w", s, err)
		}
		to = append(to, r)
	}
	for _, s := range f.keks {
		kid, file := namedFile(s)
		kek, err := readSharedKey(file)
		if err != nil {
			return nil, err
		}
		r, err := encrypt.SharedKey(kid, kek)
		if err != nil {
			return nil, usagef("--kek %s: %w", s, err)
		}
		to = append(to, r)
	}
	if len(to) == 0 {
		return nil, usagef("--recipient or --kek is needed: nobody else could decrypt it")
	}
	return to, nil
}

// namedFile takes "[ID=]FILE" apart; without an ID the key is not named in what is written.
func namedFile(s string) (kid []byte, file string) {
	if id, file, ok := strings.Cut(s, "="); ok {
		return []byte(id), file
	}
	return nil, s
}

// readSharedKey reads a key of 16 bytes, raw or in hex.
func readSharedKey(file string) ([]byte, error) {
	const size, most = 16, 256
	b, err := readSecret(file, most, func([]byte) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("read shared key: %w", err)
	}
	if len(b) == size {
		return b, nil
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(b)))
	if err != nil || len(key) != size {
		return nil, usagef("%s: want 16 bytes, or 32 hex digits", file)
	}
	return key, nil
}
