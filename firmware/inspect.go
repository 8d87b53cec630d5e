package firmware

import (
	"fmt"

	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// Inspection says who signed an envelope, for a person who holds the public keys. It is no admission: an envelope of any
// content passes that is, whole, what a key signed. Servers and devices use Verify.
type Inspection struct {
	Digest  ident.Digest  // of the manifest, checked
	Severed []suit.Member // members beside the manifest, checked against its digests
	Blocks  []BlockInspection
}

// BlockInspection is one signature block, and what each key has to do with it.
type BlockInspection struct {
	cose.Block
	Unreadable error   // the block is not COSE; nothing else is set then
	Verdicts   []error // by key, in the order given; nil where it verified
}

// Inspect checks the digests of an envelope and every block with every key. The error is about the envelope, and wraps
// ErrMalformed, ErrUnsupported or ErrDigestMismatch; what is wrong with a block is in the block.
func Inspect(envelope []byte, keys []cose.PublicKey) (Inspection, error) {
	parts, err := suit.Split(envelope)
	if err != nil {
		return Inspection{}, fmt.Errorf("inspect manifest: %w", classify(err))
	}
	in := Inspection{Digest: parts.Digest}
	if in.Severed, err = parts.CheckDigests(); err != nil {
		return Inspection{}, fmt.Errorf("inspect manifest: %w", classify(err))
	}
	for _, b := range parts.Blocks {
		var block BlockInspection
		if block.Block, block.Unreadable = cose.ReadBlock(b); block.Unreadable == nil {
			for _, k := range keys {
				block.Verdicts = append(block.Verdicts, block.Verify(parts.Signed(), k))
			}
		}
		in.Blocks = append(in.Blocks, block)
	}
	return in, nil
}

// Verified reports whether some key verified the block.
func (b BlockInspection) Verified() bool {
	for _, err := range b.Verdicts {
		if err == nil {
			return true
		}
	}
	return false
}

// Verified reports whether some key verified some block.
func (i Inspection) Verified() bool {
	for _, b := range i.Blocks {
		if b.Verified() {
			return true
		}
	}
	return false
}
