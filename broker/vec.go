package broker

import (
	"sync"

	"fleetbridge/internal/mapped"
	"fleetbridge/link"
)

// maxVec is how many buffers one vectored write takes (UIO_MAXIOV of Linux).
const maxVec = 1024

// vec gathers the headers and payloads of packets for one vectored write, without a copy of a payload. Vecs are pooled, so
// that a run of chunks allocates nothing (BenchmarkTrySendRun).
type vec struct {
	heads []byte   // the bytes of a run's headers
	bufs  [][]byte // a header and a payload for each packet
	from  int      // what is before it in bufs has been written
	sys   sysvec   // what the system's vectored write needs
}

var vecs = sync.Pool{New: func() any { return new(vec) }}

func getVec() *vec { return vecs.Get().(*vec) }

// put gives v back to the pool; it keeps no payload alive.
func (v *vec) put() {
	v.reset()
	vecs.Put(v)
}

func (v *vec) reset() {
	clear(v.bufs[:cap(v.bufs)])
	v.heads, v.bufs, v.from = v.heads[:0], v.bufs[:0], 0
}

// add takes further buffers.
func (v *vec) add(bufs ...[]byte) { v.bufs = append(v.bufs, bufs...) }

// setRun makes v the packets of a run's parts, with topics that begin with prefix.
func (v *vec) setRun(v5 bool, prefix string, parts []link.Part) (size int) {
	v.reset()
	if room := len(parts) * (len(prefix) + maxRunHead); cap(v.heads) < room {
		v.heads = make([]byte, 0, room)
	}
	for _, p := range parts {
		from := len(v.heads)
		v.heads = appendRunHead(v.heads, v5, prefix, p)
		v.bufs = append(v.bufs, v.heads[from:], p.Payload)
		size += len(v.heads) - from + len(p.Payload)
	}
	return size
}

// rest is what is still to be written.
func (v *vec) rest() [][]byte { return v.bufs[v.from:] }

func (v *vec) empty() bool { return v.from == len(v.bufs) }

// skip drops the first n bytes of the rest, which have been written.
func (v *vec) skip(n int) {
	for ; v.from < len(v.bufs); v.from++ {
		b := v.bufs[v.from]
		if n < len(b) {
			v.bufs[v.from] = b[n:]
			return
		}
		n -= len(b)
	}
}

// cut says how many packets are within the first n bytes, and copies what is missing of the one that n cuts; nil if it cuts none.
// Only for a vec of which nothing was skipped. The error is that of a payload in a mapped file that can't be read.
func (v *vec) cut(n int) (whole int, rest *buffer, err error) {
	for i := 0; i+1 < len(v.bufs); i += 2 {
		head, payload := v.bufs[i], v.bufs[i+1]
		if size := len(head) + len(payload); n >= size {
			n -= size
			whole++
			continue
		}
		if n == 0 {
			return whole, nil, nil
		}
		rest = getBuffer(len(head) + len(payload) - n)
		if rest.b, err = mapped.Append(rest.b, head[min(n, len(head)):], payload[max(0, n-len(head)):]); err != nil {
			rest.put()
			return whole, nil, err
		}
		return whole, rest, nil
	}
	return whole, nil, nil
}

// gather moves bytes from the front of v to the end of dst, up to its capacity.
func (v *vec) gather(dst []byte) []byte {
	for !v.empty() && len(dst) < cap(dst) {
		next := v.bufs[v.from]
		n := min(len(next), cap(dst)-len(dst))
		dst = append(dst, next[:n]...)
		v.skip(n)
	}
	return dst
}
