package firmware

import (
	"bytes"
	"fmt"
	"slices"
)

// Supersede says what becomes of a stored manifest when the same manifest, verified under the anchors of now, comes
// again. The same bytes: only the keys are what they are now. Other bytes, signed by keys of which the stored envelope
// has none: they take its place, if no key and no text is lost. Other bytes without a further key (an ECDSA signature
// has many forms): nothing changes. The error says what the new envelope lacks.
func Supersede(old, m Manifest) (Manifest, error) {
	if bytes.Equal(old.Envelope, m.Envelope) {
		old.Keys = m.Keys
		return old, nil
	}
	for _, s := range old.Keys {
		if !slices.Contains(m.Keys, s) {
			return Manifest{}, fmt.Errorf("manifest %s is here with a signature of key %s (%s), which this envelope lacks or which is not trusted any more", old.Digest, s.Key, s.Alg)
		}
	}
	if old.Version != "" && m.Version == "" {
		return Manifest{}, fmt.Errorf("manifest %s is here with its text, which this envelope lacks", old.Digest)
	}
	if len(m.Keys) == len(old.Keys) {
		return old, nil
	}
	old.Envelope, old.Keys, old.Version = m.Envelope, m.Keys, m.Version
	return old, nil
}
