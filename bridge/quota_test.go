package bridge_test

import (
	"testing"

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
