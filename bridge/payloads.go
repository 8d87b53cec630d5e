package bridge

import (
	"context"
	"fmt"
	"io"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// Payloads are the payload commands for a transport that has no messages, such as HTTP, and the payloads' bytes. The
// rules, the roles and the audit log are those of the commands. Every error is a *topics.Problem. Safe for concurrent use.
type Payloads struct{ b *Bridge }

// Payloads returns the payload commands as calls.
func (b *Bridge) Payloads() *Payloads { return &Payloads{b} }

// call makes the call of a payload command by a principal, if it may.
func (s *Payloads) call(by topics.Principal, verb string, req topics.Validator) (*call, error) {
	spec, _ := topics.LookupCommand("payload", verb)
	if !spec.Allows(by.Role) {
		return nil, problem(topics.ProblemNotAllowed, "role %s may not use payload/%s", by.Role, verb)
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	body, err := topics.Encode(req, topics.JSON)
	if err != nil {
		return nil, err
	}
	return &call{b: s.b, by: by, tenant: by.Tenant, spec: spec, body: body, req: req, now: s.b.o.Now()}, nil
}

// fail is the problem that err is; nil stays nil.
func (s *Payloads) fail(by topics.Principal, err error) error {
	if err == nil {
		return nil
	}
	p := problemOf(err)
	if p.Status >= 500 {
		s.b.o.Logger.Error("payload transfer ended in an internal problem", "principal", by.String(), "err", err)
	}
	return p
}

// Begin is payload/begin.
func (s *Payloads) Begin(ctx context.Context, by topics.Principal, req topics.PayloadBegin) (topics.PayloadUpload, error) {
	c, err := s.call(by, "begin", req)
	if err != nil {
		return topics.PayloadUpload{}, s.fail(by, err)
	}
	up, err := c.beginUpload(ctx, req)
	return up, s.fail(by, err)
}

// Append is payload/append with as many bytes as the transport likes, but for the bound of an append that is not the
// last: that is its to keep. With upload-overlap and upload-offset it says where the upload stands.
func (s *Payloads) Append(ctx context.Context, by topics.Principal, d ident.Digest, offset int64, data []byte) (topics.PayloadUpload, error) {
	c, err := s.call(by, "append", topics.PayloadRef{Digest: d})
	if err != nil {
		return topics.PayloadUpload{}, s.fail(by, err)
	}
	up, err := c.appendUpload(ctx, d, offset, data)
	return up, s.fail(by, err)
}

// Commit is payload/commit.
func (s *Payloads) Commit(ctx context.Context, by topics.Principal, d ident.Digest) (v topics.PayloadView, err error) {
	req := topics.PayloadCommit{Digest: d}
	c, err := s.call(by, "commit", req)
	if err != nil {
		return v, s.fail(by, err)
	}
	reply, err := c.commitUpload(ctx, d)
	if err == nil {
		v = reply.(topics.PayloadView)
	}
	return v, s.fail(by, err)
}

// Upload says where an upload stands, to who may append to it.
func (s *Payloads) Upload(ctx context.Context, by topics.Principal, d ident.Digest) (up topics.PayloadUpload, err error) {
	c, err := s.call(by, "append", topics.PayloadRef{Digest: d})
	if err != nil {
		return up, s.fail(by, err)
	}
	p, err := c.payload(ctx, d)
	if err == nil && !p.Created.IsZero() {
		err = firmware.ErrNoUpload
	}
	if err != nil {
		return up, s.fail(by, err)
	}
	return c.uploadView(p), nil
}

// Open opens a payload of the principal's tenant and says its size: to a device only what a live assignment of it
// fetches, to others every one. The caller closes it.
func (s *Payloads) Open(ctx context.Context, by topics.Principal, d ident.Digest) (interface {
	io.ReaderAt
	io.Closer
}, int64, error) {
	size, err := s.size(ctx, by, d)
	if err != nil {
		return nil, 0, s.fail(by, err)
	}
	content, err := s.b.o.Catalogue.Open(by.Tenant, d)
	if err != nil {
		return nil, 0, s.fail(by, fmt.Errorf("open payload %s: %w", d, err))
	}
	return content, size, nil
}

func (s *Payloads) size(ctx context.Context, by topics.Principal, d ident.Digest) (size int64, err error) {
	if by.Role == topics.RoleDevice {
		device, err := ident.ParseDevice(by.Name.String())
		if err != nil {
			return 0, err
		}
		g, err := s.b.assigned(ctx, by.Tenant, device, d)
		return g.size, err
	}
	c, err := s.call(by, "list", topics.PayloadRef{Digest: d})
	if err != nil {
		return 0, err
	}
	err = c.view(ctx, func(r campaign.Reader) error {
		p, err := r.Payload(by.Tenant, d)
		if err == nil && p.Created.IsZero() {
			err = campaign.ErrNotFound
		}
		size = p.Size
		return orMissing(err, "payload", d)
	})
	return size, err
}
