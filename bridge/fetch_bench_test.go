package bridge

import (
	"context"
	"fmt"
	"testing"

	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// taker is a connection that takes everything at once, for nothing.
type taker struct {
	*player
	chunks int
}

// TrySendRun implements link.Replier.
func (r *taker) TrySendRun(run link.Run) (int, error) {
	r.chunks += len(run.Parts)
	return len(run.Parts), nil
}

// BenchmarkFetch is what the bridge itself adds to a fetch: with the same token each time, and with a new one, which is two
// strings.
func BenchmarkFetch(b *testing.B) {
	br, data := stage(b, 0, "acme")
	for _, chunks := range []uint32{1, 8} {
		for _, tokens := range []int{1, 64} {
			b.Run(fmt.Sprintf("chunks=%d/tokens=%d", chunks, tokens), func(b *testing.B) {
				r := &taker{player: enter(b, br, data, "acme", "dev-000")}
				var bodies [][]byte
				for i := range tokens {
					k, err := ident.ParseToken(fmt.Sprintf("t%d", i))
					if err != nil {
						b.Fatal(err)
					}
					body, err := topics.Encode(topics.Fetch{Token: k, Digest: r.payload, Size: 16 << 10, First: 8, Count: chunks}, topics.CBOR)
					if err != nil {
						b.Fatal(err)
					}
					bodies = append(bodies, body)
				}
				in := r.in
				in.Reply = r
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					in.Payload = bodies[n%len(bodies)]
					br.Handle(context.Background(), in)
					n++
				}
				if r.chunks != n*int(chunks) {
					b.Errorf("%d chunks of %d fetches", r.chunks, n)
				}
			})
		}
	}
}
