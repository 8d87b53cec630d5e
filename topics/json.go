package topics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// jsonFrame is an object or list that checkJSON is inside of.
type jsonFrame struct {
	object bool
	atKey  bool // the next string names a member
	count  int  // commas so far
	first  int  // of its members in keys
}

// checkJSON holds JSON to the bounds and the strictness that encoding/json lacks, in one pass and before any value is
// built: depth, members, elements, UTF-8, and no member twice. Names that differ in case only count as the same, since
// encoding/json would fill one field from both. Syntax is left to encoding/json.
func checkJSON(b []byte) error {
	if b[0] != '{' {
		return errors.New("neither a JSON object nor a CBOR map")
	}
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	var (
		stack [MaxDepth]jsonFrame
		depth int
		keys  [][]byte
	)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '{', '[':
			if depth == MaxDepth {
				return fmt.Errorf("nested deeper than %d", MaxDepth)
			}
			stack[depth] = jsonFrame{object: c == '{', atKey: c == '{', first: len(keys)}
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return errors.New("unbalanced brackets")
			}
			keys = keys[:stack[depth].first]
		case ',':
			if depth == 0 {
				return errors.New("more than one value")
			}
			if err := stack[depth-1].next(); err != nil {
				return err
			}
		case ':':
			if depth > 0 {
				stack[depth-1].atKey = false
			}
		case '"':
			end := stringEnd(b, i)
			if end < 0 {
				return errors.New("string without end")
			}
			if depth > 0 && stack[depth-1].atKey {
				k, err := jsonKey(b[i:end])
				if err != nil {
					return err
				}
				if containsFold(keys[stack[depth-1].first:], k) {
					return fmt.Errorf("member %q twice", k)
				}
				if len(keys)-stack[depth-1].first >= MaxMembers {
					return fmt.Errorf("more than %d members", MaxMembers)
				}
				keys = append(keys, k)
				stack[depth-1].atKey = false // a string behind a name is no name: encoding/json says what it is
			}
			i = end - 1
		}
	}
	return nil
}

// next counts a comma.
func (f *jsonFrame) next() error {
	f.count++
	f.atKey = f.object
	if f.object && f.count >= MaxMembers {
		return fmt.Errorf("more than %d members", MaxMembers)
	}
	if f.count >= MaxElements {
		return fmt.Errorf("more than %d elements", MaxElements)
	}
	return nil
}

// stringEnd returns the index after the closing quote of the string that starts at i, or -1.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// jsonKey returns the name that a quoted string stands for.
func jsonKey(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, err
	}
	return []byte(s), nil
}

func containsFold(keys [][]byte, k []byte) bool {
	for _, have := range keys {
		if bytes.EqualFold(have, k) {
			return true
		}
	}
	return false
}
