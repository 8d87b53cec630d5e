package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

// signFlags are the flags of `manifest sign`.
type signFlags struct {
	keys, ids, algs     []string
	passphraseFile      string
	from, signer        string
	public, out, target string
}

func manifestSign(a *app) *cobra.Command {
	var s signFlags
	c := &cobra.Command{Use: "sign FILE --key PRIVATE_KEY_FILE --id ID [--out FILE]",
		Short: "Add signature blocks to a manifest, with keys in files or by an external program", Args: cobra.ExactArgs(1)}
	f := c.Flags()
	f.StringArrayVar(&s.keys, "key", nil, "private key; may be repeated, each with its --id")
	f.StringArrayVar(&s.ids, "id", nil, "key identifier: the trust anchor's name on the server (needed)")
	f.StringSliceVar(&s.algs, "alg", nil, "ES256, ESP256, EdDSA or Ed25519; several make several blocks (default: ESP256 or Ed25519)")
	f.StringVar(&s.from, "from", "", "file that `manifest create --from` read: its algs are those that are not given here")
	f.StringVar(&s.passphraseFile, "passphrase-file", "", "file with the passphrase of encrypted keys (else "+envPassphrase+" or the terminal is asked)")
	f.StringVar(&s.signer, "signer", "", "program with arguments that signs in place of --key: bytes on standard input, or in a file that {} stands for; signature on standard output")
	f.StringVar(&s.public, "public", "", "public key that checks what --signer returns")
	f.StringVar(&s.out, "out", "", "file to write (default: the manifest itself)")
	c.RunE = func(c *cobra.Command, args []string) error {
		s.target = args[0]
		if s.out == "" {
			s.out = s.target
		}
		ctx, cancel := a.untilInterrupted(c.Context())
		defer cancel()
		n, err := a.signManifest(ctx, s)
		if err != nil {
			return orInterrupted(ctx, err)
		}
		a.say("wrote %s: %d signature added", s.out, n)
		return nil
	}
	return c
}

// block is a signature to be made: by whom, under which name, how.
type block struct {
	id   ident.Key
	alg  cose.Alg
	sign func(envelope []byte) ([]byte, error)
}

// signManifest adds every block or, on any error, none.
func (a *app) signManifest(ctx context.Context, s signFlags) (int, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	envelope, err := readEnvelope(s.target)
	if err != nil {
		return 0, err
	}
	algs, err := s.algorithms(a)
	if err != nil {
		return 0, err
	}
	blocks, err := a.blocks(ctx, s, algs)
	if err != nil {
		return 0, err
	}
	for _, b := range blocks {
		if envelope, err = b.sign(envelope); err != nil {
			return 0, notSigned(s.target, b.id, err)
		}
	}
	return len(blocks), replaceFile(s.out, envelope)
}

// notSigned is an error about a block, with what to do about it.
func notSigned(file string, id ident.Key, err error) error {
	err = fmt.Errorf("sign %s by %s: %w", file, id, err)
	switch {
	case errors.Is(err, firmware.ErrSigned):
		return &failure{code: exitConflict, err: err, hint: "sign with another key or algorithm, or start again from the unsigned manifest"}
	case errors.Is(err, firmware.ErrUntrusted):
		return &failure{code: exitVerify, err: err, hint: "nothing is written; --public must be the public half of the key that signs, and --alg what it signs with"}
	}
	return err
}

func (s signFlags) check() error {
	switch {
	case s.signer == "" && len(s.keys) == 0:
		return usagef("--key and --id are needed: the private key, and the trust anchor's name on the server; or --signer with --public and --id")
	case s.signer != "" && len(s.keys) > 0:
		return usagef("--key or --signer: not both; sign twice")
	case s.signer != "" && s.public == "":
		return usagef("--public is needed with --signer: nothing unchecked goes into a manifest")
	case s.signer == "" && s.public != "":
		return usagef("--public goes with --signer; a --key is its own check")
	case len(s.ids) != max(1, len(s.keys)):
		return usagef("--key and --id are needed in pairs: %d keys, %d identifiers", max(1, len(s.keys)), len(s.ids))
	}
	return nil
}

// algorithms are those of --alg, else those of --from; none stand for each key's default.
func (s signFlags) algorithms(a *app) ([]cose.Alg, error) {
	names := s.algs
	if len(names) == 0 && s.from != "" {
		var m manifestSpec
		if _, err := readSpec(s.from, a.stdin, &m); err != nil {
			return nil, err
		}
		names = m.Algs
	}
	return parseAlgs(names)
}

func parseAlgs(names []string) ([]cose.Alg, error) {
	var algs []cose.Alg
	for _, name := range names {
		alg, err := cose.ParseAlg(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(algs, alg) {
			return nil, usagef("algorithm %s is named twice", alg)
		}
		algs = append(algs, alg)
	}
	return algs, nil
}

// blocks pairs keys with the algorithms that they can do. Each algorithm must have a key.
func (a *app) blocks(ctx context.Context, s signFlags, algs []cose.Alg) ([]block, error) {
	var out []block
	for i, name := range s.ids {
		id, err := ident.ParseKey(name)
		if err != nil {
			return nil, err
		}
		var public cose.PublicKey
		var private cose.PrivateKey
		file := s.public
		if s.signer != "" {
			public, err = a.readPublicKey(file, "")
		} else {
			file = s.keys[i]
			private, err = a.readPrivateKey(file, s.passphraseFile)
			public = private.Public()
		}
		if err != nil {
			return nil, err
		}
		use := algsOf(public, algs)
		if len(use) == 0 {
			return nil, usagef("%s is a key of kind %s, and none of the algorithms %v is for it", file, public.Kind(), algs)
		}
		for _, alg := range use {
			sign := func(envelope []byte) ([]byte, error) {
				if err := firmware.Signable(envelope, alg, id); err != nil {
					return nil, err
				}
				return firmware.Sign(envelope, private, alg, id, rand.Reader)
			}
			if s.signer != "" {
				sign = func(envelope []byte) ([]byte, error) {
					return a.signOutside(ctx, s.signer, envelope, public, alg, id)
				}
			}
			out = append(out, block{id, alg, sign})
		}
	}
	for _, alg := range algs {
		if !slices.ContainsFunc(out, func(b block) bool { return b.alg == alg }) {
			return nil, usagef("no key was given that signs with %s: it wants a key of kind %s", alg, alg.Kind())
		}
	}
	return out, nil
}

func algsOf(key cose.PublicKey, algs []cose.Alg) []cose.Alg {
	if len(algs) == 0 {
		return []cose.Alg{cose.DefaultAlg(key)}
	}
	return slices.DeleteFunc(slices.Clone(algs), func(alg cose.Alg) bool { return alg.Kind() != key.Kind() })
}

// outsideFlags name the block of the two-step way: manifest tbs, an HSM, manifest attach.
type outsideFlags struct{ id, alg string }

func (o *outsideFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.id, "id", "", "key identifier: the trust anchor's name on the server (needed)")
	c.Flags().StringVar(&o.alg, "alg", "", "ES256, ESP256, EdDSA or Ed25519 (needed)")
}

func (o *outsideFlags) parse() (ident.Key, cose.Alg, error) {
	if o.id == "" || o.alg == "" {
		return ident.Key{}, 0, usagef("--id and --alg are needed: they are part of what is signed")
	}
	id, err := ident.ParseKey(o.id)
	if err != nil {
		return id, 0, err
	}
	alg, err := cose.ParseAlg(o.alg)
	return id, alg, err
}

func manifestTBS(a *app) *cobra.Command {
	var o outsideFlags
	var out string
	c := &cobra.Command{Use: "tbs FILE --id ID --alg ALG --out FILE",
		Short: "Write the bytes that a signature block signs, for a signer that has no network", Args: cobra.ExactArgs(1)}
	o.flags(c)
	c.Flags().StringVar(&out, "out", "", "file to write (needed)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		id, alg, err := o.parse()
		if err != nil {
			return err
		}
		if out == "" {
			return usagef("--out is needed: the file for the bytes to be signed")
		}
		envelope, err := readEnvelope(args[0])
		if err != nil {
			return err
		}
		b, err := firmware.ToBeSigned(envelope, alg, id)
		if err != nil {
			return notSigned(args[0], id, err)
		}
		if err := writeNew(out, b, 0o644); err != nil {
			return err
		}
		how := "as they are"
		if alg.Kind() == cose.P256 {
			how = "through SHA-256"
		}
		a.say("wrote %s: sign its %d bytes %s, then `fleetbridge manifest attach %s --signature FILE --public KEY %s`",
			out, len(b), how, args[0], strings.Join([]string{"--id", o.id, "--alg", o.alg}, " "))
		return nil
	}
	return c
}

func manifestAttach(a *app) *cobra.Command {
	var o outsideFlags
	var signature, public, out string
	c := &cobra.Command{Use: "attach FILE --signature FILE --public KEY_FILE --id ID --alg ALG [--out FILE]",
		Short: "Add the signature that was made over the bytes of `manifest tbs`, once it has been checked", Args: cobra.ExactArgs(1)}
	o.flags(c)
	c.Flags().StringVar(&signature, "signature", "", "file with the signature: 64 bytes, or DER of ECDSA (needed)")
	c.Flags().StringVar(&public, "public", "", "public key that checks it (needed)")
	c.Flags().StringVar(&out, "out", "", "file to write (default: the manifest itself)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		id, alg, err := o.parse()
		if err != nil {
			return err
		}
		if signature == "" || public == "" {
			return usagef("--signature and --public are needed: nothing unchecked goes into a manifest")
		}
		key, err := a.readPublicKey(public, "")
		if err != nil {
			return err
		}
		sig, err := readBounded(signature, maxSignature)
		if err != nil {
			return fmt.Errorf("read signature: %w", err)
		}
		envelope, err := readEnvelope(args[0])
		if err != nil {
			return err
		}
		signed, err := firmware.Attach(envelope, sig, key, alg, id)
		if err != nil {
			return notSigned(args[0], id, err)
		}
		if out == "" {
			out = args[0]
		}
		if err := replaceFile(out, signed); err != nil {
			return err
		}
		a.say("wrote %s: 1 signature added", out)
		return nil
	}
	return c
}
