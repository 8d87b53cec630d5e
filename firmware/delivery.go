package firmware

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
)

// Choose is the algorithm by which a device checks a manifest behind which anchors stand: the first of algs, which the
// device said in its own order, that one of them has. ok is false if there is none.
func Choose(algs []int64, anchors []Anchor) (alg cose.Alg, ok bool) {
	for _, want := range algs {
		if slices.ContainsFunc(anchors, func(a Anchor) bool { return int64(a.Alg) == want }) {
			return cose.Alg(want), true
		}
	}
	return 0, false
}

// ForDevice is an envelope with just the blocks of one algorithm that are by one of the anchors: some processors refuse
// an envelope with any block that they can't check. Nothing else changes, and the result is a function of the arguments.
// An envelope of which no block is left is an error.
func ForDevice(envelope []byte, alg cose.Alg, anchors []Anchor) ([]byte, error) {
	kept := 0
	b, err := suit.KeepBlocks(envelope, func(block []byte) bool {
		h, err := cose.Parse(block)
		keep := err == nil && h.Alg == alg && slices.ContainsFunc(anchors, func(a Anchor) bool {
			id := a.ID.String()
			return a.Alg == alg && (h.KID == nil || id == string(h.KID) || id == hex.EncodeToString(h.KID))
		})
		if keep {
			kept++
		}
		return keep
	})
	if err == nil && kept == 0 {
		err = errors.New("none of its blocks is left")
	}
	if err != nil {
		return nil, fmt.Errorf("strip manifest to %s: %w", alg, err)
	}
	return b, nil
}
