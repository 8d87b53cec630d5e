package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func manifestVerify(a *app) *cobra.Command {
	var files []string
	var payload string
	c := &cobra.Command{Use: "verify FILE --key PUBLIC_KEY_FILE",
		Short: "Say which key signed a manifest, and whether a server would take it; exit 8 if no given key did", Args: cobra.ExactArgs(1)}
	c.Flags().StringArrayVar(&files, "key", nil, "public key to trust, may be repeated (needed)")
	c.Flags().StringVar(&payload, "payload", "", "payload file to check as well")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(files) == 0 {
			return usagef("--key is needed: the public key that you trust, such as `fleetbridge key public` prints")
		}
		envelope, err := readEnvelope(args[0])
		if err != nil {
			return err
		}
		v, err := a.verifyFile(envelope, files)
		if err != nil {
			return fmt.Errorf("verify %s: %w", args[0], err)
		}
		if payload != "" {
			if err := v.isPayload(envelope, payload); err != nil {
				return err
			}
		}
		a.say("%s verified", a.mark("✔", true))
		return a.printVerification(v)
	}
	return c
}

// readEnvelope reads a manifest file, of a bounded size.
func readEnvelope(path string) ([]byte, error) {
	b, err := readBounded(path, suit.MaxEnvelope)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return b, nil
}

// verification is what `manifest verify` prints. The members of a manifest that a server would take stand beside it.
type verification struct {
	Digest  ident.Digest `json:"manifest"`
	Severed []string     `json:"severed,omitempty"` // members beside the manifest whose digests match
	Blocks  []blockView  `json:"blocks"`
	Server  serverView   `json:"server"`
	*topics.ManifestView
}

// blockView is a signature block, and what each key file says to it.
type blockView struct {
	Block    int       `json:"block"`
	Type     string    `json:"type,omitempty"`
	Alg      string    `json:"alg,omitempty"`
	KID      string    `json:"kid,omitempty"`
	Verified []string  `json:"verified_by,omitempty"`
	Refused  []refusal `json:"not_verified_by,omitempty"`
}

type refusal struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

// serverView says whether a server that trusts the keys would take the manifest.
type serverView struct {
	Takes bool   `json:"takes"`
	Why   string `json:"why,omitempty"`
}

// verifyFile inspects an envelope with key files, one of which must have signed it, under whatever key identifier: the
// file that the user names is the trust anchor.
func (a *app) verifyFile(envelope []byte, files []string) (verification, error) {
	var keys []cose.PublicKey
	for _, file := range files {
		key, err := a.readPublicKey(file, "")
		if err != nil {
			return verification{}, err
		}
		keys = append(keys, key)
	}
	in, err := firmware.Inspect(envelope, keys)
	if err != nil {
		return verification{}, err
	}
	v := verification{Digest: in.Digest}
	for _, m := range in.Severed {
		v.Severed = append(v.Severed, m.String())
	}
	for i, b := range in.Blocks {
		v.Blocks = append(v.Blocks, viewBlock(i, b, files))
	}
	if !in.Verified() {
		return verification{}, untrusted(v.Blocks)
	}
	m, err := firmware.Verify(envelope, anchors(in, keys), time.Now())
	if err != nil {
		// The class of the error stands in front already.
		v.Server.Why = strings.TrimSuffix(strings.TrimPrefix(err.Error(), "verify manifest: "), ": "+firmware.ErrUnsupported.Error())
		return v, nil
	}
	view := viewOf(m)
	v.Server.Takes, v.ManifestView = true, &view
	return v, nil
}

func viewBlock(i int, b firmware.BlockInspection, files []string) blockView {
	v := blockView{Block: i, Type: b.Type, KID: kidText(b.KID)}
	if b.Unreadable != nil {
		v.Refused = []refusal{{Why: b.Unreadable.Error()}}
		return v
	}
	if b.Alg != 0 {
		v.Alg = b.Alg.String()
	}
	for k, err := range b.Verdicts {
		if err == nil {
			v.Verified = append(v.Verified, files[k])
		} else {
			v.Refused = append(v.Refused, refusal{files[k], err.Error()})
		}
	}
	return v
}

// kidText is a key identifier as a trust anchor would be named: as text if it may be one, else in hex.
func kidText(kid []byte) string {
	if id, err := ident.ParseKey(string(kid)); err == nil {
		return id.String()
	}
	return hex.EncodeToString(kid)
}

// untrusted is the error where no key verified any block, with every block's and every key's reason.
func untrusted(blocks []blockView) error {
	if len(blocks) == 0 {
		return fmt.Errorf("it has no signature block: %w", firmware.ErrUntrusted)
	}
	var lines strings.Builder
	for _, b := range blocks {
		fmt.Fprintf(&lines, "\n  block %d, %s:", b.Block, b.title())
		for _, r := range b.Refused {
			fmt.Fprintf(&lines, "\n    %s%s", suffix(r.Key, ": "), r.Why)
		}
	}
	return &failure{code: exitVerify, err: fmt.Errorf("%w: no key that was given made a signature%s", firmware.ErrUntrusted, lines.String()),
		hint: "give --key the public key that the author published, or ask the author to sign with it: `fleetbridge manifest sign`"}
}

func suffix(s, end string) string {
	if s == "" {
		return ""
	}
	return s + end
}

// title names a block: by whom, and how.
func (b blockView) title() string {
	var parts []string
	if b.Type != "" && b.Type != "COSE_Sign1" {
		parts = append(parts, b.Type)
	}
	if b.Alg != "" {
		parts = append(parts, b.Alg)
	}
	if b.KID != "" {
		return strings.Join(append(parts, "key identifier "+b.KID), ", ")
	}
	return strings.Join(append(parts, "no key identifier"), ", ")
}

// anchors are the trust anchors that a server would need: each key that verified a block, under the name that the block
// gives it.
func anchors(in firmware.Inspection, keys []cose.PublicKey) []firmware.Anchor {
	var out []firmware.Anchor
	for _, b := range in.Blocks {
		for k, err := range b.Verdicts {
			if err != nil {
				continue
			}
			id, err := ident.ParseKey(kidText(b.KID))
			if err != nil {
				id = unnamed
			}
			if anchor, err := firmware.NewAnchor(id, keys[k], b.Alg, time.Time{}); err == nil {
				out = append(out, anchor)
			}
		}
	}
	return out
}

// unnamed stands for a signer that a block does not name.
var unnamed, _ = ident.ParseKey("unnamed") // a constant that parses

func (a *app) printVerification(v verification) error {
	rows := []row{{"manifest", v.Digest.String()}, {"digests", "match: " + strings.Join(append([]string{"manifest"}, v.Severed...), ", ")}}
	for _, b := range v.Blocks {
		name := "block " + strconv.Itoa(b.Block)
		if len(b.Verified) > 0 {
			rows = append(rows, row{name, b.title() + ": verified by " + strings.Join(b.Verified, ", ")})
		} else {
			rows = append(rows, row{name, b.title() + ": not verified"})
		}
		for _, r := range b.Refused {
			rows = append(rows, row{name, suffix(r.Key, ": ") + r.Why})
		}
	}
	if m := v.ManifestView; m != nil {
		rows = append(rows, row{"server", "would take it, if it trusts the key under that name"})
		rows = append(rows, manifestRows(*m)[1:]...)
	} else {
		rows = append(rows, row{"server", "would refuse it: " + v.Server.Why})
	}
	return a.printOne(v, rows...)
}

// isPayload wants the file to be a payload that the manifest names by its digest.
func (v verification) isPayload(envelope []byte, file string) error {
	digest, size, err := digestFile(file)
	if err != nil {
		return err
	}
	e, err := suit.Decode(envelope)
	if err != nil {
		return &failure{code: exitVerify, err: fmt.Errorf("which payload the manifest wants can't be told: %w", err)}
	}
	if !slices.Contains(e.Manifest.ImageDigests(), digest) || v.ManifestView != nil && v.Payload == digest && v.Size != size {
		return fmt.Errorf("%s is not the manifest's payload: it has %s, %d bytes: %w", file, digest, size, firmware.ErrDigestMismatch)
	}
	return nil
}
