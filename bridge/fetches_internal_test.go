package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fleetbridge/bridge/egress"
	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// settledStore is a store in which every device has a live assignment of one payload, and nothing changes.
type settledStore struct {
	campaign.Store
	campaign.Reader
	payload firmware.Fetch
}

// Version implements campaign.Versioned.
func (settledStore) Version(ident.Tenant, ident.Device) uint64 { return 7 }

// View implements campaign.Store.
func (s settledStore) View(_ context.Context, fn func(campaign.Reader) error) error { return fn(s) }

// Work implements campaign.Reader.
func (s settledStore) Work(ident.Tenant, ident.Device) (campaign.Work, error) {
	return campaign.Work{Live: []campaign.Live{{Manifest: s.payload.Digest}}}, nil
}

// Manifest implements campaign.Reader.
func (s settledStore) Manifest(ident.Tenant, ident.Digest) (firmware.Manifest, error) {
	return firmware.Manifest{Digest: s.payload.Digest, Fetches: []firmware.Fetch{s.payload}}, nil
}

// Device implements campaign.Reader.
func (settledStore) Device(_ ident.Tenant, d ident.Device) (campaign.Device, error) {
	return campaign.Device{ID: d}, nil
}

// player is a device's connection in tests of the chunk path alone.
type player struct {
	br      *Bridge
	in      link.Inbound
	payload ident.Digest

	mu      sync.Mutex
	stalled chan struct{} // a write waits until it is closed; nil: the connection takes everything at once
	some    bool          // it takes a third at once
	ended   bool
	got     map[string][]byte // by topic
	order   []string
}

// TrySendRun implements link.Replier.
func (p *player) TrySendRun(run link.Run) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return 0, link.ErrClosed
	}
	if p.stalled != nil {
		return 0, nil
	}
	if p.some {
		run.Parts = run.Parts[:len(run.Parts)/3]
	}
	p.take(run.Messages())
	return len(run.Parts), nil
}

func (p *player) take(messages []link.Message) {
	for _, m := range messages {
		p.got[m.Topic] = bytes.Clone(m.Payload)
		p.order = append(p.order, m.Topic)
	}
}

// SendRun implements link.Replier.
func (p *player) SendRun(ctx context.Context, run link.Run) error {
	return p.Send(ctx, run.Messages()...)
}

// Send implements link.Replier.
func (p *player) Send(_ context.Context, messages ...link.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stalled := p.stalled; stalled != nil {
		p.mu.Unlock()
		<-stalled
		p.mu.Lock()
	}
	if p.ended {
		return link.ErrClosed
	}
	p.take(messages)
	return nil
}

// Done implements link.Ack.
func (*player) Done(link.Code) {}

// Refuse implements link.Ack.
func (*player) Refuse(error) {}

// fetch has the device ask for chunks.
func (p *player) fetch(t *testing.T, token string, q topics.Fetch) {
	t.Helper()
	k, err := ident.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	q.Token, q.Digest = k, p.payload
	body, err := topics.Encode(q, topics.CBOR)
	if err != nil {
		t.Fatal(err)
	}
	p.in.Payload = body
	p.br.Handle(context.Background(), p.in)
}

// bytes is how much the device got.
func (p *player) bytes() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.got {
		n += len(b)
	}
	return n
}

// stage is a bridge with one payload of a MiB in each tenant, and nothing else.
func stage(t testing.TB, rate int64, tenants ...string) (*Bridge, []byte) {
	t.Helper()
	c, err := firmware.OpenCatalogue(t.TempDir(), firmware.CatalogueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i >> 8)
	}
	d := ident.SumDigest(data)
	for _, name := range tenants {
		tenant := ident.MustTenant(name)
		_, err := c.Begin(tenant, d, int64(len(data)))
		for off := 0; err == nil && off < len(data); off += topics.MaxAppend {
			_, err = c.Append(tenant, d, int64(off), data[off:min(off+topics.MaxAppend, len(data))])
		}
		if err = errors.Join(err, c.Commit(tenant, d)); err != nil {
			t.Fatal(err)
		}
	}
	br, err := New(Options{Store: settledStore{payload: firmware.Fetch{Digest: d, Size: int64(len(data))}}, Link: struct{ link.Link }{}, Catalogue: c, Egress: rate})
	if err != nil {
		t.Fatal(err)
	}
	return br, data
}

// enter connects a device.
func enter(t testing.TB, br *Bridge, data []byte, tenant, device string) *player {
	t.Helper()
	name, err := ident.ParseName(device)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := ident.ParseDevice(device)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{br: br, payload: ident.SumDigest(data), got: map[string][]byte{}}
	var m any
	of := ident.MustTenant(tenant)
	p.in = link.Inbound{Topic: topics.FetchTopic(of, dev), Principal: topics.Principal{Tenant: of, Role: topics.RoleDevice, Name: name}, Memo: &m, Ack: p, Reply: p}
	return p
}

// While a connection waits for what it fetched before, a new fetch is not served beside that: it comes after the slice that is
// being sent, and nothing more of the old one.
func TestFetchWhileOneIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		br, data := stage(t, 0, "acme")
		p := enter(t, br, data, "acme", "dev")
		stalled := make(chan struct{})
		p.stalled = stalled
		p.fetch(t, "old", topics.Fetch{Size: 16 << 10, Count: 60})
		synctest.Wait()
		p.mu.Lock()
		p.stalled = nil // it would take everything at once
		p.mu.Unlock()
		p.fetch(t, "new", topics.Fetch{Size: 16 << 10, First: 3, Count: 1})
		synctest.Wait()
		if len(p.order) != 0 {
			t.Errorf("sent before the slice under way: %v", p.order)
		}
		close(stalled)
		br.fetches.running.Wait()
		if n := len(p.order); n != 3 || !strings.HasSuffix(p.order[1], "/old/1") || !strings.HasSuffix(p.order[2], "/new/3") {
			t.Errorf("sent %v", p.order)
		}
		p.fetch(t, "last", topics.Fetch{Size: 16 << 10, First: 4, Count: 1})
		if n := len(p.order); n != 4 {
			t.Errorf("after all that, a fetch is not served at once: %v", p.order)
		}
	})
}

// What a connection does not take at once comes after what it took: each chunk once, in order, and the right bytes.
func TestRestOfAFetch(t *testing.T) {
	br, data := stage(t, 0, "acme")
	for _, size := range []uint32{128, 1000, 16 << 10, 256 << 10} {
		p := enter(t, br, data, "acme", "dev")
		p.some = true
		q := topics.Fetch{Size: size, First: 1, Count: min(1000, uint32(len(data))/size-1)}
		p.fetch(t, "t", q)
		br.fetches.running.Wait()
		if len(p.order) != int(q.Count) {
			t.Fatalf("size %d: %d chunks, want %d", size, len(p.order), q.Count)
		}
		for i, topic := range p.order {
			from := (i + 1) * int(size)
			if topic != fmt.Sprint("fleet/v1/acme/device/dev/chunk/t/", i+1) || !bytes.Equal(p.got[topic], data[from:min(from+int(size), len(data))]) {
				t.Fatalf("size %d: chunk %d on %s is wrong", size, i+1, topic)
			}
		}
	}
}

// Five hundred devices that read nothing hold nobody up: whoever reads is served within its call, as often as it asks.
func TestStalledReadersHoldNobodyUp(t *testing.T) {
	br, data := stage(t, 0, "acme")
	over := make(chan struct{})
	for i := range 500 {
		p := enter(t, br, data, "acme", fmt.Sprintf("stalled-%d", i))
		p.stalled = over
		p.fetch(t, "t", topics.Fetch{Size: 16 << 10, Count: 64})
	}
	good := enter(t, br, data, "acme", "good")
	for i := range 10 {
		good.fetch(t, fmt.Sprint("t", i), topics.Fetch{Size: 16 << 10, Count: 64})
		if got := good.bytes(); got != (i+1)<<20 {
			t.Fatalf("fetch %d: %d bytes have come", i, got)
		}
	}
	close(over)
	br.fetches.running.Wait()
}

// Under a rate the tenant with one device gets as much as the one with fifty, beside five hundred that read nothing.
func TestTenantsShareEgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, seconds = 4 << 20, 20
		br, data := stage(t, rate, "many", "one", "none")
		over := make(chan struct{})
		for i := range 500 {
			p := enter(t, br, data, "none", fmt.Sprintf("stalled-%d", i))
			p.stalled = over
			p.fetch(t, "t", topics.Fetch{Size: 16 << 10, Count: 64})
		}
		synctest.Wait()
		time.Sleep(10 * time.Second) // what the stalled were sent is paid for
		var players []*player
		for i := range 50 {
			players = append(players, enter(t, br, data, "many", fmt.Sprintf("dev-%d", i)))
		}
		players = append(players, enter(t, br, data, "one", "dev"))
		end := time.Now().Add(seconds * time.Second)
		var rounds sync.WaitGroup
		for _, p := range players {
			rounds.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					p.fetch(t, fmt.Sprint("t", i), topics.Fetch{Size: 16 << 10, Count: 64})
					for (*p.in.Memo).(*memo).track.busy.Load() {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		time.Sleep(time.Until(end))
		many := 0
		for _, p := range players[:50] {
			many += p.bytes()
		}
		one := players[50].bytes()
		if want := rate * seconds / 2; many < want*8/10 || many > want*12/10 || one < want*8/10 || one > want*12/10 {
			t.Errorf("fifty devices got %d bytes, one of another tenant %d, each should have %d", many, one, want)
		}
		close(over)
		rounds.Wait()
		br.fetches.running.Wait()
	})
}

// A slice that waits leaves the queue when its fetch is over, and so does all that waits when the bridge ends.
func TestWaitingFetchesLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		br, data := stage(t, 1<<10, "acme") // a slice takes 16 seconds
		a, b := enter(t, br, data, "acme", "a"), enter(t, br, data, "acme", "b")
		a.fetch(t, "t1", topics.Fetch{Size: 16 << 10, Count: 1})
		a.fetch(t, "t2", topics.Fetch{Size: 16 << 10, Count: 3})
		b.fetch(t, "t1", topics.Fetch{Size: 16 << 10, Count: 3})
		synctest.Wait()                                                    // both wait for their turns
		a.fetch(t, "t3", topics.Fetch{Size: 16 << 10, First: 5, Count: 1}) // ends a's t2
		time.Sleep(40 * time.Second)
		synctest.Wait()
		a.mu.Lock()
		if len(a.order) != 2 || !strings.HasSuffix(a.order[1], "/t3/5") {
			t.Errorf("a got %v", a.order)
		}
		a.mu.Unlock()
		br.fetches.end()
		if len(b.order) > 2 {
			t.Errorf("b got %v", b.order)
		}
		if turn, _ := br.egress.s.Next(time.Now().Add(time.Hour)); turn != nil {
			t.Error("somebody waits after the end")
		}
	})
}

// A turn whose connection has ended is given on at once, and its bytes are not taken from the rate.
func TestEndedConnectionsGiveTheirTurnOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		br, data := stage(t, 16<<10, "acme") // a slice a second
		first, last := enter(t, br, data, "acme", "first"), enter(t, br, data, "acme", "last")
		first.fetch(t, "t", topics.Fetch{Size: 16 << 10, Count: 2})
		for i := range 100 {
			p := enter(t, br, data, "acme", fmt.Sprint("gone-", i))
			p.fetch(t, "t", topics.Fetch{Size: 16 << 10, Count: 60})
			p.mu.Lock()
			p.ended = true
			p.mu.Unlock()
		}
		last.fetch(t, "t", topics.Fetch{Size: 16 << 10, Count: 1})
		time.Sleep(5 * time.Second)
		if last.bytes() != 16<<10 {
			t.Errorf("behind a hundred that are gone, %d bytes have come", last.bytes())
		}
		br.fetches.running.Wait()
	})
}

// When as many wait as may, a fetch is refused by name; the device asks again later.
func TestFetchWhenTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		br, data := stage(t, 1<<10, "acme")
		br.egress.s = egress.New(egress.Limits{Rate: 1 << 10, Slots: 1, Waiting: 2})
		for i := range 3 { // one goes, two wait
			enter(t, br, data, "acme", fmt.Sprint("dev-", i)).fetch(t, "t", topics.Fetch{Size: 16 << 10, Count: 1})
		}
		synctest.Wait()
		p := enter(t, br, data, "acme", "late")
		p.fetch(t, "t", topics.Fetch{Size: 16 << 10, Count: 1})
		synctest.Wait()
		if len(p.order) != 1 || !strings.HasSuffix(p.order[0], "/t/error") || topics.DecodeProblem(p.got[p.order[0]]).Type != topics.ProblemQuota {
			t.Errorf("got %v", p.order)
		}
		br.fetches.end()
	})
}
