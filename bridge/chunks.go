package bridge

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"fleetbridge/bridge/egress"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/mapped"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// waitBytes is how much is read and written at a time to a connection that makes us wait, one chunk at least: it holds no more
// memory than that.
const waitBytes = 32 << 10

// fetchJob is one fetch under way.
type fetchJob struct {
	tenant    ident.Tenant
	device    ident.Device
	format    topics.Format
	reply     link.Replier
	maxPacket uint32
	window    window
	prefix    string           // of the chunks' topics
	handle    *firmware.Handle // held; nil until the fetch is opened
	invalid   error            // why it can't be served
	over      chan struct{}    // closed when a later fetch has come; nil while nobody could
	ended     bool             // guarded by fetches
}

// end tells whoever serves j that a later fetch has come.
func (j *fetchJob) end() {
	if !j.ended {
		j.ended = true
		close(j.over)
	}
}

// drop lets go of a fetch that is not served any more; nil is none.
func (j *fetchJob) drop() {
	if j != nil && j.handle != nil {
		_ = j.handle.Release() // a file that was only read
		j.handle = nil
	}
}

// isOver says whether a later fetch has come.
func (j *fetchJob) isOver() bool {
	select {
	case <-j.over:
		return true
	default:
		return false
	}
}

// handleFetch answers a fetch with what the connection takes without waiting, which is all of it as a rule, and leaves the rest to
// a goroutine. The PUBACK says no more than that it was taken: the device asks again for what it lacks.
func (b *Bridge) handleFetch(ctx context.Context, a topics.Address, in link.Inbound) {
	f, format, err := topics.DecodeFetch(in.Payload)
	if err != nil && f.Token.IsZero() {
		b.undecodable(a, in, err)
		return
	}
	b.stats.fetches.Add(1)
	m := memoOf(in)
	j := fetchJob{tenant: a.Tenant, device: a.Device, format: format, reply: in.Reply, maxPacket: in.MaxPacket, window: window{fetch: f}, invalid: err}
	if m.track.busy.Load() || !b.serveNow(ctx, m, &j) {
		later := j // j itself stays on the stack
		b.fetches.put(ctx, &m.track, &later, b.serve)
	} else {
		j.drop()
	}
	in.Ack.Done(link.Success)
}

// open finds what j asks for, and that it may. m is the connection's memo; nil where it is in other hands.
func (b *Bridge) open(ctx context.Context, m *memo, j *fetchJob) (err error) {
	if m == nil {
		m = &memo{}
	}
	digest := j.window.fetch.Digest
	g, err := b.granted(ctx, m, j.tenant, j.device, digest)
	if err != nil {
		return err
	}
	if err := j.window.open(g, j.maxPacket); err != nil {
		return err
	}
	h, err := m.hold(b.o.Catalogue, j.tenant, digest)
	if err != nil {
		return err
	}
	j.handle, j.prefix = h, m.chunkPrefix(j.tenant, j.device, j.window.fetch.Token)
	if h.Size() != g.size {
		return fmt.Errorf("open payload %s: the file has %d bytes, want %d", digest, h.Size(), g.size)
	}
	return nil
}

// serveNow sends what the connection takes without waiting. False means that the rest of j, or the problem that it has, is for serve.
func (b *Bridge) serveNow(ctx context.Context, m *memo, j *fetchJob) bool {
	if j.invalid == nil {
		j.invalid = b.open(ctx, m, j)
	}
	if j.invalid != nil {
		return false
	}
	run := getRun()
	defer run.put()
	for !j.window.empty() {
		if j.invalid = run.point(j.window, j.handle, b.egress.slice()); j.invalid != nil || !b.egress.try(run.bytes) {
			return false
		}
		unsent, err := b.try(j, run)
		b.egress.done(unsent)
		if err != nil {
			j.invalid = b.unserved(j, err)
			return j.invalid == nil
		}
		if unsent > 0 {
			return false
		}
	}
	return true
}

// serve sends the chunks of a fetch, or the problem that it has.
func (b *Bridge) serve(ctx context.Context, j *fetchJob) {
	defer j.drop()
	err := j.invalid
	if err == nil && j.handle == nil {
		err = b.open(ctx, nil, j)
	}
	if err == nil {
		err = b.serveFetch(ctx, j)
	}
	if err != nil {
		b.tellFetchProblem(ctx, j, err)
	}
}

// serveFetch sends the chunks in order, until a later fetch comes. Each time it gives the connection what that takes without
// waiting, and waits with a little that it has read: so neither a turn nor a mapping is held while a slow device reads.
func (b *Bridge) serveFetch(ctx context.Context, j *fetchJob) error {
	run := getRun()
	defer run.put()
	flow := egress.Flow{Tenant: j.tenant, Device: j.device}
	most := b.egress.slice()
	for !j.window.empty() && !j.isOver() {
		if err := run.point(j.window, j.handle, most); err != nil {
			return err
		}
		most = b.egress.slice()
		if err := b.egress.wait(j.over, flow, run.bytes); err != nil {
			if errors.Is(err, errOver) {
				return nil
			}
			return err
		}
		all := run.bytes
		unsent, err := b.try(j, run)
		if err != nil || unsent == 0 {
			b.egress.done(unsent)
			if err != nil {
				return b.unserved(j, err)
			}
			continue
		}
		if unsent == all {
			most = waitBytes
		}
		err = run.read(j.window, j.handle, min(waitBytes, unsent))
		b.egress.done(unsent - run.bytes)
		if err != nil {
			return err
		}
		if err := j.reply.SendRun(ctx, link.Run{Prefix: j.prefix, Parts: run.Parts}); err != nil {
			return b.unserved(j, err)
		}
		b.sent(j, run.Parts)
	}
	return nil
}

// try gives the connection what it takes of run without waiting, and says how many bytes are left.
func (b *Bridge) try(j *fetchJob, run *chunkRun) (unsent int, err error) {
	n, err := j.reply.TrySendRun(link.Run{Prefix: j.prefix, Parts: run.Parts})
	return run.bytes - b.sent(j, run.Parts[:n]), err
}

// sent counts chunks that are the device's, and leaves them behind.
func (b *Bridge) sent(j *fetchJob, parts []link.Part) (bytes int) {
	if len(parts) == 0 {
		return 0
	}
	for _, p := range parts {
		bytes += len(p.Payload)
	}
	j.window.after(parts[len(parts)-1].Index)
	b.stats.chunks.Add(uint64(len(parts)))
	b.stats.chunkBytes.Add(uint64(bytes))
	return bytes
}

// unserved is the problem behind an error of the connection; nil if that has gone: the device asks again from the next one.
func (b *Bridge) unserved(j *fetchJob, err error) error {
	if errors.Is(err, link.ErrTooLarge) {
		return problem(topics.ProblemChunkTooLarge, "a chunk of %d bytes does not fit the client's maximum packet size", j.window.fetch.Size)
	}
	if errors.Is(err, syscall.EFAULT) || errors.Is(err, mapped.ErrFault) {
		b.o.Logger.Warn("payload could not be read while it was sent", "tenant", j.tenant, "payload", j.window.fetch.Digest, "err", err)
	}
	return nil
}

// tellFetchProblem sends the problem that j ended in.
func (b *Bridge) tellFetchProblem(ctx context.Context, j *fetchJob, err error) {
	b.stats.fetchErrors.Add(1)
	p := problemOf(err)
	if fields := (topics.FieldErrors)(nil); errors.As(err, &fields) {
		p = topics.NewProblem(topics.ProblemFetchInvalid, fields.Error())
		p.Errors = fields
	}
	if p.Status >= 500 {
		b.o.Logger.Warn("chunks could not be served", "tenant", j.tenant, "device", j.device, "err", err)
	}
	body, err := topics.Encode(p, j.format)
	if err == nil {
		err = j.reply.Send(ctx, link.Message{Topic: topics.ChunkErrorTopic(j.tenant, j.device, j.window.fetch.Token), Payload: body})
	}
	if err != nil {
		b.o.Logger.Debug("fetch problem could not be sent", "tenant", j.tenant, "device", j.device, "err", err)
	}
}
