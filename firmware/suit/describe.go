package suit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Item is a CBOR item of an envelope as people read it. The tree of items holds all that the envelope says, in its order;
// Outline and Diagnostic are two views of it.
type Item struct {
	Name    string  `json:"name,omitempty"`    // in the draft's words, "" where the position says it all
	Key     string  `json:"key,omitempty"`     // of a member or command: its number, in diagnostic notation
	Value   string  `json:"value,omitempty"`   // of a scalar: the item, of a tag: the number; in diagnostic notation
	Note    string  `json:"note,omitempty"`    // a remark on the value, such as whether a digest matches
	Summary string  `json:"summary,omitempty"` // what it means, in place of value and items
	Items   []*Item `json:"items,omitempty"`   // of everything but a scalar

	kind kind
	text string // of a text string: its contents
}

// kind is how an item is written.
type kind int

const (
	kindScalar kind = iota
	kindArray
	kindMap
	kindTag
	kindWrapped  // CBOR in a byte string
	kindSequence // an array of commands, each followed by its argument
)

// Describe reads an envelope for people who ask what is in it. Unlike Decode it takes whatever is well-formed CBOR with
// the outermost form of an envelope: unknown members, commands, algorithms and encodings are shown as they are. Nothing
// is verified, but whether the digests match is noted. The error wraps ErrMalformed.
func Describe(envelope []byte) (*Item, error) {
	if len(envelope) > MaxEnvelope+MaxIntegrated {
		return nil, fmt.Errorf("describe envelope: %d bytes, at most %d: %w", len(envelope), MaxEnvelope+MaxIntegrated, ErrMalformed)
	}
	if err := cbor.Wellformed(envelope); err != nil {
		return nil, fmt.Errorf("describe envelope: not one CBOR item: %w: %w", ErrMalformed, err)
	}
	w := &walker{}
	if w.envelope(envelope) == nil {
		return nil, fmt.Errorf("describe envelope: not a map with members 2 and 3, authentication wrapper and manifest: %w", ErrMalformed)
	}
	return w.envelope(envelope), nil // the text, which comes last, tells the names behind identifiers that come first
}

// Outline prints the tree as a specification lists fields: a name, its number and its meaning a line. Text from the
// manifest is quoted, so that it can't forge a line or move a cursor.
func (i *Item) Outline() string {
	var b strings.Builder
	i.outline(&b, 0)
	return b.String()
}

func (i *Item) outline(b *strings.Builder, depth int) {
	body, title := i, i.Name
	if i.Key != "" {
		title = strings.TrimSpace(title + " (" + i.Key + ")")
	}
	says := i.Summary
	for says == "" && (body.kind == kindWrapped || body.kind == kindTag) { // the packing is of no interest here
		if body.kind == kindTag && body == i {
			title = strings.TrimSpace(title + " (tag " + body.Value + ")")
		} else if body.kind == kindTag {
			title += ": " + strings.TrimSpace(body.Name+" (tag "+body.Value+")")
		}
		body = body.Items[0]
		says = body.Summary
	}
	multiline := strings.Contains(body.text, "\n")
	closed := says != ""
	if says == "" && !multiline {
		says = body.value()
	}
	for _, note := range []string{i.Note, body.Note} {
		if note != "" && !strings.Contains(says, note) {
			says = strings.TrimPrefix(says+", "+note, ", ")
		}
	}
	fmt.Fprintf(b, "%s%s\n", strings.Repeat("  ", depth), join(title, says))
	switch {
	case closed:
	case multiline:
		for part := range strings.Lines(strings.TrimRight(body.text, "\n")) {
			quoted := strconv.Quote(strings.TrimRight(part, "\r\n"))
			fmt.Fprintf(b, "%s| %s\n", strings.Repeat("  ", depth+1), quoted[1:len(quoted)-1])
		}
	default:
		for _, in := range body.Items {
			in.outline(b, depth+1)
		}
	}
}

// value is what stands on an item's own line.
func (i *Item) value() string {
	switch {
	case i.kind == kindArray && len(i.Items) == 0:
		return "[]"
	case i.kind == kindMap && len(i.Items) == 0:
		return "{}"
	}
	if n := len(i.hex()) / 2; strings.HasPrefix(i.Value, "h'") && n > maxOutlined {
		return fmt.Sprintf("%d bytes, h'%s…'", n, i.hex()[:2*16])
	}
	return i.Value
}

// maxOutlined is how many bytes of a byte string an outline has; the diagnostic notation has them all.
const maxOutlined = 96

func join(title, says string) string {
	switch {
	case title == "":
		return "- " + says
	case says == "":
		return title
	}
	return title + ": " + says
}
