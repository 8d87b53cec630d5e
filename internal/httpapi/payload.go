package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Payloads are where bytes come from and go to. Every error is a *topics.Problem; who may do what is theirs to judge.
type Payloads interface {
	// Begin opens an upload, or says where the one stands that was interrupted.
	Begin(ctx context.Context, by topics.Principal, req topics.PayloadBegin) (topics.PayloadUpload, error)
	// Append adds data at offset; with upload-overlap and upload-offset the reply says where the upload stands.
	Append(ctx context.Context, by topics.Principal, d ident.Digest, offset int64, data []byte) (topics.PayloadUpload, error)
	// Commit checks the digest of the whole.
	Commit(ctx context.Context, by topics.Principal, d ident.Digest) (topics.PayloadView, error)
	// Upload says where an upload stands.
	Upload(ctx context.Context, by topics.Principal, d ident.Digest) (topics.PayloadUpload, error)
	// Open returns a payload that the principal may read, and its size.
	Open(ctx context.Context, by topics.Principal, d ident.Digest) (interface {
		io.ReaderAt
		io.Closer
	}, int64, error)
}

// The bounds of payload transfers. A transfer over one is answered 429.
const (
	// sliceBytes of an upload are in memory, and made durable, at a time; they must come within sliceTimeout.
	sliceBytes   = 1 << 20
	sliceTimeout = time.Minute
	// writeTimeout is how long a client may take for 32 KiB of a download.
	writeTimeout = 30 * time.Second
	maxUploads   = 16
	maxDownloads = 512
	maxOwn       = 8 // of one principal, uploads and downloads each
	retryAfter   = 5 // seconds, told with 429 and 503
)

// offsetHeader tells where an unfinished upload stands, in bytes.
const offsetHeader = "Upload-Offset"

// payloads serves /payload/{sha256}.
type payloads struct {
	o         Options
	slice     time.Duration
	uploads   *transfers
	downloads *transfers
}

func newPayloads(o Options) *payloads {
	return &payloads{o: o, slice: sliceTimeout, uploads: newTransfers(maxUploads, maxOwn), downloads: newTransfers(maxDownloads, maxOwn)}
}

func (h *payloads) routes(mux *http.ServeMux) {
	mux.HandleFunc("PUT /payload/{digest}", h.serve(h.uploads, h.put))
	mux.HandleFunc("GET /payload/{digest}", h.serve(h.downloads, h.get)) // and HEAD
}

// serve does what all requests have in common: who asks, for which payload, and how many at once.
func (h *payloads) serve(t *transfers, run func(http.ResponseWriter, *http.Request, topics.Principal, ident.Digest) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.ContentLength != 0 {
			// A body that nobody reads is not waited for without end; who reads it sets deadlines of its own. Only a
			// test's writer can't have one.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerTimeout))
		}
		by, err := h.who(r)
		if err == nil {
			err = h.enter(w, r, t, by, run)
		}
		if err != nil {
			refuse(w, r, err)
		}
	}
}

func (h *payloads) enter(w http.ResponseWriter, r *http.Request, t *transfers, by topics.Principal,
	run func(http.ResponseWriter, *http.Request, topics.Principal, ident.Digest) error) error {
	name := r.PathValue("digest")
	d, err := ident.ParseDigest(name)
	if err != nil || d.Hex() != name {
		return topics.NewProblem(topics.ProblemInvalidRequest, "the path is /payload/ and the SHA-256 of the payload, 64 lower-case hex digits")
	}
	if !t.enter(by) {
		return topics.NewProblem(topics.ProblemTooManyTransfers, "too many transfers are under way: try again in "+strconv.Itoa(retryAfter)+" seconds")
	}
	defer t.leave(by)
	return run(w, r, by, d)
}

// who is the principal of a request, by the same user name and token as in MQTT's CONNECT.
func (h *payloads) who(r *http.Request) (topics.Principal, error) {
	user, token, ok := r.BasicAuth()
	if !ok {
		return topics.Principal{}, topics.NewProblem(topics.ProblemUnauthenticated, "Basic authentication is needed: user tenant/name and its token")
	}
	by, err := h.o.Authenticate(r.Context(), user, token)
	switch {
	case errors.Is(err, link.ErrUnavailable):
		return by, topics.NewProblem(topics.ProblemStoreUnavailable, "credentials can't be checked now")
	case err != nil:
		return by, topics.NewProblem(topics.ProblemUnauthenticated, "no such user or wrong token")
	}
	return by, nil
}

// refuse answers with a problem of RFC 9457. Who has been reset has gone: there is nobody to tell.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *topics.Problem
	if !errors.As(err, &p) {
		if r.Context().Err() != nil {
			return
		}
		p = topics.NewProblem(topics.ProblemInternal, "")
	}
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="fleetbridge", charset="UTF-8"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	answer(w, p.Status, "application/problem+json", p)
}

func answer(w http.ResponseWriter, status int, contentType string, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client has gone if this fails; there is nobody to tell.
	_, _ = w.Write(append(b, '\n'))
}
