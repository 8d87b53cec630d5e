package bridge_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

func TestServerInfo(t *testing.T) {
	f := start(t, nil)
	for _, format := range []topics.Format{topics.CBOR, topics.JSON} {
		var info topics.ServerInfo
		if p := f.do(command{p: viewer, noun: "server", verb: "info", format: format}, topics.None{}, &info); p != nil {
			t.Fatal(p)
		}
		if info.Version != "test" || info.Protocol != 1 || info.MaxAppend == 0 || info.MaxPacket == 0 {
			t.Errorf("%s: %+v", format, info)
		}
	}
	// mosquitto_rr -n sends no body at all: it is an empty JSON object.
	if m := f.raw(command{p: operator, noun: "server", verb: "info"}, nil); m.Props.ContentType != "application/json" || m.Payload[0] != '{' {
		t.Errorf("reply to an empty body: %q %q", m.Props.ContentType, m.Payload)
	}
}

func TestRequestIDIsRepeated(t *testing.T) {
	f := start(t, nil)
	ok := f.raw(command{p: operator, noun: "server", verb: "info"}, []byte(`{"request_id":"r1"}`))
	bad := f.raw(command{p: operator, noun: "no", verb: "such"}, []byte(`{"request_id":"r2"}`))
	if topics.RequestID(ok.Payload) != "r1" || topics.RequestID(bad.Payload) != "r2" {
		t.Errorf("replies %q, %q", ok.Payload, bad.Payload)
	}
}

func TestCredentialsConnectUntilRevoked(t *testing.T) {
	f := start(t, nil)
	var issued topics.CredentialIssued
	f.ok("credential", "add", topics.CredentialAdd{Role: topics.RoleDevice, Names: []ident.Name{name("d1"), name("d2")}}, &issued)
	if len(issued.Items) != 2 || issued.Items[0].User != "acme/d1" || len(issued.Items[0].Token) != 43 {
		t.Fatalf("issued %+v", issued)
	}
	connect := func(user, token string) (topics.Principal, error) {
		return f.directory.Authenticate(context.Background(), user, []byte(token), "any")
	}
	one, two := issued.Items[0], issued.Items[1]
	if p, err := connect(one.User, one.Token); err != nil || p != deviceOf(acme, "d1") {
		t.Errorf("connect: %v, %v", p, err)
	}
	for user, token := range map[string]string{one.User: two.Token, "acme/nobody": one.Token, "other/d1": one.Token, "acme": one.Token,
		"acme/d1/x": one.Token, "": "", "acme/d2": ""} {
		if p, err := connect(user, token); err == nil || !p.IsZero() {
			t.Errorf("%q may connect with %q", user, token)
		}
	}
	if p := f.fails(topics.ProblemAlreadyExists, "credential", "add", topics.CredentialAdd{Role: topics.RoleViewer, Names: []ident.Name{name("new"), name("d1")}}); len(p.Errors) != 1 || p.Errors[0].Pointer != "/names/1" {
		t.Errorf("problem %+v", p)
	}
	if _, err := connect("acme/new", ""); err == nil {
		t.Error("a failed command left a credential")
	}
	f.ok("credential", "revoke", topics.CredentialRevoke{Name: name("d1")}, nil)
	if _, err := connect(one.User, one.Token); err == nil {
		t.Error("a revoked credential may connect")
	}
	if !slices.Equal(f.ended, []topics.Principal{deviceOf(acme, "d1")}) {
		t.Errorf("disconnected %v", f.ended)
	}
	f.fails(topics.ProblemCredentialNotFound, "credential", "revoke", topics.CredentialRevoke{Name: name("nobody")})
}

func TestNobodyReachesAcrossTenantsOrRoles(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID("c1"), Manifest: m.Digest}, nil)
	for _, c := range []struct {
		p          topics.Principal
		noun, verb string
		req        any
		want       string
	}{
		{stranger, "campaign", "get", topics.CampaignRef{Campaign: campaignID("c1")}, topics.ProblemCampaignNotFound},
		{stranger, "campaign", "start", topics.CampaignRef{Campaign: campaignID("c1")}, topics.ProblemCampaignNotFound},
		{stranger, "campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, topics.ProblemCampaignNotFound},
		{stranger, "campaign", "update", topics.CampaignUpdate{Campaign: campaignID("c1")}, topics.ProblemCampaignNotFound},
		{stranger, "campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c1")}, topics.ProblemCampaignNotFound},
		{stranger, "campaign", "create", topics.CampaignCreate{Campaign: campaignID("c2"), Manifest: m.Digest}, topics.ProblemManifestNotFound},
		{stranger, "manifest", "get", topics.ManifestGet{Digest: m.Digest}, topics.ProblemManifestNotFound},
		{stranger, "device", "get", topics.DeviceGet{Device: device("dev-000")}, topics.ProblemDeviceNotFound},
		{stranger, "payload", "commit", topics.PayloadCommit{Digest: m.Payload}, topics.ProblemUploadNotFound},
		{stranger, "trust", "revoke", topics.TrustRevoke{ID: must(ident.ParseKey("author"))}, topics.ProblemAnchorNotFound},
		{stranger, "manifest", "create", topics.ManifestCreate{Envelope: f.envelope(m.Payload, 12, 8)}, topics.ProblemManifestUntrusted},
		{stranger, "credential", "list", topics.CredentialList{Tenant: acme}, topics.ProblemTenantNotFound},
		{stranger, "credential", "add", topics.CredentialAdd{Tenant: acme, Role: topics.RoleViewer, Names: []ident.Name{name("x")}}, topics.ProblemTenantNotFound},
		{operator, "credential", "add", topics.CredentialAdd{Role: topics.RoleAdmin, Names: []ident.Name{name("x")}}, topics.ProblemNotAllowed},
		{operator, "credential", "add", topics.CredentialAdd{Tenant: ident.System, Role: topics.RoleAdmin, Names: []ident.Name{name("x")}}, topics.ProblemTenantNotFound},
		{operator, "tenant", "add", topics.TenantAdd{Tenant: ident.MustTenant("mine")}, topics.ProblemNotAllowed},
		{viewer, "campaign", "start", topics.CampaignRef{Campaign: campaignID("c1")}, topics.ProblemNotAllowed},
		{viewer, "campaign", "update", topics.CampaignUpdate{Campaign: campaignID("c1")}, topics.ProblemNotAllowed},
		{viewer, "payload", "begin", topics.PayloadBegin{Digest: m.Payload, Size: 1}, topics.ProblemNotAllowed},
		{admin, "campaign", "list", topics.Page{}, topics.ProblemNotAllowed},
		{admin, "credential", "add", topics.CredentialAdd{Role: topics.RoleOperator, Names: []ident.Name{name("x")}}, topics.ProblemNotAllowed},
		{admin, "credential", "add", topics.CredentialAdd{Tenant: acme, Role: topics.RoleAdmin, Names: []ident.Name{name("x")}}, topics.ProblemNotAllowed},
		{admin, "credential", "add", topics.CredentialAdd{Tenant: ident.MustTenant("none"), Role: topics.RoleViewer, Names: []ident.Name{name("x")}}, topics.ProblemTenantNotFound},
	} {
		if p := f.do(command{p: c.p, noun: c.noun, verb: c.verb}, c.req, nil); p == nil || p.Type != c.want {
			t.Errorf("%s %s/%s: problem %v, want %s", c.p, c.noun, c.verb, p, c.want)
		}
	}
	var list topics.List[topics.CampaignView]
	if p := f.do(command{p: stranger, noun: "campaign", verb: "list"}, topics.Page{}, &list); p != nil || len(list.Items) != 0 {
		t.Errorf("another tenant's list: %v %+v", p, list)
	}
}

func TestAdminMakesATenantThatWorks(t *testing.T) {
	f := start(t, nil)
	acts := func(noun, verb string, req, reply any) {
		t.Helper()
		if p := f.do(command{p: admin, noun: noun, verb: verb}, req, reply); p != nil {
			t.Fatalf("%s/%s: %v", noun, verb, p)
		}
	}
	mine := ident.MustTenant("mine")
	acts("tenant", "add", topics.TenantAdd{Tenant: mine, Name: "Mine"}, nil)
	acts("tenant", "add", topics.TenantAdd{Tenant: mine, Name: "Mine"}, nil)
	var issued topics.CredentialIssued
	acts("credential", "add", topics.CredentialAdd{Tenant: mine, Role: topics.RoleOperator, Names: []ident.Name{name("boss")}}, &issued)
	p, err := f.directory.Authenticate(t.Context(), issued.Items[0].User, []byte(issued.Items[0].Token), "")
	if err != nil || p != (topics.Principal{Tenant: mine, Role: topics.RoleOperator, Name: name("boss")}) {
		t.Errorf("the new operator: %v, %v", p, err)
	}
	var tenants topics.List[topics.TenantView]
	acts("tenant", "list", topics.Page{}, &tenants)
	if len(tenants.Items) != 4 {
		t.Errorf("%d tenants, want 4", len(tenants.Items))
	}
}

func TestCommandIsRefused(t *testing.T) {
	f := start(t, nil)
	for what, c := range map[string]struct {
		command
		body string
		want string
	}{
		"retained":                 {command{p: operator, noun: "server", verb: "info", in: link.Inbound{Retain: true}}, "{}", topics.ProblemRetainedCommand},
		"unknown":                  {command{p: operator, noun: "server", verb: "melt"}, "{}", topics.ProblemUnknownCommand},
		"not CBOR":                 {command{p: operator, noun: "server", verb: "info"}, "\xff\xff\xff", topics.ProblemMalformedBody},
		"not JSON":                 {command{p: operator, noun: "server", verb: "info"}, "{", topics.ProblemMalformedBody},
		"nested CBOR":              {command{p: operator, noun: "server", verb: "info"}, strings.Repeat("\xa1\x01", 1<<16), topics.ProblemMalformedBody},
		"member twice":             {command{p: operator, noun: "device", verb: "get"}, `{"device":"a","device":"b"}`, topics.ProblemMalformedBody},
		"missing member":           {command{p: operator, noun: "device", verb: "get"}, `{}`, topics.ProblemInvalidRequest},
		"bad identifier":           {command{p: operator, noun: "device", verb: "get"}, `{"device":"a/b"}`, topics.ProblemMalformedBody},
		"wildcard identifier":      {command{p: operator, noun: "device", verb: "get"}, `{"device":"+"}`, topics.ProblemMalformedBody},
		"list too long":            {command{p: operator, noun: "device", verb: "list"}, `{"limit":501}`, topics.ProblemInvalidRequest},
		"cursor of nothing":        {command{p: operator, noun: "device", verb: "list"}, `{"cursor":"a/b"}`, topics.ProblemInvalidRequest},
		"no such state":            {command{p: operator, noun: "campaign", verb: "devices"}, `{"campaign":"c","state":"happy"}`, topics.ProblemInvalidRequest},
		"idempotency key too long": {command{p: operator, noun: "server", verb: "info", key: strings.Repeat("k", 129)}, "{}", topics.ProblemInvalidRequest},
	} {
		m := f.raw(c.command, []byte(c.body))
		p := topics.DecodeProblem(m.Payload)
		if p == nil || p.Type != c.want || m.Props.Get("status") != fmt.Sprint(p.Status) {
			t.Errorf("%s: %q, want %s", what, m.Payload, c.want)
		}
	}
}

func TestResponseTopicMustBeTheSendersOwn(t *testing.T) {
	f := start(t, nil)
	own := topics.ReplyTopic(acme, operator.Name)
	for asked, want := range map[string]string{
		own:                                         "",
		own + "/session-1":                          "",
		topics.ReplyTopic(acme, viewer.Name):        topics.ProblemResponseTopicDenied,
		topics.ReplyTopic(other, operator.Name):     topics.ProblemResponseTopicDenied,
		topics.ManifestTopic(acme, device("d1")):    topics.ProblemResponseTopicDenied,
		topics.CommandTopic(acme, "server", "info"): topics.ProblemResponseTopicDenied,
		own + "/#":                                  topics.ProblemResponseTopicDenied,
		"$SYS/anything":                             topics.ProblemResponseTopicDenied,
	} {
		m := f.raw(command{p: operator, noun: "server", verb: "info", in: link.Inbound{Props: link.Properties{ResponseTopic: asked}}}, []byte("{}"))
		p := topics.DecodeProblem(m.Payload)
		switch {
		case want == "" && (p != nil || m.Topic != asked):
			t.Errorf("%s: answered on %s with %q", asked, m.Topic, m.Payload)
		case want != "" && (p == nil || p.Type != want || m.Topic != own):
			t.Errorf("%s: answered on %s with %q, want %s on %s", asked, m.Topic, m.Payload, want, own)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	create := command{p: operator, noun: "campaign", verb: "create", key: "k1"}
	body := must(topics.Encode(topics.CampaignCreate{Campaign: campaignID("c1"), Manifest: m.Digest}, topics.CBOR))
	first, again := f.raw(create, body), f.raw(create, body)
	if first.Props.Get("status") != "200" || string(first.Payload) != string(again.Payload) {
		t.Errorf("the second reply is not the first one: %q, %q", first.Payload, again.Payload)
	}
	changed := must(topics.Encode(topics.CampaignCreate{Campaign: campaignID("c2"), Manifest: m.Digest}, topics.CBOR))
	if p := topics.DecodeProblem(f.raw(create, changed).Payload); p == nil || p.Type != topics.ProblemIdempotencyMismatch {
		t.Errorf("another body under the same key: %v", p)
	}
	f.fails(topics.ProblemCampaignNotFound, "campaign", "get", topics.CampaignRef{Campaign: campaignID("c2")})
	without := create
	without.key = ""
	if p := topics.DecodeProblem(f.raw(without, body).Payload); p == nil || p.Type != topics.ProblemAlreadyExists {
		t.Errorf("again without a key: %v", p)
	}
	// A key is its principal's own.
	theirs := command{p: stranger, noun: "campaign", verb: "create", key: "k1"}
	if p := topics.DecodeProblem(f.raw(theirs, body).Payload); p == nil || p.Type != topics.ProblemManifestNotFound {
		t.Errorf("another principal's use of the key: %v", p)
	}
}

// keeper shows what is stored as a reply.
type keeper struct {
	campaign.Store
	replies [][]byte
}

type keeperTx struct {
	campaign.Tx
	k *keeper
}

func (k *keeper) Update(ctx context.Context, fn func(campaign.Tx) error) error {
	return k.Store.Update(ctx, func(tx campaign.Tx) error { return fn(keeperTx{tx, k}) })
}

func (k keeperTx) PutReply(t ident.Tenant, n ident.Name, key string, r campaign.StoredReply) error {
	k.k.replies = append(k.k.replies, r.Reply, []byte(key))
	return k.Tx.PutReply(t, n, key, r)
}

func TestTokensAreRepeatedButNotStored(t *testing.T) {
	k := &keeper{}
	f := start(t, func(s campaign.Store) campaign.Store { k.Store = s; return k })
	add := command{p: operator, noun: "credential", verb: "add", key: "a-random-key"}
	req := topics.CredentialAdd{Role: topics.RoleDevice, Names: []ident.Name{name("d1")}}
	var first, again topics.CredentialIssued
	if p := f.do(add, req, &first); p != nil {
		t.Fatal(p)
	}
	if p := f.do(add, req, &again); p != nil {
		t.Fatal(p)
	}
	token := first.Items[0].Token
	if again.Items[0].Token != token {
		t.Error("the repeated command gives another token")
	}
	if _, err := f.directory.Authenticate(t.Context(), "acme/d1", []byte(token), ""); err != nil {
		t.Error(err)
	}
	if len(k.replies) == 0 {
		t.Fatal("no reply was stored")
	}
	for _, r := range k.replies {
		if strings.Contains(string(r), token) || strings.Contains(string(r), add.key) {
			t.Errorf("the store holds the token or the key that opens it: %q", r)
		}
	}
}

func TestUploadRefusals(t *testing.T) {
	f := start(t, nil)
	data := []byte("new firmware")
	d := ident.SumDigest(data)
	f.fails(topics.ProblemUploadNotFound, "payload", "append", topics.PayloadAppend{Digest: d, Data: data})
	f.fails(topics.ProblemTooLarge, "payload", "begin", topics.PayloadBegin{Digest: d, Size: 1 << 40})
	f.ok("payload", "begin", topics.PayloadBegin{Digest: d, Size: int64(len(data))}, nil)
	f.fails(topics.ProblemUploadOffset, "payload", "append", topics.PayloadAppend{Digest: d, Offset: 5, Data: data})
	f.fails(topics.ProblemUploadOffset, "payload", "commit", topics.PayloadCommit{Digest: d})
	wrong := []byte("old firmware")
	f.ok("payload", "append", topics.PayloadAppend{Digest: d, Data: wrong}, nil)
	f.fails(topics.ProblemDigestMismatch, "payload", "commit", topics.PayloadCommit{Digest: d})
	var list topics.List[topics.PayloadView]
	f.ok("payload", "list", topics.Page{}, &list)
	if len(list.Items) != 0 {
		t.Errorf("a payload that was never committed is listed: %+v", list.Items)
	}
	f.upload(operator, data)
	f.upload(operator, data) // all of it again changes nothing
	f.ok("payload", "list", topics.Page{}, &list)
	if len(list.Items) != 1 || list.Items[0].Digest != d || list.Items[0].Size != int64(len(data)) || list.Items[0].Name != "image.bin" {
		t.Errorf("payloads %+v", list.Items)
	}
}

// TestManifestOfAnUncommittedPayloadIsRefused has the bytes of a payload, whole, but no commit of its record: a crash in
// between leaves it so. Committing makes it good.
func TestManifestOfAnUncommittedPayloadIsRefused(t *testing.T) {
	f := start(t, nil)
	f.trust(operator)
	data := []byte("new firmware")
	d := ident.SumDigest(data)
	f.ok("payload", "begin", topics.PayloadBegin{Digest: d, Size: int64(len(data))}, nil)
	f.ok("payload", "append", topics.PayloadAppend{Digest: d, Data: data}, nil)
	if err := f.catalogue.Commit(acme, d); err != nil {
		t.Fatal(err)
	}
	req := topics.ManifestCreate{Envelope: f.envelope(d, len(data), 7)}
	f.fails(topics.ProblemPayloadNotFound, "manifest", "create", req)
	f.ok("payload", "commit", topics.PayloadCommit{Digest: d}, nil)
	f.ok("manifest", "create", req, nil)
}

func TestCampaignCommandConflicts(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	ref := topics.CampaignRef{Campaign: campaignID("c1")}
	bad := 101.0
	f.fails(topics.ProblemInvalidRequest, "campaign", "create", topics.CampaignCreate{Campaign: ref.Campaign, Manifest: m.Digest, Policy: topics.Policy{SuccessPercent: &bad}})
	f.fails(topics.ProblemInvalidRequest, "campaign", "create", topics.CampaignCreate{Campaign: ref.Campaign, Manifest: m.Digest,
		Policy: topics.Policy{Waves: []topics.Wave{{Percent: 60}, {Percent: 60}, {Percent: 1}}}})
	var v topics.CampaignView
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: ref.Campaign, Manifest: m.Digest, Description: "first"}, &v)
	if v.State != "draft" || v.CreatedBy != "ops" || *v.Policy.SuccessPercent != 90 || v.Policy.MinSample != 20 || len(v.Policy.Waves) != 1 {
		t.Errorf("draft %+v", v)
	}
	f.fails(topics.ProblemWrongPhase, "campaign", "stop", ref)
	words := "second"
	edit := topics.CampaignUpdate{Campaign: ref.Campaign, Description: &words, Policy: &topics.Policy{InFlight: 7}, IfRevision: v.Revision}
	f.ok("campaign", "update", edit, &v)
	if v.Description != words || v.Policy.InFlight != 7 || *v.Policy.SuccessPercent != 90 || v.Revision != 2 {
		t.Errorf("edited draft %+v", v)
	}
	f.fails(topics.ProblemRevisionConflict, "campaign", "update", edit)
	f.fails(topics.ProblemRevisionConflict, "campaign", "start", topics.CampaignRef{Campaign: ref.Campaign, IfRevision: v.Revision + 1})
	f.ok("campaign", "start", topics.CampaignRef{Campaign: ref.Campaign, IfRevision: v.Revision}, nil)
	f.fails(topics.ProblemWrongPhase, "campaign", "start", ref)
	f.fails(topics.ProblemWrongPhase, "campaign", "update", topics.CampaignUpdate{Campaign: ref.Campaign, Policy: &topics.Policy{}})
	f.ok("campaign", "update", topics.CampaignUpdate{Campaign: ref.Campaign, Description: &words}, nil)
	f.fails(topics.ProblemCampaignNotFound, "campaign", "start", topics.CampaignRef{Campaign: campaignID("none")})
}

func TestListsPageThroughEverything(t *testing.T) {
	f := start(t, func(s campaign.Store) campaign.Store { return storetest.Rerun(s) })
	m := f.published([]byte("new firmware"))
	ids := f.fleet(25)
	f.launch("c1", m.Digest, topics.Policy{})
	for _, id := range ids {
		f.offered(id, 0)
	}
	for what, c := range map[string]struct {
		noun, verb string
		req        func(topics.Page) any
		max        uint32
	}{
		"devices":               {"device", "list", func(p topics.Page) any { return p }, 0},
		"devices, small client": {"device", "list", func(p topics.Page) any { return p }, 1200},
		"assignments":           {"campaign", "devices", func(p topics.Page) any { return topics.CampaignDevices{Page: p, Campaign: campaignID("c1")} }, 0},
		"assignments by state": {"campaign", "devices", func(p topics.Page) any {
			return topics.CampaignDevices{Page: p, Campaign: campaignID("c1"), State: "offered"}
		}, 0},
	} {
		seen := map[ident.Device]bool{}
		pages := 0
		for page := (topics.Page{Limit: 10}); ; pages++ {
			var list topics.List[struct {
				Device ident.Device `json:"device" cbor:"1,keyasint"`
			}]
			cmd := command{p: viewer, noun: c.noun, verb: c.verb, format: topics.JSON, in: link.Inbound{MaxPacket: c.max}}
			if p := f.do(cmd, c.req(page), &list); p != nil {
				t.Fatalf("%s: %v", what, p)
			}
			for _, d := range list.Items {
				if seen[d.Device] {
					t.Errorf("%s: %s is listed twice", what, d.Device)
				}
				seen[d.Device] = true
			}
			if page.Cursor = list.Next; page.Cursor == "" || pages > 30 {
				break
			}
		}
		if len(seen) != len(ids) || pages < 2 {
			t.Errorf("%s: %d of %d devices in %d pages", what, len(seen), len(ids), pages+1)
		}
	}
}

func TestReplyThatDoesNotFitIsAProblem(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	c := command{p: operator, noun: "manifest", verb: "get", in: link.Inbound{MaxPacket: 330}}
	if p := f.do(c, topics.ManifestGet{Digest: m.Digest}, nil); p == nil || p.Type != topics.ProblemTooLarge {
		t.Errorf("problem %v", p)
	}
}

// TestDeviceAddAgainChangesOnlyWhatItNames adds to devices that are known already: each request leaves the rest alone.
func TestDeviceAddAgainChangesOnlyWhatItNames(t *testing.T) {
	f := start(t, nil)
	class := firmware.ClassID(vendor, "lamp")
	other := firmware.ClassID(vendor, "door")
	d1 := device("d1")
	want := topics.DeviceAdd{Vendor: vendor, Class: class, Labels: map[string]string{"site": "roof"}}
	for _, step := range []struct {
		what string
		req  topics.DeviceAdd
		then func()
	}{
		{"all of it", topics.DeviceAdd{Device: d1, Vendor: vendor, Class: class, Labels: want.Labels}, func() {}},
		{"nothing", topics.DeviceAdd{Device: d1}, func() {}},
		{"labels", topics.DeviceAdd{Device: d1, Labels: map[string]string{"site": "cellar"}}, func() { want.Labels = map[string]string{"site": "cellar"} }},
		{"class", topics.DeviceAdd{Device: d1, Vendor: vendor, Class: other}, func() { want.Class = other }},
	} {
		step.then()
		var v topics.DeviceView
		f.ok("device", "add", step.req, &v)
		if v.Vendor != want.Vendor || v.Class != want.Class || !maps.Equal(v.Labels, want.Labels) {
			t.Errorf("after a request that names %s: %+v", step.what, v)
		}
	}
}

func TestDeviceAdd(t *testing.T) {
	f := start(t, nil)
	var v topics.DeviceView
	req := topics.DeviceAdd{Device: device("d1"), Vendor: vendor, Class: firmware.ClassID(vendor, "lamp"), Labels: map[string]string{"site": "roof"}, Credential: true}
	f.ok("device", "add", req, &v)
	if _, err := f.directory.Authenticate(t.Context(), v.User, []byte(v.Token), ""); err != nil || v.User != "acme/d1" {
		t.Errorf("%q: %v", v.User, err)
	}
	f.fails(topics.ProblemAlreadyExists, "device", "add", req)
	f.link.mu.Lock()
	f.link.online[deviceOf(acme, "d1")] = true
	f.link.mu.Unlock()
	f.hello("d1", topics.Hello{Seq: 1, Labels: map[string]string{"rev": "b"}})
	v = topics.DeviceView{}
	f.ok("device", "get", topics.DeviceGet{Device: device("d1")}, &v)
	if !v.Connected || v.Token != "" || v.Labels["site"] != "roof" || v.Facts["rev"] != "b" || v.LastSeen.IsZero() {
		t.Errorf("device %+v", v)
	}
}
