package badger

import (
	"encoding/binary"
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// encodeAssignment writes the value of an assignmentRecord: what the reflecting encoder would, for a fifth of its time. Every
// report writes one. TestEncodeAssignment compares the two.
func encodeAssignment(a *listedAssignment) []byte {
	const most = 320 // bytes of nearly all
	w := recordWriter{b: append(make([]byte, 0, most+16*len(a.Path)), recordVersion, 0)}
	w.text(1, a.Campaign.String(), true)
	w.text(2, a.Device.String(), true)
	w.digest(3, &a.Manifest)
	w.text(4, a.Component, false)
	w.digest(5, &a.Image)
	w.int(6, int64(a.Wave))
	w.uint(7, a.Order)
	w.text(8, string(a.State), false)
	w.text(9, a.Reason, false)
	w.text(10, a.Detail, false)
	w.bool(11, a.Waiting)
	w.int(12, int64(a.Offers))
	w.int(13, int64(stampOf(a.NextOffer)))
	w.int(14, int64(stampOf(a.Deadline)))
	w.uint(15, a.Seq)
	w.uint(16, a.Boot)
	w.uint(17, a.Bytes)
	w.uint(18, a.Reports)
	w.int(19, int64(stampOf(a.Updated)))
	if len(a.Path) > 0 {
		w.bytes(21, appendSteps(make([]byte, 0, 16*len(a.Path)), a.Path))
	}
	if listed := stampOf(a.listed); listed != stampOf(a.Due()) {
		w.int(22, int64(listed))
	}
	w.int(40, int64(a.Retries))
	if a.Permit != (campaign.Permit{}) {
		w.permit(41, a.Permit)
	}
	w.bool(60, a.Charged)
	w.bool(61, a.Unpaid)
	return w.done()
}

// recordWriter writes a record member by member, in the order of their numbers; one that is empty is left out.
type recordWriter struct {
	b []byte // version, head of the map, members
	n int    // members
}

// done returns the value.
func (w *recordWriter) done() []byte {
	if w.n < 24 {
		w.b[1] = cborMap | byte(w.n)
		return w.b
	}
	w.b[1] = cborMap | cborByte
	return slices.Insert(w.b, 2, byte(w.n))
}

// The heads of CBOR, RFC 8949 section 3: the major type, and how many bytes of argument follow.
const (
	cborUint  = 0 << 5
	cborNeg   = 1 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborMap   = 5 << 5
	cborTrue  = 0xf5

	cborByte = 24
)

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < cborByte:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|cborByte, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func (w *recordWriter) key(k uint64) {
	w.n++
	w.b = appendHead(w.b, cborUint, k)
}

func (w *recordWriter) uint(k, v uint64) {
	if v != 0 {
		w.key(k)
		w.b = appendHead(w.b, cborUint, v)
	}
}

func (w *recordWriter) int(k uint64, v int64) {
	switch {
	case v > 0:
		w.uint(k, uint64(v))
	case v < 0:
		w.key(k)
		w.b = appendHead(w.b, cborNeg, uint64(-1-v))
	}
}

func (w *recordWriter) bool(k uint64, v bool) {
	if v {
		w.key(k)
		w.b = append(w.b, cborTrue)
	}
}

func (w *recordWriter) text(k uint64, v string, always bool) {
	if v != "" || always {
		w.key(k)
		w.b = append(appendHead(w.b, cborText, uint64(len(v))), v...)
	}
}

func (w *recordWriter) bytes(k uint64, v []byte) {
	if len(v) > 0 {
		w.key(k)
		w.b = append(appendHead(w.b, cborBytes, uint64(len(v))), v...)
	}
}

func (w *recordWriter) digest(k uint64, d *ident.Digest) {
	if !d.IsZero() {
		w.bytes(k, d[:])
	}
}

// permit writes a permitRecord.
func (w *recordWriter) permit(k uint64, p campaign.Permit) {
	in := recordWriter{b: make([]byte, 2, 64)}
	in.text(1, string(p.State), false)
	in.text(2, p.Value, false)
	in.int(3, int64(stampOf(p.Until)))
	in.int(4, int64(stampOf(p.Next)))
	in.bool(6, p.JSON)
	in.int(70, int64(stampOf(p.Asked)))
	w.key(k)
	w.b = append(w.b, in.done()[1:]...)
}
