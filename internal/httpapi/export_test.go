package httpapi

import (
	"net/http"
	"time"
)

// PayloadHandler is Handler's part for payloads with bounds of the test's own.
func PayloadHandler(o Options, slice time.Duration, uploads int) http.Handler {
	h := newPayloads(o)
	h.slice, h.uploads = slice, newTransfers(uploads, uploads)
	mux := http.NewServeMux()
	h.routes(mux)
	return mux
}

// The names that tests check bounds by.
const (
	SliceBytes   = sliceBytes
	OffsetHeader = offsetHeader
)
