package bridge_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func (f *fixture) files() (names []string) {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.dir, acme.String()))
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (f *fixture) quotaBytes(n int64) {
	f.t.Helper()
	req := topics.QuotaSet{Tenant: acme, Bytes: &n}
	if p := f.do(command{p: admin, noun: "quota", verb: "set"}, req, nil); p != nil {
		f.t.Fatal(p)
	}
}

func TestAppendIsCheckedByItself(t *testing.T) {
	f := start(t, nil)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	d := ident.SumDigest(data)
	var up topics.PayloadUpload
	f.ok("payload", "begin", topics.PayloadBegin{Digest: d, Size: int64(len(data)), Name: "a"}, &up)
	if up.MinAppend != topics.MinAppend || up.Expires.IsZero() || up.Begun.IsZero() {
		t.Errorf("begin replies %+v", up)
	}
	at := func(offset, n int) topics.PayloadAppend {
		return topics.PayloadAppend{Digest: d, Offset: int64(offset), Data: data[offset : offset+n], Sum: ident.SumDigest(data[offset : offset+n])}
	}
	f.fails(topics.ProblemAppendUndersized, "payload", "append", at(0, topics.MinAppend-1))
	torn := at(0, topics.MinAppend)
	torn.Data = bytes.Clone(torn.Data)
	torn.Data[7] ^= 1
	f.fails(topics.ProblemAppendMismatch, "payload", "append", torn)
	f.ok("payload", "append", at(0, 8192), &up)
	f.fails(topics.ProblemUploadOverlap, "payload", "append", at(0, 8192))
	f.fails(topics.ProblemUploadOverlap, "payload", "append", at(4096, 8192))
	f.fails(topics.ProblemUploadOffset, "payload", "append", at(8193, 5000))
	f.ok("payload", "append", at(8192, 8000), &up)
	f.fails(topics.ProblemTooLarge, "payload", "append", topics.PayloadAppend{Digest: d, Offset: 16192, Data: make([]byte, 5000)})
	if up.Offset != 16192 {
		t.Errorf("the upload stands at %d: a refused append took bytes", up.Offset)
	}
	f.ok("payload", "append", at(16192, 192), nil) // the last may be short
	f.ok("payload", "commit", topics.PayloadCommit{Digest: d}, nil)
	f.ok("payload", "append", at(0, 100), &up) // a late repeat
	if !up.Complete || up.Offset != int64(len(data)) {
		t.Errorf("an append to a payload replies %+v", up)
	}
}

// The room of an upload is taken at begin, and given back by whatever ends it.
func TestUploadReservesItsRoom(t *testing.T) {
	f := start(t, nil)
	f.quotaBytes(10)
	one, two := []byte("12345678"), []byte("abcdefgh")
	first, second := ident.SumDigest(one), ident.SumDigest(two)
	begin := func(d ident.Digest, size int64) topics.PayloadBegin {
		return topics.PayloadBegin{Digest: d, Size: size}
	}
	f.ok("payload", "begin", begin(first, 8), nil)
	f.fails(topics.ProblemQuota, "payload", "begin", begin(second, 8))
	f.fails(topics.ProblemQuota, "payload", "begin", begin(first, 11)) // the same upload, grown
	if got := f.files(); len(got) != 1 || got[0] != first.Hex()+".8.part" {
		t.Errorf("a refused begin left %v", got)
	}
	var list topics.List[topics.PayloadUpload]
	f.ok("payload", "uploads", topics.Page{}, &list)
	if len(list.Items) != 1 || list.Items[0].Digest != first || list.Items[0].Size != 8 {
		t.Errorf("uploads %+v", list.Items)
	}
	f.ok("payload", "abort", topics.PayloadRef{Digest: first}, nil)
	f.fails(topics.ProblemUploadNotFound, "payload", "abort", topics.PayloadRef{Digest: first})
	f.fails(topics.ProblemUploadNotFound, "payload", "append", topics.PayloadAppend{Digest: first, Data: one})
	f.fails(topics.ProblemUploadNotFound, "payload", "commit", topics.PayloadCommit{Digest: first})
	if got := f.files(); len(got) != 0 {
		t.Errorf("abort left %v", got)
	}
	f.upload(operator, two)
	f.fails(topics.ProblemQuota, "payload", "begin", begin(first, 8))
	f.fails(topics.ProblemUploadNotFound, "payload", "abort", topics.PayloadRef{Digest: second}) // it is complete
	f.ok("payload", "delete", topics.PayloadRef{Digest: second}, nil)
	f.upload(operator, one)
}

// Of many uploads begun at once, no more are let in than there is room for.
func TestUploadsRaceForTheLastRoom(t *testing.T) {
	f := start(t, nil)
	f.quotaBytes(25)
	results := make(chan *topics.Problem, 8)
	var wg sync.WaitGroup
	var mu sync.Mutex // of the fixture's sequence
	for i := range 8 {
		wg.Go(func() {
			mu.Lock()
			g := *f
			g.seq = uint64(1000 * (i + 1))
			mu.Unlock()
			results <- g.do(command{p: operator, noun: "payload", verb: "begin"},
				topics.PayloadBegin{Digest: ident.SumDigest([]byte{byte(i)}), Size: 10}, nil)
		})
	}
	wg.Wait()
	close(results)
	in := 0
	for p := range results {
		switch {
		case p == nil:
			in++
		case p.Type != topics.ProblemQuota:
			t.Error(p)
		}
	}
	if got := f.files(); in != 2 || len(got) != 2 {
		t.Errorf("%d uploads of 10 bytes were let into 25; files %v", in, got)
	}
}

// A payload stays as long as a manifest fetches it.
func TestPayloadInUseIsNotDeleted(t *testing.T) {
	f := start(t, nil)
	data := []byte("new firmware")
	f.published(data)
	d, free := ident.SumDigest(data), f.upload(operator, []byte("nobody needs it"))
	f.fails(topics.ProblemPayloadInUse, "payload", "delete", topics.PayloadRef{Digest: d})
	if p := f.do(command{p: stranger, noun: "payload", verb: "delete"}, topics.PayloadRef{Digest: free}, nil); p == nil || p.Status != 404 {
		t.Errorf("a stranger's delete: %v", p)
	}
	f.ok("payload", "delete", topics.PayloadRef{Digest: free}, nil)
	f.fails(topics.ProblemPayloadNotFound, "payload", "delete", topics.PayloadRef{Digest: free})
	if got := f.files(); !slices.Equal(got, []string{d.Hex()}) {
		t.Errorf("files %v, want that of %s alone", got, d)
	}
}

// What got no byte for long is given up at the next round, room and all; what is older but got one is not.
func TestAbandonedUploadsExpire(t *testing.T) {
	f := start(t, nil)
	old, touched, young := ident.SumDigest([]byte("old")), ident.SumDigest([]byte("touched")), ident.SumDigest([]byte("young"))
	whole := f.upload(operator, []byte("whole"))
	for _, d := range []ident.Digest{old, touched, young} {
		f.ok("payload", "begin", topics.PayloadBegin{Digest: d, Size: 7}, nil)
	}
	f.stop()
	then := time.Now().Add(-25 * time.Hour)
	for _, d := range []ident.Digest{old, touched} {
		err := f.store.Update(t.Context(), func(tx campaign.Tx) error {
			return tx.PutPayload(acme, firmware.Payload{Digest: d, Size: 7, Begun: then})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{old.Hex() + ".7.part", whole.Hex()} {
		if err := os.Chtimes(filepath.Join(f.dir, acme.String(), name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	f.run()
	f.ok("payload", "list", topics.Page{}, nil) // the bridge serves
	f.expired(old)
	var list topics.List[topics.PayloadUpload]
	f.ok("payload", "uploads", topics.Page{}, &list)
	if len(list.Items) != 2 || slices.ContainsFunc(list.Items, func(u topics.PayloadUpload) bool { return u.Digest == old }) {
		t.Errorf("uploads %+v", list.Items)
	}
	got := f.files()
	slices.Sort(got)
	want := []string{touched.Hex() + ".7.part", whole.Hex(), young.Hex() + ".7.part"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

// expired waits until the record of an upload has gone, and its file.
func (f *fixture) expired(d ident.Digest) {
	f.t.Helper()
	for late := time.Now().Add(patience); time.Now().Before(late); {
		var list topics.List[topics.PayloadUpload]
		f.ok("payload", "uploads", topics.Page{}, &list)
		if !slices.ContainsFunc(list.Items, func(u topics.PayloadUpload) bool { return u.Digest == d }) && !slices.Contains(f.files(), d.Hex()+".7.part") {
			return
		}
	}
	f.t.Fatalf("the upload of %s did not expire", d)
}

// What a crash left without a record goes at the next start; what has one stays, whole or not.
func TestFilesWithoutARecordGoAtStart(t *testing.T) {
	f := start(t, nil)
	whole, orphan := f.upload(operator, []byte("whole")), ident.SumDigest([]byte("orphan"))
	half := ident.SumDigest([]byte("half"))
	f.ok("payload", "begin", topics.PayloadBegin{Digest: half, Size: 4}, nil)
	f.stop()
	for _, name := range []string{orphan.Hex(), ident.SumDigest([]byte("orphan upload")).Hex() + ".9.part"} {
		if err := os.WriteFile(filepath.Join(f.dir, acme.String(), name), []byte("orphan"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.run()
	f.ok("payload", "list", topics.Page{}, nil) // the bridge serves
	got, want := f.files(), []string{whole.Hex(), half.Hex() + ".4.part"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}
