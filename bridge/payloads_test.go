package bridge_test

import (
	"errors"
	"io"
	"testing"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

func problemType(err error) string {
	var p *topics.Problem
	if errors.As(err, &p) {
		return p.Type
	}
	return ""
}

// Who reads a payload elsewhere than in chunks reads what chunks would give it, and no more.
func TestPayloadsAreOpenToWhoMayFetch(t *testing.T) {
	f, m, data := served(t, 5000)
	spare := f.upload(operator, []byte("no manifest fetches it"))
	half := ident.SumDigest([]byte("half"))
	f.ok("payload", "begin", topics.PayloadBegin{Digest: half, Size: 4}, nil)
	p := f.bridge.Payloads()
	for what, c := range map[string]struct {
		by   topics.Principal
		d    ident.Digest
		want string // problem, "" for none
	}{
		"operator":                     {operator, m.Payload, ""},
		"viewer":                       {viewer, m.Payload, ""},
		"operator, without a manifest": {operator, spare, ""},
		"operator, unfinished":         {operator, half, topics.ProblemPayloadNotFound},
		"device with the offer":        {deviceOf(acme, "dev-000"), m.Payload, ""},
		"device, another payload":      {deviceOf(acme, "dev-000"), spare, topics.ProblemFetchNotAssigned},
		"device without the offer":     {deviceOf(acme, "dev-999"), m.Payload, topics.ProblemFetchNotAssigned},
		"another tenant's operator":    {stranger, m.Payload, topics.ProblemPayloadNotFound},
		"another tenant's device":      {deviceOf(other, "dev-000"), m.Payload, topics.ProblemFetchNotAssigned},
		"the platform's admin":         {admin, m.Payload, topics.ProblemNotAllowed},
	} {
		content, size, err := p.Open(t.Context(), c.by, c.d)
		if problemType(err) != c.want || c.want == "" && err != nil {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		if err != nil {
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(content, 0, size))
		if err := errors.Join(err, content.Close()); err != nil || c.d == m.Payload && string(got) != string(data) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	f.update("dev-000", m, 2)
	if _, _, err := p.Open(t.Context(), deviceOf(acme, "dev-000"), m.Payload); problemType(err) != topics.ProblemFetchNotAssigned {
		t.Errorf("after the update: %v", err)
	}
}

// The calls are the commands: roles, quota and audit log are theirs.
func TestPayloadsAreTheCommands(t *testing.T) {
	f := start(t, nil)
	f.quotaBytes(10)
	p, data := f.bridge.Payloads(), []byte("12345678")
	d := ident.SumDigest(data)
	req := topics.PayloadBegin{Digest: d, Size: int64(len(data)), Name: "x"}
	for _, by := range []topics.Principal{viewer, admin, deviceOf(acme, "dev-000")} {
		_, begin := p.Begin(t.Context(), by, req)
		_, add := p.Append(t.Context(), by, d, 0, data)
		_, commit := p.Commit(t.Context(), by, d)
		_, upload := p.Upload(t.Context(), by, d)
		for _, err := range []error{begin, add, commit, upload} {
			if problemType(err) != topics.ProblemNotAllowed {
				t.Errorf("%s: %v", by, err)
			}
		}
	}
	if _, err := p.Begin(t.Context(), operator, topics.PayloadBegin{Digest: d, Size: 11}); problemType(err) != topics.ProblemQuota {
		t.Errorf("over the quota: %v", err)
	}
	if _, err := p.Begin(t.Context(), operator, topics.PayloadBegin{Digest: d}); problemType(err) != topics.ProblemInvalidRequest {
		t.Errorf("no size: %v", err)
	}
	if _, err := p.Begin(t.Context(), operator, req); err != nil {
		t.Fatal(err)
	}
	if up, err := p.Append(t.Context(), operator, d, 0, data[:3]); err != nil || up.Offset != 3 {
		t.Errorf("append: %+v, %v", up, err)
	}
	if up, err := p.Append(t.Context(), operator, d, 0, data); problemType(err) != topics.ProblemUploadOverlap || up.Offset != 3 {
		t.Errorf("overlap: %+v, %v", up, err)
	}
	if up, err := p.Upload(t.Context(), operator, d); err != nil || up.Offset != 3 || up.Size != 8 {
		t.Errorf("upload: %+v, %v", up, err)
	}
	if _, err := p.Upload(t.Context(), stranger, d); problemType(err) != topics.ProblemUploadNotFound {
		t.Errorf("a stranger's: %v", err)
	}
	if _, err := p.Append(t.Context(), operator, d, 3, data[3:]); err != nil {
		t.Fatal(err)
	}
	if v, err := p.Commit(t.Context(), operator, d); err != nil || v.Size != 8 || v.Name != "x" {
		t.Errorf("commit: %+v, %v", v, err)
	}
	var log topics.List[topics.AuditView]
	f.ok("audit", "list", topics.AuditList{}, &log)
	var commands []string
	for _, e := range log.Items {
		commands = append(commands, e.Command+" "+e.Object)
	}
	if len(commands) != 2 || commands[0] != "payload/begin payload/"+d.String() || commands[1] != "payload/commit payload/"+d.String() {
		t.Errorf("audit log: %q", commands)
	}
}
