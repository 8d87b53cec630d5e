package topics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// MaxRequestID is the longest request_id, in bytes.
const MaxRequestID = 64

// Every request may carry a request_id, which its reply and its problem repeat, for clients of MQTT 3.1.1, which has no
// Correlation Data. It is no member of the message types: it is added to, and read from, the encoded body.

// RequestID returns the request_id of a body, or "" if there is none that can be repeated.
func RequestID(b []byte) string {
	var v struct {
		RequestID string `json:"request_id" cbor:"100,keyasint"`
	}
	if _, err := Decode(b, &v); err != nil || len(v.RequestID) > MaxRequestID {
		return ""
	}
	return v.RequestID
}

// cborRequestID is the integer 100 in CBOR. It is above every key of every message but of a problem, which has the
// member itself, so appending it keeps the encoding deterministic.
var cborRequestID = []byte{0x18, 100}

// AddRequestID returns a body that Encode wrote with request_id id added as its last member; body itself for "".
func AddRequestID(body []byte, id string) ([]byte, error) {
	switch {
	case id == "":
		return body, nil
	case len(id) > MaxRequestID:
		return nil, fmt.Errorf("add request_id: %d bytes, at most %d", len(id), MaxRequestID)
	case FormatOf(body) == JSON:
		return addJSON(body, id)
	}
	return addCBOR(body, id)
}

func addJSON(body []byte, id string) ([]byte, error) {
	head, ok := bytes.CutSuffix(body, []byte("}"))
	if !ok {
		return nil, errors.New("add request_id: not a JSON object")
	}
	text, err := json.Marshal(id)
	if err != nil {
		return nil, fmt.Errorf("add request_id: %w", err)
	}
	out := append(make([]byte, 0, len(body)+len(text)+16), head...)
	if len(head) > 1 {
		out = append(out, ',')
	}
	out = append(out, `"request_id":`...)
	return append(append(out, text...), '}'), nil
}

func addCBOR(body []byte, id string) ([]byte, error) {
	// No message of ours has 23 members or more, so the count is always in the head byte.
	if len(body) == 0 || body[0] < 0xa0 || body[0] >= 0xa0+23 {
		return nil, errors.New("add request_id: not a CBOR map of fewer than 23 members")
	}
	text, err := cbor.Marshal(id)
	if err != nil {
		return nil, fmt.Errorf("add request_id: %w", err)
	}
	out := append(make([]byte, 0, len(body)+len(text)+2), body...)
	out[0]++
	return append(append(out, cborRequestID...), text...), nil
}
