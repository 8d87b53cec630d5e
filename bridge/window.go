package bridge

import "fleetbridge/topics"

// publishOverhead is more than the header and the topic of a PUBLISH without properties take, in bytes.
const publishOverhead = 5 + 2 + topics.MaxTopic + 1

// window is the chunks of a fetch that are still to be sent, in order.
type window struct {
	fetch topics.Fetch
	size  int64  // of the payload, in bytes
	next  uint32 // the first of them; end, if there is none
	end   uint32 // of what was asked for, or of the payload
}

// open finds the chunks that w's fetch asks for; those past the end of the payload are left out.
func (w *window) open(g grant, maxPacket uint32) error {
	f := &w.fetch
	if g.maxChunk > 0 && f.Size > g.maxChunk {
		return problem(topics.ProblemChunkTooLarge, "chunks of %d bytes: this device said in its hello that it takes %d (max_chunk)", f.Size, g.maxChunk)
	}
	if maxPacket > 0 && int64(f.Size)+publishOverhead > int64(maxPacket) {
		return problem(topics.ProblemChunkTooLarge, "a chunk of %d bytes does not fit the client's maximum packet size of %d", f.Size, maxPacket)
	}
	total := (g.size + int64(f.Size) - 1) / int64(f.Size)
	if int64(f.First) >= total {
		return problem(topics.ProblemFetchOutOfRange, "first is %d, the payload has %d chunks of %d bytes", f.First, total, f.Size)
	}
	w.size, w.next, w.end = g.size, f.First, uint32(min(int64(f.First)+int64(f.Count), total))
	if bytes := w.wanted() * int64(f.Size); bytes > topics.MaxFetch {
		return problem(topics.ProblemFetchInvalid, "the window is %d bytes, at most %d", bytes, topics.MaxFetch)
	}
	w.skip()
	return nil
}

// wanted is how many chunks are to be sent.
func (w *window) wanted() (n int64) {
	if len(w.fetch.Bitmap) == 0 {
		return int64(w.end - w.next)
	}
	for i := w.next; i < w.end; i++ {
		if w.fetch.Wants(i - w.fetch.First) {
			n++
		}
	}
	return n
}

// skip moves next to a chunk that is wanted, or the end.
func (w *window) skip() {
	for w.next < w.end && !w.fetch.Wants(w.next-w.fetch.First) {
		w.next++
	}
}

func (w *window) empty() bool { return w.next >= w.end }

// take returns the next chunk, and where its bytes are.
func (w *window) take() (index uint32, from, to int64) {
	index = w.next
	from = int64(index) * int64(w.fetch.Size)
	w.after(index)
	return index, from, min(from+int64(w.fetch.Size), w.size)
}

// after leaves the chunks up to index behind.
func (w *window) after(index uint32) {
	w.next = index + 1
	w.skip()
}
