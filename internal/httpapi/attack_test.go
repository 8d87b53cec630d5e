package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fleetbridge/internal/httpapi"
	"fleetbridge/topics"
)

// Most clients send the whole body before they read an answer. An upload that is repeated, such as by a pipeline that runs
// again, must not look broken to them.
func TestPutAgainTakesTheBody(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 4)
	b, d, path := bytesOf(12 << 20)
	s.whole[d] = b
	taken := &counting{r: bytes.NewReader(b)}
	res, _ := ask(t, srv, "PUT", path, taken, func(r *http.Request) { r.ContentLength = int64(len(b)) })
	if res.StatusCode != 200 || taken.n.Load() != int64(len(b)) {
		t.Errorf("%d after %d of %d bytes", res.StatusCode, taken.n.Load(), len(b))
	}
	// Who waits to be told to go on is spared them.
	srv.Client().Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	spared := &counting{r: bytes.NewReader(b)}
	res, _ = ask(t, srv, "PUT", path, spared, func(r *http.Request) {
		r.ContentLength = int64(len(b))
		r.Header.Set("Expect", "100-continue")
	})
	if res.StatusCode != 200 || spared.n.Load() != 0 {
		t.Errorf("with Expect: %d after %d bytes", res.StatusCode, spared.n.Load())
	}
}

type counting struct {
	r io.Reader
	n atomic.Int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// A credential that is revoked ends the upload that it began: nothing of what comes after is taken.
func TestRevokedInTheMiddleOfAnUpload(t *testing.T) {
	s := newShelf()
	var revoked atomic.Bool
	srv := httptest.NewServer(httpapi.PayloadHandler(httpapi.Options{Payloads: s, Authenticate: func(ctx context.Context, user, token string) (topics.Principal, error) {
		if revoked.Load() {
			return topics.Principal{}, errors.New("revoked")
		}
		return authenticate(ctx, user, token)
	}}, time.Minute, 4))
	t.Cleanup(srv.Close)
	b, d, path := bytesOf(3 * httpapi.SliceBytes)
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(b[:httpapi.SliceBytes])
		<-s.appended
		revoked.Store(true)
		_, _ = w.Write(b[httpapi.SliceBytes:]) // the server may close the pipe before
		_ = w.Close()
	}()
	res, body := ask(t, srv, "PUT", path, r, func(r *http.Request) { r.ContentLength = int64(len(b)) })
	if res.StatusCode != 401 || !strings.Contains(body, "unauthenticated") || len(s.whole[d]) != 0 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if p := s.parts[d]; p == nil || p.Len() != httpapi.SliceBytes {
		t.Error("more is taken than came before")
	}
}

// Hundreds of small ranges cost the server hundreds of times what the request does: the payload is sent once instead.
func TestGetHundredsOfRanges(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 4)
	b, d, path := bytesOf(10_000)
	s.whole[d] = b
	for ranges, want := range map[int]int{16: 206, 17: 200, 500: 200} {
		res, body := ask(t, srv, "GET", path, nil, header("Range", "bytes=0-0"+strings.Repeat(",2-2", ranges-1)))
		if res.StatusCode != want || want == 200 && body != string(b) {
			t.Errorf("%d ranges: %d with %d bytes, want %d", ranges, res.StatusCode, len(body), want)
		}
	}
	// A unit that isn't known is passed over (RFC 9110 section 14.2).
	if res, _ := ask(t, srv, "GET", path, nil, header("Range", "chunks=0-1")); res.StatusCode != 200 {
		t.Errorf("another unit: %d", res.StatusCode)
	}
}
