package badger

import (
	"encoding/binary"
	"errors"
	"slices"

	"fleetbridge/campaign"
)

// stateCodes are the states by their code in a path; code 0 stands before a word of its own. Codes are for ever.
var stateCodes = []campaign.State{"", campaign.Pending, campaign.Offered, campaign.Received, campaign.Downloading, campaign.Downloaded,
	campaign.Installing, campaign.Rebooting, campaign.Retrying, campaign.Confirmed, campaign.Skipped, campaign.Failed, campaign.Rejected,
	campaign.Silent, campaign.Withdrawn, campaign.Deregistered, campaign.Reverted}

// appendSteps writes a path in about ten bytes a step, where CBOR takes thirty: code of the state, reason, seq, and the stamp
// as the difference to the step before. Texts follow their length; numbers are varints, signed ones in zigzag.
func appendSteps(b []byte, path []campaign.PathStep) []byte {
	var before stamp
	for _, s := range path {
		code := max(0, slices.Index(stateCodes, s.State))
		if b = append(b, byte(code)); code == 0 {
			b = appendText(b, string(s.State))
		}
		b = appendText(b, s.Reason)
		b = binary.AppendUvarint(b, s.Seq)
		at := stampOf(s.At)
		b = binary.AppendVarint(b, int64(at-before)) // may wrap around, and back
		before = at
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errSteps = errors.New("path is damaged")

// parseSteps reads what appendSteps wrote.
func parseSteps(b []byte) (path []campaign.PathStep, err error) {
	path = make([]campaign.PathStep, 0, campaign.MaxPath)
	r := stepReader{rest: b}
	var before stamp
	for len(r.rest) > 0 && !r.bad {
		var s campaign.PathStep
		code := r.rest[0]
		r.rest = r.rest[1:]
		switch {
		case code == 0:
			s.State = campaign.State(r.text())
		case int(code) < len(stateCodes):
			s.State = stateCodes[code]
		default:
			return nil, errSteps
		}
		s.Reason = r.text()
		s.Seq = r.uvarint()
		before += stamp(r.varint())
		s.At = before.time()
		path = append(path, s)
	}
	if r.bad {
		return nil, errSteps
	}
	return path, nil
}

type stepReader struct {
	rest []byte
	bad  bool
}

func (r *stepReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	return n + r.skip(size)
}

func (r *stepReader) varint() int64 {
	n, size := binary.Varint(r.rest)
	r.skip(size)
	return n
}

// skip passes a number of size bytes; 0 or less is none.
func (r *stepReader) skip(size int) uint64 {
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return 0
}

func (r *stepReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
