package firmware

import (
	"fmt"
	"math"

	"fleetbridge/firmware/encrypt"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// checkPlan checks what a plan says beyond its shape.
func checkPlan(p suit.Plan) error {
	for _, c := range contents(p) {
		if c.Size == 0 || c.Size > math.MaxInt64 {
			return fmt.Errorf("image or payload of size %d: %w", c.Size, ErrUnsupported)
		}
	}
	for _, t := range p.Tries {
		if t.Encryption != nil {
			if err := checkEncryption(t.Encryption, int64(t.Payload.Size), int64(p.Image.Size)); err != nil {
				return err
			}
		}
		if t.Integrated() { // it is in the envelope: suit has compared it
			continue
		}
		if err := checkFetchURI(t.URI, t.Payload.Digest); err != nil {
			return err
		}
	}
	return nil
}

// contents is all that p names by digest and size.
func contents(p suit.Plan) []suit.Content {
	list := []suit.Content{p.Image}
	for _, t := range p.Tries {
		list = append(list, t.Payload)
		if t.Delta() {
			list = append(list, t.Precursor)
		}
	}
	return list
}

func fetchesOf(p suit.Plan) []Fetch {
	var list []Fetch
	for _, t := range p.Tries {
		if t.Integrated() {
			continue
		}
		f := Fetch{Role: RoleImage, Digest: t.Payload.Digest, Size: int64(t.Payload.Size), URI: t.URI, Precursor: t.Precursor.Digest}
		switch {
		case t.Delta():
			f.Role = RoleDelta
		case t.Encryption != nil:
			f.Role = RoleCiphertext
		}
		list = append(list, f)
	}
	return list
}

// checkEncryption checks what can be told of a ciphertext without a key: that its encryption-info is one that devices of
// ours read, and that it is as long as the image under that algorithm.
func checkEncryption(info []byte, size, image int64) error {
	i, err := encrypt.Parse(info)
	if err != nil {
		return err
	}
	if size-i.Content.Overhead() != image {
		return fmt.Errorf("ciphertext of %d bytes, %s makes %d of an image of %d: %w", size, i.Content, image+i.Content.Overhead(),
			image, ErrUnsupported)
	}
	return nil
}

// checkFetchURI also wants that a reference of ours names the very bytes that the fetch is about.
func checkFetchURI(uri string, payload ident.Digest) error {
	if err := CheckURI(uri); err != nil {
		return err
	}
	if d, ok := PayloadOf(uri); ok && d != payload {
		return fmt.Errorf("URI names payload %s, the manifest fetches %s: %w", d, payload, ErrDigestMismatch)
	}
	return nil
}
