package bridge_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// served has one device with a live assignment of a payload of n bytes.
func served(t *testing.T, n int) (*fixture, topics.ManifestView, []byte) {
	t.Helper()
	return servedBy(t, n, nil)
}

// servedBy is served with something between the bridge and its store.
func servedBy(t *testing.T, n int, wrap func(campaign.Store) campaign.Store) (*fixture, topics.ManifestView, []byte) {
	t.Helper()
	f := start(t, wrap)
	data := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	if _, err := rng.Read(data); err != nil {
		t.Fatal(err)
	}
	m := f.published(data)
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	return f, m, data
}

func (f *fixture) fetch(p topics.Principal, q topics.Fetch, max uint32, broken error) *outcome {
	f.t.Helper()
	if q.Token.IsZero() {
		q.Token = must(ident.ParseToken("t1"))
	}
	topic := topics.FetchTopic(p.Tenant, must(ident.ParseDevice(p.Name.String())))
	in := link.Inbound{Topic: topic, Payload: must(topics.Encode(q, topics.CBOR)), MaxPacket: max}
	if broken != nil {
		in.Reply = replier{broken: broken, takes: f.link.takes}
	}
	return f.link.publish(f.t, p, in)
}

func TestFetchServesExactlyTheWantedChunks(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		const size = 300_000
		f, m, data := served(t, size)
		f.link.takes = how
		dev := deviceOf(acme, "dev-000")
		for what, c := range map[string]struct {
			q    topics.Fetch
			want []uint32
		}{
			"window":              {topics.Fetch{Size: 1000, First: 10, Count: 3}, []uint32{10, 11, 12}},
			"bitmap":              {topics.Fetch{Size: 1000, First: 10, Count: 10, Bitmap: []byte{0b10000001, 0b10}}, []uint32{10, 17, 19}},
			"short last chunk":    {topics.Fetch{Size: 7000, First: 42, Count: 1}, []uint32{42}},
			"window over the end": {topics.Fetch{Size: 1000, First: 298, Count: 100}, []uint32{298, 299}},
			"largest chunks":      {topics.Fetch{Size: topics.MaxChunk, First: 0, Count: 2}, []uint32{0, 1}},
			"smallest chunks":     {topics.Fetch{Size: topics.MinChunk, First: 0, Count: topics.MaxWindow}, upTo(topics.MaxWindow)},
		} {
			c.q.Digest = m.Payload
			out := f.fetch(dev, c.q, 0, nil)
			if !out.done || out.code != link.Success || len(out.sent) != len(c.want) {
				t.Fatalf("%s: %d chunks, want %d; %+v", what, len(out.sent), len(c.want), out.code)
			}
			for i, sent := range out.sent {
				off := int(c.want[i]) * int(c.q.Size)
				want := data[off:min(off+int(c.q.Size), size)]
				if sent.Topic != topics.ChunkTopic(acme, device("dev-000"), must(ident.ParseToken("t1")), c.want[i]) || !bytes.Equal(sent.Payload, want) {
					t.Errorf("%s: chunk %d on %s is wrong", what, i, sent.Topic)
				}
				if sent.Retain || sent.QoS != 0 || len(sent.Props.User) != 0 {
					t.Errorf("%s: a chunk must be plain: %+v", what, sent.Props)
				}
			}
		}
		if s := f.bridge.Stats(); s.Fetches != 6 || s.FetchErrors != 0 || s.Chunks != 11+1024 || s.ChunkBytes == 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func upTo(n uint32) []uint32 {
	var l []uint32
	for i := range n {
		l = append(l, i)
	}
	return l
}

func TestFetchIsRefused(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, _ := served(t, 100_000)
		f.link.takes = how
		dev := deviceOf(acme, "dev-000")
		ok := topics.Fetch{Digest: m.Payload, Size: 1000, Count: 1}
		with := func(change func(*topics.Fetch)) topics.Fetch { q := ok; change(&q); return q }
		for what, c := range map[string]struct {
			p    topics.Principal
			q    topics.Fetch
			max  uint32
			want string
		}{
			"other payload":         {dev, with(func(q *topics.Fetch) { q.Digest = ident.SumDigest(nil) }), 0, topics.ProblemFetchNotAssigned},
			"manifest's own digest": {dev, with(func(q *topics.Fetch) { q.Digest = m.Digest }), 0, topics.ProblemFetchNotAssigned},
			"device without work":   {deviceOf(acme, "dev-999"), ok, 0, topics.ProblemFetchNotAssigned},
			"other tenant's device": {deviceOf(other, "dev-000"), ok, 0, topics.ProblemFetchNotAssigned},
			"behind the end":        {dev, with(func(q *topics.Fetch) { q.First = 100 }), 0, topics.ProblemFetchOutOfRange},
			"far behind the end":    {dev, with(func(q *topics.Fetch) { q.First = 1<<32 - 2 }), 0, topics.ProblemFetchOutOfRange},
			"chunk too small":       {dev, with(func(q *topics.Fetch) { q.Size = 1 }), 0, topics.ProblemFetchInvalid},
			"chunk too large":       {dev, with(func(q *topics.Fetch) { q.Size = 1 << 30 }), 0, topics.ProblemFetchInvalid},
			"no chunk":              {dev, with(func(q *topics.Fetch) { q.Count = 0 }), 0, topics.ProblemFetchInvalid},
			"too many chunks":       {dev, with(func(q *topics.Fetch) { q.Count = 1 << 31 }), 0, topics.ProblemFetchInvalid},
			"empty bitmap":          {dev, with(func(q *topics.Fetch) { q.Bitmap = []byte{0} }), 0, topics.ProblemFetchInvalid},
			"client's packet limit": {dev, ok, 900, topics.ProblemChunkTooLarge},
		} {
			out := f.fetch(c.p, c.q, c.max, nil)
			if !out.done || len(out.sent) != 1 {
				t.Errorf("%s: %+v", what, out)
				continue
			}
			p := topics.DecodeProblem(out.sent[0].Payload)
			if p == nil || p.Type != c.want || !strings.HasSuffix(out.sent[0].Topic, "/chunk/t1/error") {
				t.Errorf("%s: %v on %s, want %s", what, p, out.sent[0].Topic, c.want)
			}
		}
	})
}

func TestWindowIsBounded(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, _ := served(t, 100)
		f.link.takes = how
		if out := f.fetch(deviceOf(acme, "dev-000"), topics.Fetch{Digest: m.Payload, Size: topics.MaxChunk, Count: topics.MaxWindow}, 0, nil); len(out.sent) != 1 {
			t.Errorf("a window beyond the end: %+v", out.sent)
		}
		big, m, _ := served(t, 5<<20)
		big.link.takes = how
		out := big.fetch(deviceOf(acme, "dev-000"), topics.Fetch{Digest: m.Payload, Size: topics.MaxChunk, Count: 20}, 0, nil)
		if p := topics.DecodeProblem(out.sent[0].Payload); p == nil || p.Type != topics.ProblemFetchInvalid || len(out.sent) != 1 {
			t.Errorf("a window of 5 MiB: %v", p)
		}
	})
}

func TestFetchOnABrokenConnectionEndsQuietly(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, _ := served(t, 100_000)
		f.link.takes = how
		out := f.fetch(deviceOf(acme, "dev-000"), topics.Fetch{Digest: m.Payload, Size: 1000, Count: 100}, 0, errors.New("connection reset"))
		f.bridge.AwaitFetches()
		if !out.done || len(out.sent) != 0 {
			t.Errorf("%+v", out)
		}
		if s := f.bridge.Stats(); s.Chunks != 0 {
			t.Errorf("%d chunks are counted that nobody got", s.Chunks)
		}
	})
}

func TestFetchEndsWithTheAssignment(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, _ := served(t, 1000)
		f.link.takes = how
		f.update("dev-000", m, 2)
		out := f.fetch(deviceOf(acme, "dev-000"), topics.Fetch{Digest: m.Payload, Size: 1000, Count: 1}, 0, nil)
		if p := topics.DecodeProblem(out.sent[0].Payload); p == nil || p.Type != topics.ProblemFetchNotAssigned {
			t.Errorf("a confirmed device is served: %v", p)
		}
	})
}

func TestReportVerdictsAndReceipts(t *testing.T) {
	f, m, _ := served(t, 1000)
	for _, c := range []struct {
		what string
		r    topics.Report
		want topics.Verdict
	}{
		{"first", topics.Report{Seq: 5, Manifest: m.Digest, State: topics.WordReceived}, topics.VerdictRecorded},
		{"again", topics.Report{Seq: 5, Manifest: m.Digest, State: topics.WordReceived}, topics.VerdictDuplicate},
		{"older", topics.Report{Seq: 4, Manifest: m.Digest, State: topics.WordFailed}, topics.VerdictStale},
		{"word of the future", topics.Report{Seq: 6, Manifest: m.Digest, State: "meditating"}, topics.VerdictRecorded},
		{"foreign manifest", topics.Report{Seq: 7, Manifest: m.Payload, State: topics.WordInstalled}, topics.VerdictUnknown},
	} {
		c.r.Receipt = true
		out := f.report("dev-000", c.r)
		if !out.done || out.code != link.Success || len(out.sent) != 1 || out.sent[0].Topic != topics.ReceiptTopic(acme, device("dev-000")) {
			t.Fatalf("%s: %+v", c.what, out)
		}
		got, _, err := topics.DecodeReceipt(out.sent[0].Payload)
		if err != nil || got.Seq != c.r.Seq || got.Verdict != c.want {
			t.Errorf("%s: receipt %+v, %v, want %s", c.what, got, err, c.want)
		}
	}
	if out := f.report("dev-000", topics.Report{Seq: 8, Manifest: m.Digest, State: topics.WordReceived}); len(out.sent) != 0 {
		t.Error("a receipt that nobody asked for")
	}
	if s := f.bridge.Stats(); s.Recorded != 3 || s.Duplicates != 1 || s.Stale != 1 || s.Unknown != 1 {
		t.Errorf("stats %+v", s)
	}
	f.audit()
}

// TestGarbageOnEveryTopic: whatever comes in, the message is ended, nothing is stored, the bridge lives.
func TestGarbageOnEveryTopic(t *testing.T) {
	f := start(t, nil)
	dev := deviceOf(acme, "dev-000")
	d := device("dev-000")
	bodies := [][]byte{nil, {0}, {0xff}, []byte("{"), []byte("[]"), []byte("null"), {0xa0}, {0xf6}, bytes.Repeat([]byte{0x81}, 1<<20), bytes.Repeat([]byte("["), 1<<20),
		bytes.Repeat([]byte("\xa1\x01"), 1<<19), {0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte(`{"seq":-1}`), []byte(`{"seq":1e400}`), []byte("\xa1\x01\x1b\xff\xff\xff\xff\xff\xff\xff\xff")}
	count := 0
	for _, topic := range []string{topics.HelloTopic(acme, d), topics.ReportTopic(acme, d), topics.FetchTopic(acme, d)} {
		for _, body := range bodies {
			out := f.link.publish(t, dev, link.Inbound{Topic: topic, Payload: body, QoS: 1})
			if !out.done || out.code != link.PayloadFormatError {
				t.Errorf("%s with %.20q: %+v", topic, body, out)
			}
			count++
		}
	}
	for _, body := range bodies {
		c := command{p: operator, noun: "campaign", verb: "create"}
		if p := topics.DecodeProblem(f.raw(c, body).Payload); p == nil || p.Status >= 500 {
			t.Errorf("command with %.20q: %v", body, p)
		}
	}
	if s := f.bridge.Stats(); s.Undecodable != uint64(count) {
		t.Errorf("%d undecodable messages are counted, want %d", s.Undecodable, count)
	}
	f.fails(topics.ProblemDeviceNotFound, "device", "get", topics.DeviceGet{Device: d})
}

func TestMisplacedMessages(t *testing.T) {
	f := start(t, nil)
	dev := deviceOf(acme, "dev-000")
	hello := must(topics.Encode(topics.Hello{Seq: 1, Vendor: vendor, Class: class}, topics.CBOR))
	for what, c := range map[string]struct {
		p     topics.Principal
		topic string
		want  link.Code
	}{
		"another device":            {dev, topics.HelloTopic(acme, device("dev-001")), link.NotAuthorized},
		"another tenant":            {dev, topics.HelloTopic(other, device("dev-000")), link.NotAuthorized},
		"operator as a device":      {topics.Principal{Tenant: acme, Role: topics.RoleOperator, Name: name("dev-000")}, topics.HelloTopic(acme, device("dev-000")), link.NotAuthorized},
		"nobody":                    {topics.Principal{}, topics.HelloTopic(acme, device("dev-000")), link.NotAuthorized},
		"another tenant's commands": {operator, topics.CommandTopic(other, "server", "info"), link.NotAuthorized},
		"a downlink channel":        {dev, topics.ManifestTopic(acme, device("dev-000")), link.TopicNameInvalid},
		"no topic of ours":          {dev, "fleet/v2/acme/device/dev-000/hello", link.TopicNameInvalid},
	} {
		if out := f.link.publish(t, c.p, link.Inbound{Topic: c.topic, Payload: hello, QoS: 1}); !out.done || out.code != c.want {
			t.Errorf("%s: %+v, want code %#x", what, out, c.want)
		}
	}
	f.fails(topics.ProblemDeviceNotFound, "device", "get", topics.DeviceGet{Device: device("dev-000")})
}
