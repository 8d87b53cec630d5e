package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// put takes a payload whole, or with Content-Range the bytes from where an upload stands. 201: it is there now; 200: it
// was there before; 202: more is to come, from Upload-Offset on. What came before a connection broke stays: a whole PUT
// again passes over it, and is judged by the digest of the whole.
func (h *payloads) put(w http.ResponseWriter, r *http.Request, by topics.Principal, d ident.Digest) error {
	span, err := spanOf(r)
	if err != nil {
		return err
	}
	up, err := h.o.Payloads.Begin(r.Context(), by, topics.PayloadBegin{Digest: d, Size: span.total, Name: r.URL.Query().Get("name")})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !up.Complete {
		status = http.StatusCreated
	}
	switch {
	case up.Offset >= span.total:
		h.passOver(w, r)
	case span.part && span.first != up.Offset:
		return misplaced(w, span.first, up.Offset)
	default:
		if up.Offset, err = h.receive(w, r, by, d, span, up.Offset); err != nil {
			return err
		}
	}
	if up.Offset < span.total {
		w.Header().Set(offsetHeader, strconv.FormatInt(up.Offset, 10))
		answer(w, http.StatusAccepted, "application/json", up)
		return nil
	}
	v, err := h.o.Payloads.Commit(r.Context(), by, d)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/payload/"+d.Hex())
	w.Header().Set("ETag", `"`+d.Hex()+`"`)
	answer(w, status, "application/json", v)
	return nil
}

// misplaced refuses a part that does not begin where the upload stands.
func misplaced(w http.ResponseWriter, first, offset int64) error {
	w.Header().Set(offsetHeader, strconv.FormatInt(offset, 10))
	slug := topics.ProblemUploadOffset
	if first < offset {
		slug = topics.ProblemUploadOverlap
	}
	return topics.NewProblem(slug, fmt.Sprintf("the range begins at %d, the upload stands at %d: go on from there", first, offset))
}

// span is which bytes of a payload a request brings.
type span struct {
	first, total int64
	part         bool // it named them
}

// spanOf reads Content-Length and Content-Range, which must agree.
func spanOf(r *http.Request) (span, error) {
	n := r.ContentLength
	if n < 0 {
		return span{}, topics.NewProblem(topics.ProblemLengthRequired, "send Content-Length: the length decides whether there is room")
	}
	text := r.Header.Get("Content-Range")
	if text == "" {
		return span{total: n}, nil
	}
	bad := topics.NewProblem(topics.ProblemInvalidRequest, fmt.Sprintf("Content-Range is bytes FIRST-LAST/TOTAL, and Content-Length LAST-FIRST+1, not %q and %d", text, n))
	rest, ok := strings.CutPrefix(text, "bytes ")
	firstText, rest, ok1 := strings.Cut(rest, "-")
	lastText, totalText, ok2 := strings.Cut(rest, "/")
	first, err1 := strconv.ParseUint(firstText, 10, 62)
	last, err2 := strconv.ParseUint(lastText, 10, 62)
	total, err3 := strconv.ParseUint(totalText, 10, 62)
	if !ok || !ok1 || !ok2 || errors.Join(err1, err2, err3) != nil || last < first || last >= total || n != int64(last-first)+1 {
		return span{}, bad
	}
	if last+1 < total && n < topics.MinAppend {
		return span{}, topics.NewProblem(topics.ProblemAppendUndersized, fmt.Sprintf("%d bytes: a part that is not the last has at least %d", n, topics.MinAppend))
	}
	return span{first: int64(first), total: int64(total), part: true}, nil
}

// receive makes the body durable slice by slice, from offset on, and returns where the upload then stands. What has come
// when the client stalls or goes away is kept.
func (h *payloads) receive(w http.ResponseWriter, r *http.Request, by topics.Principal, d ident.Digest, s span, offset int64) (int64, error) {
	control := http.NewResponseController(w)
	buf := make([]byte, min(sliceBytes, r.ContentLength))
	end := s.first + r.ContentLength
	for at := s.first; at < end; {
		if err := control.SetReadDeadline(time.Now().Add(h.slice)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return offset, err
		}
		n, cut := io.ReadFull(r.Body, buf[:min(int64(len(buf)), end-at)])
		// The credential may have been revoked while the body came.
		_, err := h.who(r)
		if err != nil {
			return offset, err
		}
		if offset, err = h.store(r, by, d, at, offset, buf[:n]); err != nil {
			return offset, err
		}
		if cut != nil {
			return offset, interrupted(w, cut, offset)
		}
		at += int64(n)
	}
	// The next request on the connection has its own deadlines.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return offset, err
	}
	return offset, nil
}

// passOver reads a body of which nothing is needed: most clients send all of it before they read an answer, and would take
// a connection that is closed early for a failure. Who waits for 100 (Continue) is not asked for it.
func (h *payloads) passOver(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Expect") != "" {
		return
	}
	control := http.NewResponseController(w)
	for {
		if err := control.SetReadDeadline(time.Now().Add(h.slice)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		if _, err := io.CopyN(io.Discard, r.Body, sliceBytes); err != nil {
			break // its end, or nobody is there any more to be answered
		}
	}
	_ = control.SetReadDeadline(time.Time{}) // of the next request on the connection
}

// store appends of data, which begins at at, what lies beyond offset. Another upload of the same payload may be ahead.
func (h *payloads) store(r *http.Request, by topics.Principal, d ident.Digest, at, offset int64, data []byte) (int64, error) {
	ctx := context.WithoutCancel(r.Context()) // what has come is kept, though the client may have gone
	for offset < at+int64(len(data)) {
		up, err := h.o.Payloads.Append(ctx, by, d, offset, data[max(0, offset-at):])
		var p *topics.Problem
		if errors.As(err, &p) && p.Type == topics.ProblemUploadOverlap && up.Offset > offset {
			offset = up.Offset
			continue
		}
		if err != nil {
			return offset, err
		}
		offset = up.Offset
	}
	return offset, nil
}

// interrupted is the answer to a body that did not come whole.
func interrupted(w http.ResponseWriter, err error, offset int64) error {
	w.Header().Set(offsetHeader, strconv.FormatInt(offset, 10))
	w.Header().Set("Connection", "close")
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return topics.NewProblem(topics.ProblemMalformedBody, fmt.Sprintf("the body ended early: the upload stands at %d", offset))
	}
	return topics.NewProblem(topics.ProblemDeadlinePassed, fmt.Sprintf("less than %d bytes came in %s: the upload stands at %d", sliceBytes, sliceTimeout, offset))
}
