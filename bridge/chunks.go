package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

const (
	// sliceBytes is how much is read and written at a time, one chunk at least: a fetch holds no more memory than that,
	// and a connection that others share the machine with is not kept waiting longer.
	sliceBytes = 32 << 10
	// publishOverhead is more than the header and the topic of a PUBLISH without properties take, in bytes.
	publishOverhead = 5 + 2 + topics.MaxTopic + 1
)

// handleFetch takes a fetch, whose PUBACK says no more than that: the device asks again for what it lacks.
func (b *Bridge) handleFetch(ctx context.Context, a topics.Address, in link.Inbound) {
	f, format, err := topics.DecodeFetch(in.Payload)
	if err != nil && f.Token.IsZero() {
		b.undecodable(a, in, err)
		return
	}
	b.stats.fetches.Add(1)
	j := &fetchJob{addr: a, fetch: f, format: format, invalid: err, reply: in.Reply, maxPacket: in.MaxPacket}
	b.fetches.put(ctx, session{in.Principal, in.Client}, j, b.serve)
	in.Ack.Done(link.Success)
}

// serve sends the chunks of a fetch, or the problem that it has.
func (b *Bridge) serve(ctx context.Context, j *fetchJob) {
	err := j.invalid
	if err == nil {
		err = b.serveFetch(ctx, j)
	}
	if err == nil {
		return
	}
	b.stats.fetchErrors.Add(1)
	p := problemOf(err)
	if fields := (topics.FieldErrors)(nil); errors.As(err, &fields) {
		p = topics.NewProblem(topics.ProblemFetchInvalid, fields.Error())
		p.Errors = fields
	}
	a := j.addr
	if p.Status >= 500 {
		b.o.Logger.Warn("chunks could not be served", "tenant", a.Tenant, "device", a.Device, "err", err)
	}
	body, err := topics.Encode(p, j.format)
	if err == nil {
		err = j.reply.Send(ctx, link.Message{Topic: topics.ChunkErrorTopic(a.Tenant, a.Device, j.fetch.Token), Payload: body})
	}
	if err != nil {
		b.o.Logger.Debug("fetch problem could not be sent", "tenant", a.Tenant, "device", a.Device, "err", err)
	}
}

// serveFetch sends the wanted chunks in order, until a later fetch comes. A connection that fails midway is no error of
// the fetch.
func (b *Bridge) serveFetch(ctx context.Context, j *fetchJob) error {
	a, f := j.addr, j.fetch
	size, err := b.assigned(ctx, a.Tenant, a.Device, f)
	if err != nil {
		return err
	}
	wanted, err := wantedChunks(f, size, j.maxPacket)
	if err != nil {
		return err
	}
	file, err := b.o.Catalogue.Open(a.Tenant, f.Digest)
	if err != nil {
		return fmt.Errorf("open payload %s: %w", f.Digest, err)
	}
	defer file.Close()
	prefix := topics.ChunkPrefix(a.Tenant, a.Device, f.Token)
	perSlice := max(1, sliceBytes/int(f.Size))
	buf := make([]byte, 0, min(perSlice, len(wanted))*int(f.Size))
	for len(wanted) > 0 && !j.over.Load() {
		n := min(perSlice, len(wanted))
		buf = buf[:0]
		messages := make([]link.Message, 0, n)
		for _, i := range wanted[:n] {
			chunk, err := readChunk(file, buf[len(buf):cap(buf)], int64(i)*int64(f.Size), int64(f.Size), size)
			if err != nil {
				return fmt.Errorf("read payload %s: %w", f.Digest, err)
			}
			buf = buf[:len(buf)+len(chunk)]
			messages = append(messages, link.Message{Topic: prefix + strconv.FormatUint(uint64(i), 10), Payload: chunk})
		}
		if err := j.reply.Send(ctx, messages...); err != nil {
			if errors.Is(err, link.ErrTooLarge) {
				return problem(topics.ProblemChunkTooLarge, "a chunk of %d bytes does not fit the client's maximum packet size", f.Size)
			}
			return nil // the connection has gone; the device asks again from the next one
		}
		b.stats.chunks.Add(uint64(n))
		b.stats.chunkBytes.Add(uint64(len(buf)))
		wanted = wanted[n:]
	}
	return nil
}

// readChunk reads the chunk at off into buf; the last one of a payload is short.
func readChunk(file io.ReaderAt, buf []byte, off, chunk, size int64) ([]byte, error) {
	n := min(chunk, size-off)
	if _, err := file.ReadAt(buf[:n], off); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n:n], nil
}

// assigned returns the size of what f fetches, which a manifest of a live assignment of the device must name: nothing else is
// served. What the device said of itself bounds the chunks, since an MQTT 3.1.1 client has no maximum packet size.
func (b *Bridge) assigned(ctx context.Context, t ident.Tenant, d ident.Device, f topics.Fetch) (size int64, err error) {
	var most uint32
	err = b.manifests.view(ctx, b.o.Store, func(r manifestReader) error {
		if size, err = b.assignedSize(r, t, d, f.Digest); err != nil || size < 0 {
			return err
		}
		self, err := r.Device(t, d)
		most = self.MaxChunk
		return orMissing(err, "device", d)
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", campaign.ErrUnavailable, err)
	case size < 0:
		return 0, problem(topics.ProblemFetchNotAssigned, "no live assignment of this device names payload %s", f.Digest)
	case most > 0 && f.Size > most:
		return 0, problem(topics.ProblemChunkTooLarge, "chunks of %d bytes: this device said in its hello that it takes %d (max_chunk)", f.Size, most)
	}
	return size, nil
}

// assignedSize is the size of a payload that a live assignment of the device fetches; below 0 if none does.
func (b *Bridge) assignedSize(r manifestReader, t ident.Tenant, d ident.Device, payload ident.Digest) (int64, error) {
	w, err := r.Work(t, d)
	if err != nil {
		return 0, fmt.Errorf("read work: %w", err)
	}
	for _, l := range w.Live {
		m, err := r.held(t, l.Manifest)
		if errors.Is(err, campaign.ErrNotFound) {
			continue // of a stop that passed over the device
		}
		if err != nil {
			return 0, fmt.Errorf("read manifest %s: %w", l.Manifest, err)
		}
		if f, ok := m.Fetch(payload); ok {
			return f.Size, nil
		}
	}
	return -1, nil
}

// wantedChunks lists the chunks that f asks for; those past the end of the payload are left out.
func wantedChunks(f topics.Fetch, size int64, maxPacket uint32) ([]uint32, error) {
	if maxPacket > 0 && int64(f.Size)+publishOverhead > int64(maxPacket) {
		return nil, problem(topics.ProblemChunkTooLarge, "a chunk of %d bytes does not fit the client's maximum packet size of %d", f.Size, maxPacket)
	}
	total := (size + int64(f.Size) - 1) / int64(f.Size)
	if int64(f.First) >= total {
		return nil, problem(topics.ProblemFetchOutOfRange, "first is %d, the payload has %d chunks of %d bytes", f.First, total, f.Size)
	}
	end := min(int64(f.First)+int64(f.Count), total)
	var wanted []uint32
	for i := int64(f.First); i < end; i++ {
		if f.Wants(uint32(i - int64(f.First))) {
			wanted = append(wanted, uint32(i))
		}
	}
	if bytes := int64(len(wanted)) * int64(f.Size); bytes > topics.MaxFetch {
		return nil, problem(topics.ProblemFetchInvalid, "the window is %d bytes, at most %d", bytes, topics.MaxFetch)
	}
	return wanted, nil
}
