package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

const (
	formatDiagnostic = "diag"
	elided           = 256 // bytes of an integrated payload that are printed beside the outline
)

func manifestShow(a *app) *cobra.Command {
	return &cobra.Command{Use: "show FILE",
		Short: "Print every field of a manifest, and its diagnostic notation (alone, and whole, with -o diag); no signature is verified",
		Args:  cobra.ExactArgs(1), Annotations: map[string]string{formatAnnotation: formatDiagnostic},
		RunE: func(_ *cobra.Command, args []string) error {
			envelope, err := readEnvelope(args[0])
			if err != nil {
				return err
			}
			tree, err := suit.Describe(envelope)
			if err != nil {
				return &failure{code: exitVerify, err: fmt.Errorf("show %s: %w", args[0], err), hint: envelopeHint}
			}
			return a.printEnvelope(envelope, tree)
		}}
}

// envelopeView is what `manifest show -o json` prints.
type envelopeView struct {
	Size     int          `json:"size"`   // bytes
	Digest   ident.Digest `json:"digest"` // of the whole file; a manifest goes by its own, which its blocks sign
	Envelope *suit.Item   `json:"envelope"`
}

func (a *app) printEnvelope(envelope []byte, tree *suit.Item) error {
	switch a.output {
	case "table":
		return a.printText(tree.Outline() + "\nIn diagnostic notation (RFC 8949 section 8):\n\n" + strings.TrimRight(tree.Diagnostic(elided), "\n"))
	case formatDiagnostic:
		return a.printText(strings.TrimRight(tree.Diagnostic(0), "\n"))
	}
	return a.printJSON(envelopeView{len(envelope), ident.SumDigest(envelope), tree})
}
