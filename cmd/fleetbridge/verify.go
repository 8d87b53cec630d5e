package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// unnamed stands for a signer that a block does not name.
var unnamed, _ = ident.ParseKey("unnamed") // a constant that parses

func manifestVerify(a *app) *cobra.Command {
	var keys []string
	var payload string
	c := &cobra.Command{Use: "verify FILE --key PUBLIC_KEY_FILE", Short: "Verify a manifest, and its payload; exit 8 if it is not good", Args: cobra.ExactArgs(1)}
	c.Flags().StringArrayVar(&keys, "key", nil, "public key to trust, may be repeated (needed)")
	c.Flags().StringVar(&payload, "payload", "", "payload file to check as well")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(keys) == 0 {
			return usagef("--key is needed")
		}
		envelope, err := os.ReadFile(args[0])
		if err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		m, err := verifyWith(envelope, keys)
		if err != nil {
			return fmt.Errorf("verify %s: %w", args[0], err)
		}
		if payload != "" {
			digest, size, err := digestFile(payload)
			if err != nil {
				return err
			}
			if digest != m.Image || size != m.Size {
				return fmt.Errorf("%s is not the manifest's payload: %w", payload, firmware.ErrDigestMismatch)
			}
		}
		a.say("%s verified", a.mark("✔", true))
		return a.printManifest(viewOf(m))
	}
	return c
}

// verifyWith verifies an envelope with key files, one of which must have signed it, under whatever key identifier: the
// file that the user names is the trust anchor.
func verifyWith(envelope []byte, files []string) (firmware.Manifest, error) {
	parts, err := suit.Split(envelope)
	if err != nil {
		return firmware.Manifest{}, fmt.Errorf("%w: %w", firmware.ErrMalformed, err)
	}
	var good firmware.Manifest
	why := fmt.Errorf("no signature block of such a key: %w", firmware.ErrUntrusted)
	for _, file := range files {
		key, err := readPublicKey(file)
		if err != nil {
			return firmware.Manifest{}, err
		}
		for _, block := range parts.Blocks {
			anchor, ok := anchorFor(block, key)
			if !ok {
				continue
			}
			m, err := firmware.Verify(envelope, []firmware.Anchor{anchor}, time.Now())
			if err != nil {
				why = err
				continue
			}
			m.Keys = append(good.Keys, m.Keys...)
			good = m
		}
	}
	if good.Digest.IsZero() {
		return firmware.Manifest{}, why
	}
	return good, nil
}

// anchorFor is the trust anchor that a block would need, if key is of the block's kind.
func anchorFor(block []byte, key cose.PublicKey) (firmware.Anchor, bool) {
	h, err := cose.Parse(block)
	if err != nil || h.Alg.Kind() != key.Kind() {
		return firmware.Anchor{}, false
	}
	id, err := ident.ParseKey(string(h.KID))
	if err != nil {
		if id, err = ident.ParseKey(hex.EncodeToString(h.KID)); err != nil {
			id = unnamed
		}
	}
	a, err := firmware.NewAnchor(id, key, h.Alg, time.Now())
	return a, err == nil
}
