package bridge_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetbridge/bridge"
	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

const patience = 20 * time.Second // for what is awaited by events; reached only when something is broken

// fakeLink is a link.Link in memory: it keeps what is published and lets a test publish as a client.
type fakeLink struct {
	mu       sync.Mutex
	messages []link.Message
	changed  chan struct{} // closed and replaced at each publish
	ready    chan struct{}
	handler  link.Handler
	pending  sync.WaitGroup
	online   map[topics.Principal]bool
	memos    map[connection]*any
	takes    takes // how its connections take what need not wait
}

// connection is one of a principal's.
type connection struct {
	principal topics.Principal
	client    string
}

// memo is the Memo of a connection. Of those that are not a device's, each message has its own.
func (l *fakeLink) memo(c connection) *any {
	if c.principal.Role != topics.RoleDevice {
		return new(any)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.memos[c] == nil {
		l.memos[c] = new(any)
	}
	return l.memos[c]
}

func newFakeLink() *fakeLink {
	return &fakeLink{changed: make(chan struct{}), ready: make(chan struct{}), online: map[topics.Principal]bool{}, memos: map[connection]*any{}}
}

func (l *fakeLink) Publish(_ context.Context, m link.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.Payload = bytes.Clone(m.Payload)
	l.messages = append(l.messages, m)
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *fakeLink) Serve(ctx context.Context, h link.Handler) error {
	l.handler = h
	close(l.ready)
	<-ctx.Done()
	l.pending.Wait()
	return nil
}

func (l *fakeLink) Connected(p topics.Principal) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.online[p]
}

// await returns the first message, from index from on, that ok accepts, and the index after it.
func (l *fakeLink) await(t *testing.T, what string, from int, ok func(link.Message) bool) (link.Message, int) {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		changed := l.changed
		for i := from; i < len(l.messages); i++ {
			if ok(l.messages[i]) {
				m := l.messages[i]
				l.mu.Unlock()
				return m, i + 1
			}
		}
		from = len(l.messages)
		l.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			t.Fatalf("no %s was published", what)
		}
	}
}

// on returns what was published on a topic.
func (l *fakeLink) on(topic string) []link.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []link.Message
	for _, m := range l.messages {
		if m.Topic == topic {
			out = append(out, m)
		}
	}
	return out
}

// outcome is what became of one inbound message: exactly one of done and refused.
type outcome struct {
	done, refused bool
	code          link.Code
	err           error
	sent          []link.Message
}

type ack struct {
	t     *testing.T
	l     *fakeLink
	out   *outcome
	ended chan struct{} // has room for both
}

func (a ack) once() {
	if a.out.done || a.out.refused {
		a.t.Error("a message was ended twice")
	}
}
func (a ack) Done(c link.Code) { a.once(); a.out.done, a.out.code = true, c; a.ended <- struct{}{} }
func (a ack) Refuse(err error) { a.once(); a.out.refused, a.out.err = true, err; a.ended <- struct{}{} }

type replier struct {
	out    *outcome
	max    uint32
	broken error
	takes  takes
}

// takes is how much of a run of n messages a connection takes without waiting.
type takes func(n int) int

// eachWay runs a test over connections that take all at once, some of it, and nothing, as TLS does.
func eachWay(t *testing.T, test func(*testing.T, takes)) {
	t.Run("all", func(t *testing.T) { test(t, func(n int) int { return n }) })
	t.Run("some", func(t *testing.T) { test(t, func(n int) int { return n / 2 }) })
	t.Run("none", func(t *testing.T) { test(t, func(int) int { return 0 }) })
}

func (r replier) Send(_ context.Context, messages ...link.Message) error {
	for _, m := range messages {
		if r.max > 0 && len(m.Payload)+len(m.Topic)+4 > int(r.max) {
			return link.ErrTooLarge
		}
	}
	if r.broken != nil {
		return r.broken
	}
	for _, m := range messages {
		m.Payload = bytes.Clone(m.Payload) // the sender may use its buffer again
		r.out.sent = append(r.out.sent, m)
	}
	return nil
}

func (r replier) SendRun(ctx context.Context, run link.Run) error {
	return r.Send(ctx, run.Messages()...)
}

func (r replier) TrySendRun(run link.Run) (int, error) {
	if r.takes == nil {
		return 0, nil
	}
	run.Parts = run.Parts[:r.takes(len(run.Parts))]
	if err := r.Send(context.Background(), run.Messages()...); err != nil {
		return 0, err
	}
	return len(run.Parts), nil
}

// publish hands in to the bridge as p's message and says what became of it.
func (l *fakeLink) publish(t *testing.T, p topics.Principal, in link.Inbound) *outcome {
	t.Helper()
	select {
	case <-l.ready:
	case <-time.After(patience):
		t.Fatal("the bridge does not serve")
	}
	l.pending.Add(1)
	defer l.pending.Done()
	out := &outcome{}
	ended := make(chan struct{}, 2)
	in.Principal, in.Ack, in.Memo = p, ack{t, l, out, ended}, l.memo(connection{p, in.Client})
	own := in.Reply == nil
	if own {
		in.Reply = replier{out: out, max: in.MaxPacket, takes: l.takes}
	}
	l.handler.Handle(context.Background(), in)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatalf("%s: neither Done nor Refuse", in.Topic)
	}
	if own && (strings.HasSuffix(in.Topic, "/report") || strings.HasSuffix(in.Topic, "/hello")) {
		l.handler.(*bridge.Bridge).AwaitSaid()
	}
	if own && strings.HasSuffix(in.Topic, "/fetch") { // a replier of the test's own may not let the bridge finish
		l.handler.(*bridge.Bridge).AwaitFetches()
	}
	if out.done == out.refused {
		t.Errorf("%s: a message must end in exactly one of Done and Refuse", in.Topic)
	}
	return out
}

// fixture is a running bridge over a real store, a real catalogue and a fake link, with two tenants.
type fixture struct {
	t         *testing.T
	link      *fakeLink
	store     campaign.Store
	catalogue *firmware.Catalogue
	dir       string // of the catalogue
	directory *bridge.Directory
	bridge    *bridge.Bridge
	key       cose.PrivateKey
	stop      func()
	ended     []topics.Principal
	seq       uint64
}

var (
	acme     = ident.MustTenant("acme")
	other    = ident.MustTenant("other")
	operator = topics.Principal{Tenant: acme, Role: topics.RoleOperator, Name: name("ops")}
	viewer   = topics.Principal{Tenant: acme, Role: topics.RoleViewer, Name: name("eyes")}
	stranger = topics.Principal{Tenant: other, Role: topics.RoleOperator, Name: name("ops")}
	admin    = topics.Principal{Tenant: ident.System, Role: topics.RoleAdmin, Name: name("root")}
	vendor   = firmware.VendorID("acme.example")
	class    = firmware.ClassID(vendor, "lamp")
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func name(s string) ident.Name           { return must(ident.ParseName(s)) }
func device(s string) ident.Device       { return must(ident.ParseDevice(s)) }
func campaignID(s string) ident.Campaign { return must(ident.ParseCampaign(s)) }

func deviceOf(t ident.Tenant, s string) topics.Principal {
	return topics.Principal{Tenant: t, Role: topics.RoleDevice, Name: name(s)}
}

// start runs a bridge; wrap may put something between it and the store.
func start(t *testing.T, wrap func(campaign.Store) campaign.Store) *fixture {
	t.Helper()
	before := runtime.NumGoroutine()
	store, err := badger.Open(badger.Options{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, store: store}
	err = store.Update(t.Context(), func(tx campaign.Tx) error {
		var err error
		for _, id := range []ident.Tenant{acme, other, ident.System} {
			err = errors.Join(err, tx.PutTenant(campaign.Tenant{ID: id, Created: time.Now()}))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		f.store = wrap(store)
	}
	f.dir = t.TempDir()
	f.catalogue = must(firmware.OpenCatalogue(f.dir, firmware.CatalogueOptions{}))
	f.key = must(cose.GeneratePrivateKey(cose.P256, rand.Reader))
	f.directory = bridge.NewDirectory(f.store, nil)
	f.run()
	t.Cleanup(func() {
		f.stop()
		if err := errors.Join(f.catalogue.Close(), store.Close()); err != nil {
			t.Error(err)
		}
		checkGoroutines(t, before)
	})
	return f
}

// run starts the fixture's bridge on a new link; stop ends it.
func (f *fixture) run() {
	f.t.Helper()
	f.link = newFakeLink()
	b, err := bridge.New(bridge.Options{Store: f.store, Link: f.link, Catalogue: f.catalogue, Directory: f.directory, Version: "test",
		CommitDeadline: patience, Disconnect: func(p topics.Principal) { f.ended = append(f.ended, p) }})
	if err != nil {
		f.t.Fatal(err)
	}
	b.TellEvery(5 * time.Millisecond)
	f.bridge = b
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				f.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			f.t.Error("Run did not end")
		}
	})
}

// checkGoroutines polls until no more goroutines run than before.
func checkGoroutines(t *testing.T, before int) {
	t.Helper()
	for late := time.Now().Add(patience); ; runtime.Gosched() {
		if n := runtime.NumGoroutine(); n <= before {
			return
		} else if time.Now().After(late) {
			t.Errorf("%d goroutines more than at the start", n-before)
			return
		}
	}
}

// command is one command of a test and the answer to it.
type command struct {
	p          topics.Principal
	noun, verb string
	format     topics.Format
	key        string
	in         link.Inbound // further properties
}

// do sends a command and decodes its reply into reply; it returns the problem, if it ended in one.
func (f *fixture) do(c command, req, reply any) *topics.Problem {
	f.t.Helper()
	body, err := topics.Encode(req, c.format)
	if err != nil {
		f.t.Fatal(err)
	}
	m := f.raw(c, body)
	if m.Props.ContentType != c.format.ContentType() && m.Props.ContentType != c.format.ProblemContentType() {
		f.t.Errorf("%s/%s: content type %q", c.noun, c.verb, m.Props.ContentType)
	}
	if status := m.Props.Get("status"); status != "200" {
		p := topics.DecodeProblem(m.Payload)
		if p == nil || fmt.Sprint(p.Status) != status {
			f.t.Fatalf("%s/%s: status %q with body %q", c.noun, c.verb, status, m.Payload)
		}
		return p
	}
	if reply != nil {
		if _, err := topics.Decode(m.Payload, reply); err != nil {
			f.t.Fatalf("%s/%s: decode reply %q: %v", c.noun, c.verb, m.Payload, err)
		}
	}
	return nil
}

// raw sends a command's body as it is and returns the reply.
func (f *fixture) raw(c command, body []byte) link.Message {
	f.t.Helper()
	f.seq++
	in := c.in
	in.Topic, in.Payload, in.QoS = topics.CommandTopic(c.p.Tenant, c.noun, c.verb), body, 1
	in.Props.CorrelationData = fmt.Append(nil, f.seq)
	if c.key != "" {
		in.Props.User = append(slices.Clone(in.Props.User), link.Property{Key: "idempotency-key", Value: c.key})
	}
	f.link.mu.Lock()
	from := len(f.link.messages)
	f.link.mu.Unlock()
	if out := f.link.publish(f.t, c.p, in); !out.done {
		f.t.Fatalf("%s/%s was not done: %v", c.noun, c.verb, out.err)
	}
	m, _ := f.link.await(f.t, "reply", from, func(m link.Message) bool {
		return strings.HasPrefix(m.Topic, topics.ReplyTopic(c.p.Tenant, c.p.Name)) && bytes.Equal(m.Props.CorrelationData, in.Props.CorrelationData)
	})
	return m
}

// ok sends an operator's command that must succeed.
func (f *fixture) ok(noun, verb string, req, reply any) {
	f.t.Helper()
	if p := f.do(command{p: operator, noun: noun, verb: verb, format: topics.CBOR}, req, reply); p != nil {
		f.t.Fatalf("%s/%s: %v", noun, verb, p)
	}
}

// fails sends an operator's command that must end in a problem of one type.
func (f *fixture) fails(want, noun, verb string, req any) *topics.Problem {
	f.t.Helper()
	p := f.do(command{p: operator, noun: noun, verb: verb}, req, nil)
	if p == nil || p.Type != want {
		f.t.Fatalf("%s/%s: problem %v, want %s", noun, verb, p, want)
	}
	return p
}

// upload puts a payload in the catalogue by the public commands.
func (f *fixture) upload(p topics.Principal, data []byte) ident.Digest {
	f.t.Helper()
	d := ident.SumDigest(data)
	send := func(verb string, req any) {
		f.t.Helper()
		if p := f.do(command{p: p, noun: "payload", verb: verb}, req, nil); p != nil {
			f.t.Fatalf("payload/%s: %v", verb, p)
		}
	}
	send("begin", topics.PayloadBegin{Digest: d, Size: int64(len(data)), Name: "image.bin"})
	for off := 0; off < len(data); off += topics.MaxAppend {
		send("append", topics.PayloadAppend{Digest: d, Offset: int64(off), Data: data[off:min(off+topics.MaxAppend, len(data))]})
	}
	send("commit", topics.PayloadCommit{Digest: d})
	return d
}

// envelope signs a manifest for a payload.
func (f *fixture) envelope(d ident.Digest, size int, sequence uint64) []byte {
	f.t.Helper()
	unsigned, err := firmware.Create(firmware.Spec{Vendor: vendor, Class: class, Sequence: sequence, Image: d, Size: int64(size), Version: "1.1"})
	if err != nil {
		f.t.Fatal(err)
	}
	return must(firmware.Sign(unsigned, f.key, cose.ESP256, must(ident.ParseKey("author")), rand.Reader))
}

// trust makes the fixture's key an anchor of p's tenant.
func (f *fixture) trust(p topics.Principal) {
	f.t.Helper()
	req := topics.TrustAdd{ID: must(ident.ParseKey("author")), Key: f.key.Public().PEM()}
	if p := f.do(command{p: p, noun: "trust", verb: "add"}, req, nil); p != nil {
		f.t.Fatal(p)
	}
}

// published has the payload and manifest of an update ready, and returns the manifest.
func (f *fixture) published(data []byte) topics.ManifestView {
	f.t.Helper()
	f.trust(operator)
	d := f.upload(operator, data)
	var m topics.ManifestView
	f.ok("manifest", "create", topics.ManifestCreate{Envelope: f.envelope(d, len(data), 7)}, &m)
	return m
}

// hello makes a device known.
func (f *fixture) hello(id string, h topics.Hello) *outcome {
	f.t.Helper()
	h.Vendor, h.Class = vendor, class
	return f.device(id, topics.HelloTopic(acme, device(id)), h)
}

func (f *fixture) report(id string, r topics.Report) *outcome {
	f.t.Helper()
	return f.device(id, topics.ReportTopic(acme, device(id)), r)
}

func (f *fixture) device(id, topic string, body any) *outcome {
	f.t.Helper()
	return f.link.publish(f.t, deviceOf(acme, id), link.Inbound{Topic: topic, Payload: must(topics.Encode(body, topics.CBOR)), QoS: 1})
}
