package topics

import (
	"github.com/google/uuid"

	"fleetbridge/ident"
)

// The bodies that devices send in numbers are read here without reflection, which costs a tenth. These readers know the CBOR
// that devices write: members of the contract, each once, in any order, with values in bounds. On anything else they
// give up, and the strict decoder, which is the contract, has the word: it accepts, or says what is wrong. FuzzDevice holds
// the one to the other; BenchmarkDecode shows what it buys.

// readCBOR reads b into f, a zero value. False means that the strict decoder has to decide, and f is unspecified.
func (f *Fetch) readCBOR(b []byte) bool {
	c := cursor{rest: b}
	for m := c.members(); m.next(&c); {
		switch m.key {
		case 1:
			f.Token = identifier(&c, ident.ParseToken)
		case 2:
			f.Digest = c.digest()
		case 3:
			f.Size = c.uint32()
		case 4:
			f.First = c.uint32()
		case 5:
			f.Count = c.uint32()
		case 6:
			b := c.str(majorBytes)
			f.Bitmap = append(make([]byte, 0, len(b)), b...) // b is the connection's buffer
		default:
			return false
		}
	}
	return c.done()
}

// readCBOR reads b into r, a zero value. False means that the strict decoder has to decide, and r is unspecified.
func (r *Report) readCBOR(b []byte) bool {
	c := cursor{rest: b}
	for m := c.members(); m.next(&c); {
		switch m.key {
		case 1:
			r.Seq = c.uint()
		case 2:
			r.Manifest = c.digest()
		case 3:
			r.State = known(knownWords, c.text())
		case 4:
			r.Reason = known(knownReasons, c.text())
		case 5:
			r.Detail = string(c.text())
		case 6:
			r.Progress = c.uint()
		case 7:
			r.Installed = c.installed()
		case 8:
			r.Boot = c.uint()
		case 9:
			r.Receipt = c.bool()
		case 10:
			r.Permit = c.bool()
		default:
			return false
		}
	}
	return c.done()
}

// readCBOR reads b into h, a zero value. False means that the strict decoder has to decide, and h is unspecified.
func (h *Hello) readCBOR(b []byte) bool {
	c := cursor{rest: b}
	for m := c.members(); m.next(&c); {
		switch m.key {
		case 1:
			h.Seq = c.uint()
		case 2:
			h.Vendor = c.uuid()
		case 3:
			h.Class = c.uuid()
		case 4:
			h.Installed = c.installed()
		case 5:
			h.Boot = c.uint()
		case 6:
			h.MaxChunk = c.uint32()
		case 7:
			h.Labels = c.labels()
		case 8:
			h.Algs = c.algs()
		default:
			return false
		}
	}
	return c.done()
}

func (c *cursor) installed() []Installed {
	list := make([]Installed, c.count(majorArray, MaxInstalled))
	for i := range list {
		in := &list[i]
		for m := c.members(); m.next(c); {
			switch m.key {
			case 1:
				in.Component = string(c.text())
			case 2:
				in.Digest = c.digest()
			case 3:
				in.Sequence = c.uint()
			case 4:
				in.Version = string(c.text())
			default:
				c.bad = true
			}
		}
	}
	return list
}

func (c *cursor) labels() map[string]string {
	n := c.count(majorMap, MaxLabels)
	labels := make(map[string]string, n)
	for range n {
		k := string(c.text())
		if _, twice := labels[k]; twice {
			c.bad = true
		}
		labels[k] = string(c.text())
	}
	return labels
}

func (c *cursor) algs() []int64 {
	list := make([]int64, c.count(majorArray, MaxAlgs))
	for i := range list {
		list[i] = c.int()
	}
	return list
}

// identifier is the text of one, parsed.
func identifier[T any](c *cursor, parse func(string) (T, error)) T {
	v, err := parse(string(c.text()))
	c.bad = c.bad || err != nil
	return v
}

func (c *cursor) digest() (d ident.Digest) {
	const length = 2 + 2 + len(d) // [-16, bytes(32)]
	if len(c.rest) < length || d.UnmarshalCBOR(c.rest[:length]) != nil {
		c.bad = true
		return d
	}
	c.rest = c.rest[length:]
	return d
}

func (c *cursor) uuid() (u uuid.UUID) {
	b := c.str(majorBytes)
	c.bad = c.bad || len(b) != len(u)
	copy(u[:], b)
	return u
}

// known is b as one of the words that need no memory, or a word of its own.
func known[T ~string](words map[string]T, b []byte) T {
	if w, ok := words[string(b)]; ok {
		return w
	}
	return T(b)
}

var (
	knownWords = wordsOf(WordReceived, WordDeferred, WordDownloading, WordDownloaded, WordInstalling, WordRebooting, WordInstalled,
		WordFailed, WordRejected)
	knownReasons = wordsOf(ReasonSignatureInvalid, ReasonUnsupportedManifest, ReasonWrongVendor, ReasonWrongClass,
		ReasonVersionNotNewer, ReasonPrecursorMismatch, ReasonNoSpace, ReasonBatteryLow, ReasonUserDeclined, ReasonDownloadTimeout,
		ReasonDigestMismatch, ReasonFlashError, ReasonInstallError, ReasonSelfTestFailed, ReasonRolledBack)
)

func wordsOf[T ~string](list ...T) map[string]T {
	words := make(map[string]T, len(list))
	for _, w := range list {
		words[string(w)] = w
	}
	return words
}
