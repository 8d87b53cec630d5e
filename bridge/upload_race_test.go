package bridge_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// TestSamePayloadFromManyClients: of clients that upload the same payload at once, whoever is second finds it there; none is
// told that its upload is gone.
func TestSamePayloadFromManyClients(t *testing.T) {
	f := start(t, nil)
	const clients, rounds, slice = 6, 8, 8 << 10
	for round := range rounds {
		data := bytes.Repeat([]byte{byte(round)}, 10*slice)
		d := ident.SumDigest(data)
		var wg sync.WaitGroup
		errs := make([]error, clients)
		for i := range clients {
			wg.Go(func() { errs[i] = uploadWhole(t, f, d, data, slice) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// uploadWhole uploads data as an HTTP client's request does.
func uploadWhole(t *testing.T, f *fixture, d ident.Digest, data []byte, slice int) error {
	s := f.bridge.Payloads()
	up, err := s.Begin(t.Context(), operator, topics.PayloadBegin{Digest: d, Size: int64(len(data))})
	for err == nil && up.Offset < int64(len(data)) {
		end := min(up.Offset+int64(slice), int64(len(data)))
		at := up.Offset
		up, err = s.Append(t.Context(), operator, d, at, data[at:end])
		var p *topics.Problem
		if errors.As(err, &p) && p.Type == topics.ProblemUploadOverlap {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("append at %d: %w", at, err)
		}
	}
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	_, err = s.Commit(t.Context(), operator, d)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
