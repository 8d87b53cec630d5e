package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/httpapi"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// shelf is a Payloads in memory, of one tenant.
type shelf struct {
	mu       sync.Mutex
	parts    map[ident.Digest]*bytes.Buffer
	sizes    map[ident.Digest]int64
	whole    map[ident.Digest][]byte
	largest  int           // append
	appended chan struct{} // told of each append, if there is room
}

func newShelf() *shelf {
	return &shelf{parts: map[ident.Digest]*bytes.Buffer{}, sizes: map[ident.Digest]int64{}, whole: map[ident.Digest][]byte{}, appended: make(chan struct{}, 1)}
}

func (s *shelf) Begin(_ context.Context, by topics.Principal, req topics.PayloadBegin) (topics.PayloadUpload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by.Role != topics.RoleOperator {
		return topics.PayloadUpload{}, topics.NewProblem(topics.ProblemNotAllowed, "")
	}
	if req.Size > 16<<20 {
		return topics.PayloadUpload{}, topics.NewProblem(topics.ProblemTooLarge, "")
	}
	if b, ok := s.whole[req.Digest]; ok {
		return topics.PayloadUpload{Offset: int64(len(b)), Complete: true}, nil
	}
	if s.parts[req.Digest] == nil {
		s.parts[req.Digest] = new(bytes.Buffer)
	}
	s.sizes[req.Digest] = req.Size
	return topics.PayloadUpload{Digest: req.Digest, Size: req.Size, Offset: int64(s.parts[req.Digest].Len())}, nil
}

func (s *shelf) Append(ctx context.Context, _ topics.Principal, d ident.Digest, offset int64, data []byte) (topics.PayloadUpload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return topics.PayloadUpload{}, topics.NewProblem(topics.ProblemStoreUnavailable, "")
	}
	s.largest = max(s.largest, len(data))
	p := s.parts[d]
	up := topics.PayloadUpload{Digest: d, Size: s.sizes[d], Offset: int64(p.Len())}
	if offset != up.Offset {
		return up, topics.NewProblem(topics.ProblemUploadOverlap, "")
	}
	p.Write(data)
	up.Offset = int64(p.Len())
	select {
	case s.appended <- struct{}{}:
	default:
	}
	return up, nil
}

func (s *shelf) Commit(_ context.Context, _ topics.Principal, d ident.Digest) (topics.PayloadView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[d]; p != nil {
		delete(s.parts, d)
		if ident.SumDigest(p.Bytes()) != d {
			return topics.PayloadView{}, topics.NewProblem(topics.ProblemDigestMismatch, "")
		}
		s.whole[d] = p.Bytes()
	}
	return topics.PayloadView{Digest: d, Size: int64(len(s.whole[d]))}, nil
}

func (s *shelf) Upload(_ context.Context, by topics.Principal, d ident.Digest) (topics.PayloadUpload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[d]; p != nil && by.Role == topics.RoleOperator {
		return topics.PayloadUpload{Offset: int64(p.Len())}, nil
	}
	return topics.PayloadUpload{}, topics.NewProblem(topics.ProblemUploadNotFound, "")
}

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func (s *shelf) Open(_ context.Context, _ topics.Principal, d ident.Digest) (interface {
	io.ReaderAt
	io.Closer
}, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.whole[d]
	if !ok {
		return nil, 0, topics.NewProblem(topics.ProblemPayloadNotFound, "")
	}
	return content{bytes.NewReader(b)}, int64(len(b)), nil
}

func authenticate(_ context.Context, user, token string) (topics.Principal, error) {
	if token == "unavailable" {
		return topics.Principal{}, fmt.Errorf("starting: %w", link.ErrUnavailable)
	}
	tenant, name, _ := strings.Cut(user, "/")
	if token != "secret" {
		return topics.Principal{}, errors.New("wrong")
	}
	role := topics.Role(name)
	n, err := ident.ParseName(name)
	return topics.Principal{Tenant: ident.MustTenant(tenant), Role: role, Name: n}, err
}

func serve(t *testing.T, s *shelf, slice time.Duration, uploads int) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(httpapi.PayloadHandler(httpapi.Options{Payloads: s, Authenticate: authenticate}, slice, uploads))
	t.Cleanup(srv.Close)
	return srv
}

// ask sends a request as acme's operator, unless change says otherwise, and returns the answer and its body.
func ask(t *testing.T, srv *httptest.Server, method, path string, body io.Reader, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("acme/operator", "secret")
	if change != nil {
		change(r)
	}
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func slugOf(body string) string {
	var p topics.Problem
	if json.Unmarshal([]byte(body), &p) != nil {
		return ""
	}
	return p.Type
}

func bytesOf(n int) ([]byte, ident.Digest, string) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	d := ident.SumDigest(b)
	return b, d, "/payload/" + d.Hex()
}

func header(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }

func TestPayloadNeedsACredential(t *testing.T) {
	srv := serve(t, newShelf(), time.Minute, 4)
	_, _, path := bytesOf(10)
	for what, c := range map[string]struct {
		change func(*http.Request)
		status int
		slug   string
	}{
		"none":                  {func(r *http.Request) { r.Header.Del("Authorization") }, 401, topics.ProblemUnauthenticated},
		"bearer":                {header("Authorization", "Bearer secret"), 401, topics.ProblemUnauthenticated},
		"wrong token":           {func(r *http.Request) { r.SetBasicAuth("acme/operator", "guess") }, 401, topics.ProblemUnauthenticated},
		"nobody can tell":       {func(r *http.Request) { r.SetBasicAuth("acme/operator", "unavailable") }, 503, topics.ProblemStoreUnavailable},
		"a role that may not":   {func(r *http.Request) { r.SetBasicAuth("acme/viewer", "secret") }, 403, topics.ProblemNotAllowed},
		"one that may, and can": {nil, 201, ""},
	} {
		b, _, _ := bytesOf(10)
		res, body := ask(t, srv, "PUT", path, bytes.NewReader(b), c.change)
		if res.StatusCode != c.status || slugOf(body) != c.slug {
			t.Errorf("%s: %d %s", what, res.StatusCode, body)
		}
		if (res.StatusCode == 401) != (res.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: no challenge", what)
		}
		if c.slug != "" && res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: content type %q", what, res.Header.Get("Content-Type"))
		}
	}
}

func TestPut(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 4)
	b, d, path := bytesOf(3*httpapi.SliceBytes + 123)
	for _, want := range []int{201, 200} {
		res, body := ask(t, srv, "PUT", path+"?name=lamp", bytes.NewReader(b), nil)
		if res.StatusCode != want || !strings.Contains(body, d.Hex()) || res.Header.Get("ETag") != `"`+d.Hex()+`"` || res.Header.Get("Location") != path {
			t.Errorf("%d %s %v, want %d", res.StatusCode, body, res.Header, want)
		}
	}
	if !bytes.Equal(s.whole[d], b) || s.largest > httpapi.SliceBytes {
		t.Errorf("%d bytes are there, in appends of up to %d", len(s.whole[d]), s.largest)
	}
	res, body := ask(t, srv, "PUT", path, bytes.NewReader(b), func(r *http.Request) { r.ContentLength = -1 })
	if res.StatusCode != 411 || slugOf(body) != topics.ProblemLengthRequired {
		t.Errorf("without a length: %d %s", res.StatusCode, body)
	}
	wrong := bytes.Clone(b[:100])
	_, other, otherPath := bytesOf(100)
	wrong[7] ^= 1
	if res, body := ask(t, srv, "PUT", otherPath, bytes.NewReader(wrong), nil); slugOf(body) != topics.ProblemDigestMismatch || s.whole[other] != nil {
		t.Errorf("wrong bytes: %d %s", res.StatusCode, body)
	}
}

func TestPutInParts(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 4)
	b, d, path := bytesOf(100_000)
	part := func(first, last, status, offset int, slug string) {
		t.Helper()
		res, body := ask(t, srv, "PUT", path, bytes.NewReader(b[first:last]), header("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last-1, len(b))))
		got := res.Header.Get(httpapi.OffsetHeader)
		if res.StatusCode != status || slugOf(body) != slug || offset >= 0 && got != fmt.Sprint(offset) {
			t.Errorf("%d to %d: %d, upload at %q, %s", first, last, res.StatusCode, got, body)
		}
	}
	part(5000, 10_000, 409, 0, topics.ProblemUploadOffset)
	part(0, 40_000, 202, 40_000, "")
	part(0, 40_000, 409, 40_000, topics.ProblemUploadOverlap)
	part(40_000, 40_100, 422, -1, topics.ProblemAppendUndersized)
	if res, _ := ask(t, srv, "HEAD", path, nil, nil); res.StatusCode != 404 || res.Header.Get(httpapi.OffsetHeader) != "40000" {
		t.Errorf("HEAD: %d, upload at %q", res.StatusCode, res.Header.Get(httpapi.OffsetHeader))
	}
	if res, _ := ask(t, srv, "HEAD", path, nil, func(r *http.Request) { r.SetBasicAuth("acme/viewer", "secret") }); res.Header.Get(httpapi.OffsetHeader) != "" {
		t.Error("a viewer is told of an upload")
	}
	part(40_000, 99_990, 202, 99_990, "")
	part(99_990, 100_000, 201, -1, "")
	if !bytes.Equal(s.whole[d], b) {
		t.Error("the bytes differ")
	}
}

func TestContentRangeIsChecked(t *testing.T) {
	srv := serve(t, newShelf(), time.Minute, 4)
	b, _, path := bytesOf(5000)
	for _, text := range []string{"bytes", "bytes */5000", "bytes 0-/5000", "bytes -5/5000", "bytes 0-4998/5000", "bytes 0-5000/5000", "bytes 1-5000/5000",
		"bytes 4999-0/5000", "bytes 0-4999/*", "bytes +0-4999/5000", "bytes 0-4999/99999999999999999999", "items 0-4999/5000", "bytes 9223372036854775807-1/5000"} {
		if res, body := ask(t, srv, "PUT", path, bytes.NewReader(b), header("Content-Range", text)); res.StatusCode != 422 || slugOf(body) != topics.ProblemInvalidRequest {
			t.Errorf("%s: %d %s", text, res.StatusCode, body)
		}
	}
}

// raw sends the head of a PUT of n bytes and some of them, on a connection of its own.
func raw(t *testing.T, srv *httptest.Server, path string, n int, some []byte) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	auth := "YWNtZS9vcGVyYXRvcjpzZWNyZXQ=" // acme/operator:secret
	if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n%s", path, auth, n, some); err != nil {
		t.Fatal(err)
	}
	return conn
}

// What came before a connection broke is kept; a whole PUT then goes on from there.
func TestPutGoesOnAfterABrokenConnection(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 4)
	b, d, path := bytesOf(3 * httpapi.SliceBytes)
	conn := raw(t, srv, path, len(b), b[:httpapi.SliceBytes+777])
	<-s.appended
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.appended // of the rest
	s.mu.Lock()
	n := s.parts[d].Len()
	s.mu.Unlock()
	if n != httpapi.SliceBytes+777 {
		t.Errorf("%d bytes were kept", n)
	}
	if res, body := ask(t, srv, "PUT", path, bytes.NewReader(b), nil); res.StatusCode != 201 || !bytes.Equal(s.whole[d], b) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// A client that stalls is answered and let go.
func TestSlowBodyIsEnded(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, 50*time.Millisecond, 1)
	b, d, path := bytesOf(10_000)
	conn := raw(t, srv, path, len(b), b[:5000])
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), topics.ProblemDeadlinePassed) ||
		!strings.Contains(string(answer), httpapi.OffsetHeader+": 5000") {
		t.Errorf("%v %s", err, answer)
	}
	if res, body := ask(t, srv, "PUT", path, bytes.NewReader(b), nil); res.StatusCode != 201 || !bytes.Equal(s.whole[d], b) {
		t.Errorf("after it: %d %s", res.StatusCode, body)
	}
}

func TestTransfersAreBounded(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 1)
	b, _, path := bytesOf(2 * httpapi.SliceBytes)
	raw(t, srv, path, len(b), b[:httpapi.SliceBytes])
	<-s.appended // it holds the only place
	other, _, otherPath := bytesOf(100)
	res, body := ask(t, srv, "PUT", otherPath, bytes.NewReader(other), nil)
	if res.StatusCode != 429 || slugOf(body) != topics.ProblemTooManyTransfers || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestPayloadPaths(t *testing.T) {
	srv := serve(t, newShelf(), time.Minute, 4)
	_, d, path := bytesOf(100)
	for target, want := range map[string]int{"/payload/": 404, "/payload": 404, "/payload/x": 422, "/payload/" + strings.ToUpper(d.Hex()): 422,
		"/payload/sha256:" + d.Hex(): 422, path + "/": 404, path: 404, "/payload/..%2f" + d.Hex(): 422} {
		if res, body := ask(t, srv, "GET", target, nil, nil); res.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", target, res.StatusCode, body, want)
		}
	}
	if res, _ := ask(t, srv, "POST", path, nil, nil); res.StatusCode != 405 {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

func TestGetRanges(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 4)
	b, d, path := bytesOf(100_000)
	s.whole[d] = b
	etag := `"` + d.Hex() + `"`
	for what, c := range map[string]struct {
		method, key, value string
		status             int
		want               []byte
	}{
		"whole":             {"GET", "X-None", "", 200, b},
		"first byte":        {"GET", "Range", "bytes=0-0", 206, b[:1]},
		"middle":            {"GET", "Range", "bytes=500-1499", 206, b[500:1500]},
		"over the end":      {"GET", "Range", "bytes=99990-200000", 206, b[99_990:]},
		"suffix":            {"GET", "Range", "bytes=-10", 206, b[99_990:]},
		"behind the end":    {"GET", "Range", "bytes=100000-", 416, nil},
		"no range":          {"GET", "Range", "bytes=9-1", 416, nil},
		"head":              {"HEAD", "X-None", "", 200, []byte{}},
		"unchanged":         {"GET", "If-None-Match", etag, 304, []byte{}},
		"weak is unchanged": {"GET", "If-None-Match", "W/" + etag, 304, []byte{}},
		"changed":           {"GET", "If-None-Match", `"other"`, 200, b},
		"not the one":       {"GET", "If-Match", `"other"`, 412, []byte{}},
	} {
		res, body := ask(t, srv, c.method, path, nil, header(c.key, c.value))
		if res.StatusCode != c.status || c.want != nil && body != string(c.want) {
			t.Errorf("%s: %d with %d bytes", what, res.StatusCode, len(body))
		}
		if res.StatusCode < 300 && (res.Header.Get("ETag") != etag || res.Header.Get("Content-Type") != "application/octet-stream" ||
			res.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(res.Header.Get("Repr-Digest"), "sha-256=:")) {
			t.Errorf("%s: header %v", what, res.Header)
		}
	}
	for value, want := range map[string]int{etag: 206, `"other"`: 200, "W/" + etag: 200} {
		res, _ := ask(t, srv, "GET", path, nil, func(r *http.Request) { r.Header.Set("Range", "bytes=5-9"); r.Header.Set("If-Range", value) })
		if res.StatusCode != want {
			t.Errorf("If-Range %s: %d, want %d", value, res.StatusCode, want)
		}
	}
}

func TestGetManyRanges(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, time.Minute, 4)
	b, d, path := bytesOf(1000)
	s.whole[d] = b
	res, body := ask(t, srv, "GET", path, nil, header("Range", "bytes=0-9,500-509"))
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || res.StatusCode != 206 {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	m := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for _, want := range [][]byte{b[:10], b[500:510]} {
		p, err := m.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("part %q, %v", got, err)
		}
	}
	// Ranges that add up to more than the payload are a way to have it sent a thousand times: it is sent once.
	res, body = ask(t, srv, "GET", path, nil, header("Range", "bytes=0-"+strings.Repeat(",0-", 1000)))
	if res.StatusCode != 200 || len(body) != len(b) {
		t.Errorf("a thousand ranges: %d with %d bytes", res.StatusCode, len(body))
	}
}

// deadlines is a ResponseWriter that keeps the deadlines it was given.
type deadlines struct {
	*httptest.ResponseRecorder
	set, read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = append(d.read, t); return nil }

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.set = append(d.set, t); return nil }

// The deadline of a download's writes must not outlive it: the connection has other requests to answer.
func TestDownloadLeavesNoDeadline(t *testing.T) {
	s := newShelf()
	b, d, path := bytesOf(100_000)
	s.whole[d] = b
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.SetBasicAuth("acme/operator", "secret")
	httpapi.PayloadHandler(httpapi.Options{Payloads: s, Authenticate: authenticate}, time.Minute, 1).ServeHTTP(w, r)
	if n := len(w.set); n < 3 || w.set[0].IsZero() || !w.set[n-1].IsZero() || !w.Flushed {
		t.Errorf("deadlines %v, flushed: %v", w.set, w.Flushed)
	}
}

// Nobody holds a connection by a refused request whose body never comes.
func TestRefusedBodyHasADeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	_, _, path := bytesOf(100)
	r := httptest.NewRequest(http.MethodPut, path, strings.NewReader("never read"))
	httpapi.PayloadHandler(httpapi.Options{Payloads: newShelf(), Authenticate: authenticate}, time.Minute, 1).ServeHTTP(w, r)
	if w.Code != 401 || len(w.read) != 1 || w.read[0].IsZero() {
		t.Errorf("%d, read deadlines %v", w.Code, w.read)
	}
}
