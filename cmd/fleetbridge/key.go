package main

import (
	"crypto/rand"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

func keyCommand(a *app) *cobra.Command {
	return group("key", "Signing keys, offline: no server sees a private one", keyGenerate(a), keyPublic(a), keyConvert(a))
}

// The forms of a key file.
const (
	formPEM  = "pem"
	formCOSE = "cose"
)

func checkForm(format string) error {
	if format != formPEM && format != formCOSE {
		return usagef("--format %q: pem (PKCS#8 or SPKI) or cose (COSE_Key)", format)
	}
	return nil
}

func keyGenerate(a *app) *cobra.Command {
	var kind string
	var w keyWriter
	c := &cobra.Command{Use: "generate FILE", Short: "Make a private signing key, readable by its owner only", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&kind, "type", "p256", "p256 or ed25519")
	w.flags(c)
	c.Flags().StringVar(&w.passphraseFile, "passphrase-file", "", "file with the passphrase; it encrypts the key (else "+envPassphrase+" or the terminal is asked)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		kinds := map[string]cose.Kind{"p256": cose.P256, "ed25519": cose.Curve25519}
		k, ok := kinds[kind]
		if !ok {
			return usagef("--type %q: p256 or ed25519", kind)
		}
		w.encrypt = w.encrypt || w.passphraseFile != ""
		key, err := cose.GeneratePrivateKey(k, rand.Reader)
		if err != nil {
			return err
		}
		b, err := w.private(a, args[0], key)
		if err != nil {
			return err
		}
		if err := writeNew(args[0], b, 0o600); err != nil {
			return err
		}
		a.say("wrote %s; keep it offline, `fleetbridge key public %s` prints the half to share", args[0], args[0])
		return nil
	}
	return c
}

// keyWriter says in which form a key is written.
type keyWriter struct {
	format, id, alg string
	encrypt         bool
	passphraseFile  string
	passphrase      string // known already
}

func (w *keyWriter) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.format, "format", formPEM, "pem (PKCS#8 or SPKI) or cose (COSE_Key)")
	c.Flags().BoolVar(&w.encrypt, "encrypt", false, "encrypt a private key with a passphrase")
	w.names(c)
}

func (w *keyWriter) names(c *cobra.Command) {
	c.Flags().StringVar(&w.id, "id", "", "key identifier inside a COSE_Key")
	c.Flags().StringVar(&w.alg, "alg", "", "algorithm inside a COSE_Key")
}

// coseNames are the key identifier and the algorithm that a COSE_Key carries.
func (w *keyWriter) coseNames() (kid []byte, alg cose.Alg, err error) {
	if w.format == formPEM && (w.id != "" || w.alg != "") {
		return nil, 0, usagef("--id and --alg are members of a COSE_Key: with --format cose")
	}
	if w.id != "" {
		id, err := ident.ParseKey(w.id)
		if err != nil {
			return nil, 0, err
		}
		kid = []byte(id.String())
	}
	if w.alg != "" {
		alg, err = cose.ParseAlg(w.alg)
	}
	return kid, alg, err
}

// private writes a private key, asking for a passphrase where one is wanted.
func (w *keyWriter) private(a *app, path string, key cose.PrivateKey) ([]byte, error) {
	if err := checkForm(w.format); err != nil {
		return nil, err
	}
	kid, alg, err := w.coseNames()
	switch {
	case err != nil:
		return nil, err
	case w.format == formCOSE && w.encrypt:
		return nil, usagef("a COSE_Key is not encrypted here: --format pem is")
	case w.format == formCOSE:
		return key.COSEKey(kid, alg)
	case !w.encrypt:
		return key.PEM()
	}
	passphrase := w.passphrase
	if passphrase == "" || w.passphraseFile != "" {
		if passphrase, err = a.newPassphrase("for "+path, w.passphraseFile); err != nil {
			return nil, err
		}
	}
	return key.EncryptedPEM(passphrase, rand.Reader)
}

// public writes a public key.
func (w *keyWriter) public(key cose.PublicKey) ([]byte, error) {
	if err := checkForm(w.format); err != nil {
		return nil, err
	}
	kid, alg, err := w.coseNames()
	if err != nil {
		return nil, err
	}
	if w.format == formPEM {
		return key.PEM(), nil
	}
	return cose.COSEKey{Key: key, KID: kid, Alg: alg}.Marshal()
}

func keyPublic(a *app) *cobra.Command {
	var w keyWriter
	var out, passphraseFile string
	c := &cobra.Command{Use: "public FILE", Short: "Print the public half of a key", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&w.format, "format", formPEM, "pem (SPKI) or cose (COSE_Key)")
	w.names(c)
	c.Flags().StringVar(&out, "out", "", "file to write (default: standard output)")
	c.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file with the passphrase of an encrypted key")
	c.RunE = func(_ *cobra.Command, args []string) error {
		key, err := a.readPublicKey(args[0], passphraseFile)
		if err != nil {
			return err
		}
		b, err := w.public(key)
		if err != nil {
			return err
		}
		if out != "" {
			return writeNew(out, b, 0o644)
		}
		if w.format == formCOSE && terminal(a.stdout) {
			return usagef("a COSE_Key is not text: --out FILE writes it to a file")
		}
		if _, err := a.stdout.Write(b); err != nil {
			return fmt.Errorf("write key: %w", err)
		}
		return nil
	}
	return c
}

func keyConvert(a *app) *cobra.Command {
	var w keyWriter
	var plain bool
	var passphraseFile string
	c := &cobra.Command{Use: "convert IN OUT", Short: "Write a key in another form: PEM or COSE_Key, encrypted or not", Args: cobra.ExactArgs(2)}
	w.flags(c)
	c.Flags().BoolVar(&plain, "plain", false, "write an encrypted private key without encryption")
	c.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file with the passphrase of IN (else "+envPassphrase+" or the terminal is asked)")
	c.Flags().StringVar(&w.passphraseFile, "new-passphrase-file", "", "file with the passphrase for OUT (default: as that of IN)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if plain && (w.encrypt || w.passphraseFile != "") {
			return usagef("--plain, or --encrypt with a passphrase: not both")
		}
		b, mode, err := a.convertKey(args[0], args[1], w, plain, passphraseFile)
		if err != nil {
			return err
		}
		if err := writeNew(args[1], b, mode); err != nil {
			return err
		}
		a.say("wrote %s", args[1])
		return nil
	}
	return c
}

// convertKey reads a key and writes it as w says. What was encrypted stays so, unless plain.
func (a *app) convertKey(in, out string, w keyWriter, plain bool, passphraseFile string) ([]byte, os.FileMode, error) {
	b, err := readSecret(in, maxKeyFile, cose.HoldsPrivateKey)
	if err != nil {
		return nil, 0, fmt.Errorf("read key: %w", err)
	}
	w.encrypt = w.encrypt || w.passphraseFile != ""
	if !cose.HoldsPrivateKey(b) {
		if w.encrypt || plain {
			return nil, 0, usagef("%s is a public key: there is nothing to encrypt", in)
		}
		key, err := cose.ParsePublicKey(b)
		if err != nil {
			return nil, 0, fmt.Errorf("read %s: %w", in, err)
		}
		b, err := w.public(key)
		return b, 0o644, err
	}
	key, passphrase, err := a.openPrivateKey(in, b, passphraseFile)
	if err != nil {
		return nil, 0, err
	}
	if passphrase != "" && !plain {
		w.encrypt, w.passphrase = true, passphrase
	}
	if w.encrypt && w.format == formCOSE {
		return nil, 0, usagef("a COSE_Key is not encrypted here: --plain writes it without encryption, --format pem keeps it")
	}
	b, err = w.private(a, out, key)
	return b, 0o600, err
}
