package broker

import (
	"math/bits"
	"sync"
)

// Buffers come in classes, powers of two from 1 KiB to 256 KiB; larger ones are not kept.
const (
	minClass = 10
	maxClass = 18
)

var buffers [maxClass - minClass + 1]sync.Pool

// buffer is a pooled slice of bytes. Whoever gets one puts it back, or leaves it to the collector.
type buffer struct {
	b     []byte
	class int // -1: not pooled
}

// getBuffer returns an empty buffer with room for n bytes.
func getBuffer(n int) *buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return &buffer{b: make([]byte, 0, n), class: -1}
	}
	if b, ok := buffers[class-minClass].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, 1<<class), class: class}
}

// put gives the buffer back; nil is fine.
func (b *buffer) put() {
	if b == nil || b.class < 0 {
		return
	}
	b.b = b.b[:0]
	buffers[b.class-minClass].Put(b)
}
