package bridge_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// TestQuota: an admin sets it, the tenant reads it and is held to it.
func TestQuota(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("payload of the quota"))
	f.fleet(3)
	set := func(req topics.QuotaSet) (v topics.QuotaView) {
		t.Helper()
		req.Tenant = acme
		if p := f.do(command{p: admin, noun: "quota", verb: "set"}, req, &v); p != nil {
			t.Fatal(p)
		}
		return v
	}
	bytes := int64(30)
	if v := set(topics.QuotaSet{Grant: 4, Bytes: &bytes, Reason: "trial"}); !v.Counted || v.Free != 4 || v.Bytes != 30 {
		t.Errorf("%+v", v)
	}
	f.fails(topics.ProblemQuota, "payload", "begin", topics.PayloadBegin{Digest: m.Digest, Size: 20})
	f.fails(topics.ProblemUploadNotFound, "payload", "append", topics.PayloadAppend{Digest: m.Digest, Data: []byte("x")})
	f.fails(topics.ProblemNotAllowed, "quota", "set", topics.QuotaSet{Tenant: acme, Grant: 9})
	f.launch("c", m.Digest, topics.Policy{})
	f.progress("c", "offers", func(p topics.Progress) bool { return p.Counts["offered"] == 3 })
	f.launch("d", m.Digest, topics.Policy{})
	p := f.progress("d", "end", func(p topics.Progress) bool { return p.State == "stopped" })
	if p.Outcome != "refused" {
		t.Errorf("%+v", p)
	}
	var v topics.QuotaView
	f.ok("quota", "get", topics.QuotaGet{}, &v)
	if v.Free != 1 || v.Reserved != 3 {
		t.Errorf("%+v", v)
	}
	var ledger topics.List[topics.LedgerView]
	f.ok("quota", "ledger", topics.QuotaLedger{}, &ledger)
	if len(ledger.Items) != 2 || ledger.Items[0].Reason != "trial" || ledger.Items[1].Campaign != campaignID("c") {
		t.Errorf("%+v", ledger.Items)
	}
}

// TestQuotaOfDevicesIsRaced: of many devices that come at once only as many as there is room for are registered, added or
// by their own hello; the others are told, and the operator sees them.
func TestQuotaOfDevicesIsRaced(t *testing.T) {
	const limit, each = 7, 20
	f := start(t, nil)
	most := limit
	if p := f.do(command{p: admin, noun: "quota", verb: "set"}, topics.QuotaSet{Tenant: acme, Devices: &most}, nil); p != nil {
		t.Fatal(p)
	}
	var wg sync.WaitGroup
	var added, greeted, away, refused atomic.Int64
	for i, id := range deviceNames(2 * each) {
		wg.Go(func() {
			if i%2 == 0 {
				switch out := f.hello(id, topics.Hello{Seq: 1}); {
				case out.done && out.code == link.Success:
					greeted.Add(1)
				case out.done && out.code == link.QuotaExceeded:
					away.Add(1)
				default:
					t.Errorf("%s: %+v", id, out)
				}
				return
			}
			out := f.publishCommand(operator, "device", "add", topics.DeviceAdd{Device: device(id)})
			switch p := topics.DecodeProblem(out); {
			case p == nil:
				added.Add(1)
			case p.Type == topics.ProblemQuota:
				refused.Add(1)
			default:
				t.Errorf("%s: %v", id, p)
			}
		})
	}
	wg.Wait()
	if n := added.Load() + greeted.Load(); n != limit || n+away.Load()+refused.Load() != 2*each {
		t.Errorf("%d added, %d greeted, %d away, %d refused", added.Load(), greeted.Load(), away.Load(), refused.Load())
	}
	var v topics.QuotaView
	f.ok("quota", "get", topics.QuotaGet{}, &v)
	if v.Registered != limit || v.Devices != limit || v.TurnedAway != uint64(away.Load()) || len(v.Waiting) != int(away.Load()) {
		t.Errorf("%+v", v)
	}
	if v := f.check(); v.Registered != limit || len(v.Faults) != 0 {
		t.Errorf("%+v", v)
	}
	if got := f.bridge.Stats(); got.TurnedAway != uint64(away.Load()) {
		t.Errorf("%d counted as turned away", got.TurnedAway)
	}
	var theirs topics.QuotaView
	if p := f.do(command{p: stranger, noun: "quota", verb: "get"}, topics.QuotaGet{}, &theirs); p != nil || theirs.Registered != 0 || len(theirs.Waiting) != 0 {
		t.Errorf("another tenant sees %v, %+v", p, theirs)
	}
}

func deviceNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("n-%03d", i)
	}
	return out
}

// publishCommand sends a command from any goroutine and returns the body of its reply.
func (f *fixture) publishCommand(p topics.Principal, noun, verb string, req any) []byte {
	id := ident.SumDigest(fmt.Append(nil, noun, verb, req))
	in := link.Inbound{Topic: topics.CommandTopic(p.Tenant, noun, verb), Payload: must(topics.Encode(req, topics.JSON)), QoS: 1}
	in.Props.CorrelationData = id[:]
	if out := f.link.publish(f.t, p, in); !out.done {
		f.t.Errorf("%s/%s was not done: %v", noun, verb, out.err)
	}
	for _, m := range f.link.on(topics.ReplyTopic(p.Tenant, p.Name)) {
		if bytes.Equal(m.Props.CorrelationData, id[:]) {
			return m.Payload
		}
	}
	f.t.Errorf("%s/%s was not answered", noun, verb)
	return nil
}
