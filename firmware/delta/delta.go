// Package delta makes and applies the payload that turns an installed image into the next one: one Zstandard frame (RFC
// 8878) that has the installed image as its raw dictionary, as `zstd --patch-from` writes it. SUIT has no format of its
// own for that; which one a device class takes is part of what the class identifier stands for.
//
// The frame is of a single segment: whoever applies it needs the old image at hand, for reading, and memory for the new
// one at most. Bytes in, bytes out; no I/O but the caller's.
package delta

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// MaxImage bounds both images, in bytes: they are held in memory. A larger image is fetched whole.
const MaxImage = 64 << 20

// Errors of this package.
var (
	ErrTooLarge = errors.New("image too large for a delta")
	// ErrCorrupt: not a delta, one from another image, or one that makes more or less than what is announced.
	ErrCorrupt = errors.New("delta does not apply")
)

// dictionary is the identifier of a raw dictionary: none, so that the frame names none.
const dictionary = 0

// Make returns the delta that turns from into to. Equal images give equal bytes, with one version of this program.
func Make(from, to []byte) ([]byte, error) {
	if len(from) > MaxImage || len(to) > MaxImage || len(to) == 0 {
		return nil, fmt.Errorf("make delta: images of %d and %d bytes, want 1 to %d: %w", len(from), len(to), MaxImage, ErrTooLarge)
	}
	// A match reaches back over the new image and the whole old one.
	window := max(zstd.MinWindowSize, 1<<bits.Len(uint(len(from)+len(to))))
	w, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(dictionary, from), zstd.WithWindowSize(window),
		zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false)) // the digest in the manifest is the check, and its failure is one that a device can go on from
	if err != nil {
		return nil, fmt.Errorf("make delta: %w", err)
	}
	defer w.Close()
	return w.EncodeAll(to, nil), nil
}

// Apply writes to w the image of exactly size bytes that d makes out of from. It never writes more than size bytes, and
// holds no more memory than for that many, whatever d says; what was written before an error is worth nothing. The error
// wraps ErrCorrupt or ErrTooLarge, or is w's or d's own.
func Apply(w io.Writer, from []byte, d io.Reader, size int64) error {
	if size < 1 || size > MaxImage || len(from) > MaxImage {
		return fmt.Errorf("apply delta: images of %d and %d bytes, want 1 to %d: %w", len(from), size, MaxImage, ErrTooLarge)
	}
	bound := max(uint64(size), zstd.MinWindowSize)
	r, err := zstd.NewReader(d, zstd.WithDecoderDictRaw(dictionary, from), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(bound), zstd.WithDecoderMaxMemory(bound))
	if err != nil {
		return fmt.Errorf("apply delta: %w: %w", ErrCorrupt, err)
	}
	defer r.Close()
	out := &outcome{w: w}
	n, err := io.Copy(out, io.LimitReader(r, size))
	if out.err != nil {
		return fmt.Errorf("apply delta: write the image: %w", out.err)
	}
	if err != nil {
		return fmt.Errorf("apply delta: %w: %w", ErrCorrupt, err)
	}
	var more [1]byte
	if _, err := io.ReadFull(r, more[:]); n < size || !errors.Is(err, io.EOF) {
		return fmt.Errorf("apply delta: it makes another number of bytes than %d: %w", size, ErrCorrupt)
	}
	return nil
}

// outcome keeps the error of a writer apart from those of the reader.
type outcome struct {
	w   io.Writer
	err error
}

func (o *outcome) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.err = err
	return n, err
}
