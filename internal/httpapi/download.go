package httpapi

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// maxRanges bounds the ranges of one request: each costs the server a hundred bytes, and the client four. Who asks for more
// is sent the whole (RFC 9110 section 14.2), as is who asks in a unit other than bytes.
const maxRanges = 16

// get sends a payload, or ranges of it. Its ETag is its digest, so that a range of RFC 9110 can be resumed with If-Range.
func (h *payloads) get(w http.ResponseWriter, r *http.Request, by topics.Principal, d ident.Digest) error {
	content, size, err := h.o.Payloads.Open(r.Context(), by, d)
	if err != nil {
		h.tellUpload(w, r, by, d)
		return err
	}
	defer content.Close()
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Cache-Control", "private, max-age=31536000, immutable")
	head.Set("ETag", `"`+d.Hex()+`"`)
	head.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(d[:])+":") // RFC 9530
	control := http.NewResponseController(w)
	if ranges := r.Header.Get("Range"); strings.Count(ranges, ",") >= maxRanges || !strings.HasPrefix(ranges, "bytes=") {
		r.Header.Del("Range")
	}
	http.ServeContent(slowly{w, control}, r, "", time.Time{}, io.NewSectionReader(content, 0, size))
	// The rest goes out under the last deadline, which must not outlive it on the connection. Who does not take it has gone.
	_ = errors.Join(control.Flush(), control.SetWriteDeadline(time.Time{}))
	return nil
}

// tellUpload says in a header of the refusal how far an upload of the payload is, to who may go on with it.
func (h *payloads) tellUpload(w http.ResponseWriter, r *http.Request, by topics.Principal, d ident.Digest) {
	if up, err := h.o.Payloads.Upload(r.Context(), by, d); err == nil {
		w.Header().Set(offsetHeader, strconv.FormatInt(up.Offset, 10))
	}
}

// slowly gives each write its own deadline: a client may be slow, but must read.
type slowly struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (s slowly) Write(b []byte) (int, error) {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return s.ResponseWriter.Write(b)
}
