package topics

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of members; lengths are in bytes.
const (
	MaxInstalled   = 16 // components in a hello or report
	MaxLabels      = 16
	MaxLabel       = 64 // a label's name, and its value
	MaxStateWord   = 32
	MaxReason      = 64
	MaxDetail      = 256
	MaxAlgs        = 16
	MaxComponent   = 128
	MaxVersion     = 64
	MaxName        = 128
	MaxDescription = 1024
)

// FieldErrors says which members of a message are out of their bounds, and what the bounds are.
type FieldErrors []FieldError

// Error lists them.
func (e FieldErrors) Error() string {
	var b strings.Builder
	for i, f := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Pointer + ": " + f.Detail)
	}
	return b.String()
}

// maxFaults bounds FieldErrors: who has sixteen to mend has enough.
const maxFaults = 16

// faults collects what Validate finds.
type faults struct{ list FieldErrors }

// check adds a fault unless ok.
func (f *faults) check(ok bool, pointer, detail string) {
	if !ok && len(f.list) < maxFaults {
		f.list = append(f.list, FieldError{Pointer: pointer, Detail: detail})
	}
}

// text holds s to n bytes of UTF-8 without control characters.
func (f *faults) text(s string, n int, pointer string) {
	if len(s) > n || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return plainRune(r) != r }) {
		f.check(false, pointer, fmt.Sprintf("at most %d bytes of text without control characters", n))
	}
}

// word holds s to n bytes of visible ASCII.
func (f *faults) word(s string, n int, pointer string) {
	if len(s) > n || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		f.check(false, pointer, fmt.Sprintf("at most %d visible ASCII characters", n))
	}
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return f.list
}

// Validate returns nil or FieldErrors.
func (h Hello) Validate() error {
	var f faults
	f.check(h.Seq > 0, "/seq", "from 1")
	f.check(h.Vendor != [16]byte{}, "/vendor", "required")
	f.check(h.Class != [16]byte{}, "/class", "required")
	f.installed(h.Installed)
	f.check(h.MaxChunk == 0 || h.MaxChunk >= MinChunk, "/max_chunk", "absent, or from 128")
	f.labels(h.Labels, "/labels")
	f.check(len(h.Algs) <= MaxAlgs, "/algs", "at most 16")
	return f.err()
}

// Validate returns nil or FieldErrors. State and Reason may be words that we don't know.
func (r Report) Validate() error {
	var f faults
	f.check(r.Seq > 0, "/seq", "from 1")
	f.check(!r.Manifest.IsZero(), "/manifest", "required")
	f.check(r.State != "", "/state", "required")
	f.word(string(r.State), MaxStateWord, "/state")
	f.word(string(r.Reason), MaxReason, "/reason")
	f.check(len(r.Detail) <= MaxDetail && utf8.ValidString(r.Detail), "/detail", "at most 256 bytes of text")
	f.installed(r.Installed)
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r Receipt) Validate() error {
	var f faults
	f.check(r.Seq > 0, "/seq", "from 1")
	f.check(r.Verdict != "", "/verdict", "required")
	f.word(string(r.Verdict), MaxStateWord, "/verdict")
	return f.err()
}

// Validate returns nil or FieldErrors. Whether the chunks lie within the payload is for who knows its size.
func (r Fetch) Validate() error {
	var f faults
	f.check(!r.Token.IsZero(), "/token", "required")
	f.check(!r.Digest.IsZero(), "/digest", "required")
	f.check(r.Size >= MinChunk && r.Size <= MaxChunk, "/size", "from 128 to 262144")
	f.check(r.Count >= 1 && r.Count <= MaxWindow, "/count", "from 1 to 1024")
	f.check(uint64(r.First)+uint64(r.Count) <= 1<<32, "/first", "first + count is at most 2^32")
	if len(r.Bitmap) > 0 && r.Count <= MaxWindow {
		f.check(len(r.Bitmap) == int(r.Count+7)/8, "/bitmap", "one bit for each chunk of count, rounded up to a byte")
		f.check(r.wantsAny(), "/bitmap", "at least one bit is set")
	}
	return f.err()
}

// Wants says whether a valid fetch asks for chunk First+i, for i below Count.
func (r Fetch) Wants(i uint32) bool {
	switch {
	case i >= r.Count:
		return false
	case len(r.Bitmap) == 0:
		return true
	}
	return int(i/8) < len(r.Bitmap) && r.Bitmap[i/8]>>(i%8)&1 == 1
}

func (r Fetch) wantsAny() bool {
	for i := range r.Count {
		if r.Wants(i) {
			return true
		}
	}
	return false
}

func (f *faults) installed(list []Installed) {
	f.check(len(list) <= MaxInstalled, "/installed", "at most 16 components")
	if len(list) > MaxInstalled {
		return
	}
	for i, c := range list {
		if c.valid() && !repeats(list, i) {
			continue
		}
		f.check(false, fmt.Sprintf("/installed/%d", i),
			"a component in lower-case hex, once, with its digest and a version of at most 64 bytes")
	}
}

func (c Installed) valid() bool {
	return isComponent(c.Component) && !c.Digest.IsZero() && len(c.Version) <= MaxVersion &&
		utf8.ValidString(c.Version) && !strings.ContainsFunc(c.Version, unicode.IsControl)
}

func repeats(list []Installed, i int) bool {
	for _, c := range list[:i] {
		if c.Component == list[i].Component {
			return true
		}
	}
	return false
}

// isComponent says whether s is a component identifier in text: byte strings in lower-case hex, joined by slashes. An
// empty byte string is allowed, an empty identifier is not.
func isComponent(s string) bool {
	if s == "" || len(s) > MaxComponent {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if len(part)%2 != 0 || strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return true
}

func (f *faults) labels(m map[string]string, pointer string) {
	f.check(len(m) <= MaxLabels, pointer, "at most 16 labels")
	for k, v := range m {
		if k == "" || len(k) > MaxLabel || len(v) > MaxLabel || strings.ContainsFunc(k+v, unicode.IsControl) || !utf8.ValidString(k+v) {
			f.check(false, pointer, "names of 1 to 64 bytes and values of at most 64, without control characters")
			return
		}
	}
}

// plainRune maps control characters to a space, so that a device's words can't steer a terminal.
// plainRune makes spaces of control characters, and of the invisible ones that turn or break lines.
func plainRune(r rune) rune {
	if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
		return ' '
	}
	return r
}

// wordRune makes dashes of what is no visible ASCII.
func wordRune(r rune) rune {
	if r <= ' ' || r > '~' {
		return '-'
	}
	return r
}

// cutText is s, or as many whole characters of it as n bytes hold.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
