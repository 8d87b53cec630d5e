package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// jsonReader builds nodes from the tokens of encoding/json, which says where each ends.
type jsonReader struct {
	d   *Document
	dec *json.Decoder
}

func (d *Document) parseJSON() (*node, error) {
	r := &jsonReader{d: d, dec: json.NewDecoder(bytes.NewReader(d.text))}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, at, err := r.token(); !errors.Is(err, io.EOF) {
		return nil, d.complain(at, "more after the object's end")
	}
	return n, nil
}

// token reads the next token and where it stands.
func (r *jsonReader) token() (json.Token, span, error) {
	from := int(r.dec.InputOffset())
	for from < len(r.d.text) && bytes.IndexByte([]byte(" \t\r\n,:"), r.d.text[from]) >= 0 {
		from++
	}
	t, err := r.dec.Token()
	return t, span{from, int(r.dec.InputOffset())}, err
}

// fail puts a decoder's error at its place.
func (r *jsonReader) fail(at span, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		i := int(syntax.Offset) - 1
		return r.d.complain(span{i, i + 1}, "%v", syntax)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.d.complain(span{len(r.d.text) - 1, len(r.d.text)}, "the file ends in the middle")
	}
	return r.d.complain(at, "%v", err)
}

func (r *jsonReader) value(depth int) (*node, error) {
	t, at, err := r.token()
	if err != nil {
		return nil, r.fail(at, err)
	}
	if depth > maxDepth {
		return nil, r.d.complain(at, "nested deeper than %d", maxDepth)
	}
	switch t {
	case json.Delim('{'):
		return r.table(at, depth)
	case json.Delim('['):
		return r.list(at, depth)
	}
	return &node{kind: scalar, at: at, value: t}, nil
}

func (r *jsonReader) table(at span, depth int) (*node, error) {
	n := &node{kind: table, at: at}
	for r.dec.More() {
		name, where, err := r.token()
		if err != nil {
			return nil, r.fail(where, err)
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		key, ok := name.(string)
		if !ok { // the decoder sees to it
			return nil, r.d.complain(where, "want a name")
		}
		if !n.add(key, where, v) {
			return nil, r.d.complain(where, "%s is there twice", key)
		}
	}
	return n, r.close(n)
}

func (r *jsonReader) list(at span, depth int) (*node, error) {
	n := &node{kind: list, at: at}
	for r.dec.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, v)
	}
	return n, r.close(n)
}

// close reads the closing bracket.
func (r *jsonReader) close(n *node) error {
	_, at, err := r.token()
	if err != nil {
		return r.fail(at, err)
	}
	n.at.to = at.to
	return nil
}
