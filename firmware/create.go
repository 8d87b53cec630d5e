package firmware

import (
	"errors"
	"fmt"
	"io"

	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// Create writes the unsigned envelope of a manifest. Equal specs give equal bytes.
func Create(s Spec) ([]byte, error) {
	s = s.withDefaults()
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("create manifest: %w", classify(err))
	}
	b, err := suit.Build(s.Sequence, s.plan(), s.Integrated, suit.Text{Description: s.Description, Version: s.Version,
		VendorDomain: s.VendorDomain, ModelInfo: s.ModelInfo})
	if err != nil {
		return nil, fmt.Errorf("create manifest: %w", classify(err))
	}
	return b, nil
}

// Sign returns envelope with one more signature block, by key under the name id. It signs what it has itself checked:
// the manifest's digest, recomputed. With a nil rand the result is a function of the arguments.
func Sign(envelope []byte, key cose.PrivateKey, alg cose.Alg, id ident.Key, rand io.Reader) ([]byte, error) {
	p, err := suit.Split(envelope)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	if _, err := p.Decode(); err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	block, err := cose.Sign1(p.Signed(), key, alg, []byte(id.String()), rand)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	signed, err := suit.AddBlock(envelope, block)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	return signed, nil
}

// classify puts this package's class of error in front of the codecs'.
func classify(err error) error {
	switch {
	case errors.Is(err, suit.ErrDigest):
		return fmt.Errorf("%w: %w", ErrDigestMismatch, err)
	case errors.Is(err, suit.ErrUnknown):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case errors.Is(err, suit.ErrSevered):
		return fmt.Errorf("%w: %w", ErrSevered, err)
	case errors.Is(err, suit.ErrUnsupported), errors.Is(err, encrypt.ErrUnsupported):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, suit.ErrMalformed), errors.Is(err, cose.ErrMalformed), errors.Is(err, encrypt.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return err
}
