package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

// target is a whole server in this process, under attack.
type target struct {
	t       *testing.T
	srv     *server
	op      *client.Client
	key     cose.PrivateKey // the tenant's author
	context client.Context  // the operator's
}

func newTarget(t *testing.T) *target {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	srv, op, err := openDemo(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	cl, err := client.Dial(t.Context(), op)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	key, err := cose.GeneratePrivateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &target{t: t, srv: srv, op: cl, key: key, context: op}
	g.do("trust", "add", topics.TrustAdd{ID: g.author(), Key: key.Public().PEM()}, nil)
	return g
}

func (g *target) do(noun, verb string, request, reply any) {
	g.t.Helper()
	if err := g.op.Do(g.t.Context(), noun, verb, request, reply); err != nil {
		g.t.Fatal(err)
	}
}

func (g *target) author() ident.Key {
	k, err := ident.ParseKey("author")
	if err != nil {
		g.t.Fatal(err)
	}
	return k
}

// refused sends a command that must end in a problem of the given type.
func (g *target) refused(want, noun, verb string, request any) {
	g.t.Helper()
	err := g.op.Do(g.t.Context(), noun, verb, request, nil)
	var p *topics.Problem
	if !errors.As(err, &p) || p.Type != want {
		g.t.Errorf("%s/%s: got %v, want %s", noun, verb, err, want)
	} else if p.Detail == "" {
		g.t.Errorf("%s/%s: refused without a reason", noun, verb)
	}
}

// envelope is a manifest for payload, not signed yet.
func (g *target) envelope(payload []byte) []byte {
	g.t.Helper()
	vendor := firmware.VendorID("acme.example")
	b, err := firmware.Create(firmware.Spec{Vendor: vendor, Class: firmware.ClassID(vendor, "th-2"), Sequence: uint64(time.Now().Unix()),
		Image: ident.SumDigest(payload), Size: int64(len(payload))})
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

func (g *target) sign(envelope []byte, key cose.PrivateKey, id string) []byte {
	g.t.Helper()
	k, err := ident.ParseKey(id)
	if err != nil {
		g.t.Fatal(err)
	}
	b, err := firmware.Sign(envelope, key, cose.ESP256, k, rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

func (g *target) push(payload []byte) {
	g.t.Helper()
	begin := topics.PayloadBegin{Digest: ident.SumDigest(payload), Size: int64(len(payload))}
	if _, err := pushPayload(g.t.Context(), g.op, bytes.NewReader(payload), begin, func(int64) {}); err != nil {
		g.t.Fatal(err)
	}
}

// stored is all that the operator can see: what an attack must not change.
func (g *target) stored() map[string]any {
	g.t.Helper()
	out := map[string]any{}
	page := topics.Page{Limit: 500}
	for noun, reply := range map[string]any{
		"manifest": &topics.List[topics.ManifestView]{}, "payload": &topics.List[topics.PayloadView]{},
		"device": &topics.List[topics.DeviceView]{}, "campaign": &topics.List[topics.CampaignView]{},
		"trust": &topics.List[topics.AnchorView]{},
	} {
		g.do(noun, "list", page, reply)
		out[noun] = reply
	}
	var creds topics.List[topics.CredentialView]
	g.do("credential", "list", topics.CredentialList{Page: page}, &creds)
	out["credential"] = creds
	return out
}

// unchanged says that the server lives and that nothing was stored since before.
func (g *target) unchanged(before map[string]any) {
	g.t.Helper()
	if d := cmp.Diff(before, g.stored(), cmp.Comparer(func(a, b ident.Digest) bool { return a == b }),
		cmp.Comparer(func(a, b ident.Tenant) bool { return a == b }), cmp.Comparer(func(a, b ident.Device) bool { return a == b }),
		cmp.Comparer(func(a, b ident.Campaign) bool { return a == b }), cmp.Comparer(func(a, b ident.Key) bool { return a == b }),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Connected" || p.Last().String() == ".At" }, cmp.Ignore())); d != "" {
		g.t.Errorf("something was stored:\n%s", d)
	}
}

func TestAttackUnsignedAndWronglySigned(t *testing.T) {
	g := newTarget(t)
	payload := []byte("an update")
	g.push(payload)
	before := g.stored()
	other, err := cose.GeneratePrivateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	envelope := g.envelope(payload)
	for name, bad := range map[string][]byte{
		"unsigned":                   envelope,
		"stranger's key":             g.sign(envelope, other, "stranger"),
		"stranger's key, our name":   g.sign(envelope, other, "author"),
		"our key under another name": g.sign(envelope, g.key, "stranger"),
	} {
		t.Run(name, func(t *testing.T) {
			want := topics.ProblemManifestUntrusted
			if name == "stranger's key, our name" {
				want = topics.ProblemManifestSignature
			}
			g.refused(want, "manifest", "create", topics.ManifestCreate{Envelope: bad})
		})
	}
	g.unchanged(before)
}

// TestAttackTamperedManifest flips every byte of a signed envelope, one at a time: no variant is taken. A sample of
// them goes over the wire, all of them through the verification that the server uses.
func TestAttackTamperedManifest(t *testing.T) {
	g := newTarget(t)
	payload := []byte("an update")
	g.push(payload)
	before := g.stored()
	signed := g.sign(g.envelope(payload), g.key, "author")
	anchor, err := firmware.NewAnchor(g.author(), g.key.Public(), cose.ESP256, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		bad := bytes.Clone(signed)
		bad[i] ^= 0x01
		if _, err := firmware.Verify(bad, []firmware.Anchor{anchor}, time.Now()); err == nil {
			t.Errorf("byte %d changed, and it verifies", i)
		}
		if i%16 != 0 {
			continue
		}
		err := g.op.Do(t.Context(), "manifest", "create", topics.ManifestCreate{Envelope: bad}, nil)
		var p *topics.Problem
		if !errors.As(err, &p) || exitCode(err) != exitVerify {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	g.unchanged(before)
	g.do("manifest", "create", topics.ManifestCreate{Envelope: signed}, nil) // the untouched one is good
}

func TestAttackPayloadThatIsNotItsDigest(t *testing.T) {
	g := newTarget(t)
	before := g.stored()
	d := ident.SumDigest([]byte("what was promised"))
	g.do("payload", "begin", topics.PayloadBegin{Digest: d, Size: 17}, nil)
	g.do("payload", "append", topics.PayloadAppend{Digest: d, Data: []byte("what was sent....")}, nil)
	g.refused(topics.ProblemDigestMismatch, "payload", "commit", topics.PayloadCommit{Digest: d})
	g.refused(topics.ProblemPayloadNotFound, "manifest", "create",
		topics.ManifestCreate{Envelope: g.sign(g.envelope([]byte("what was promised")), g.key, "author")})
	g.unchanged(before)
}

// device makes a device with a credential, and how it connects.
func (g *target) device(name string) (user, token string) {
	g.t.Helper()
	d, err := ident.ParseDevice(name)
	if err != nil {
		g.t.Fatal(err)
	}
	var v topics.DeviceView
	g.do("device", "add", topics.DeviceAdd{Device: d, Credential: true}, &v)
	return v.User, v.Token
}

// session connects as someone.
func (g *target) session(user, token string) *paho.Client {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.srv.mqtt.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	s := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn), PacketTimeout: 10 * time.Second,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			g.t.Errorf("%s received something on %s", user, p.Packet.Topic)
			return true, nil
		}}})
	if _, err := s.Connect(g.t.Context(), &paho.Connect{ClientID: "x", CleanStart: true, KeepAlive: 60,
		Username: user, UsernameFlag: true, Password: []byte(token), PasswordFlag: true}); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = s.Disconnect(&paho.Disconnect{}) }) // it may be closed already
	return s
}

// attempt publishes on a connection of its own and returns the PUBACK's reason code, or 0xff where the connection was
// closed instead.
func (g *target) attempt(user, token, topic string, payload []byte) byte {
	g.t.Helper()
	s := g.session(user, token)
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	go func() { <-s.Done(); cancel() }() // paho itself does not tell a publisher that the connection is gone
	ack, err := s.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: payload})
	if ack == nil {
		if err == nil {
			g.t.Errorf("%s: neither answer nor error", topic)
		}
		return 0xff
	}
	return ack.ReasonCode
}

func TestAttackAnotherTenantsTopics(t *testing.T) {
	g := newTarget(t)
	user, token := g.device("dev-1")
	g.device("dev-2")
	before := g.stored()
	report, err := topics.Encode(topics.Report{Seq: 1, Manifest: ident.SumDigest(nil), State: topics.WordFailed}, topics.JSON)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{
		"fleet/v1/globex/device/dev-1/report", "fleet/v1/demo/device/dev-2/report", "fleet/v1/demo/device/dev-1/manifest",
		"fleet/v1/demo/device/dev-1/receipt", "fleet/v1/demo/command/campaign/create", "fleet/v1/system/command/tenant/add",
		"fleet/v1/demo/reply/operator", "fleet/v1/demo/campaign/c1/progress", "$SYS/broker/version", "elsewhere",
	} {
		if code := g.attempt(user, token, topic, report); code < 0x80 {
			t.Errorf("publish on %s: reason 0x%02x", topic, code)
		}
	}
	for _, filter := range []string{
		"#", "+/#", "fleet/v1/#", "fleet/v1/+/device/dev-1/manifest", "fleet/v1/globex/#", "fleet/v1/demo/#", "fleet/v1/demo/device/+/manifest",
		"fleet/v1/demo/device/dev-2/manifest", "$share/g/fleet/v1/demo/device/dev-1/manifest", "$SHARE/g/fleet/v1/globex/#", "$SYS/#",
		"fleet/v1/demo/reply/operator/#",
	} {
		ack, err := g.session(user, token).Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter}}})
		if err == nil || ack != nil && len(ack.Reasons) == 1 && ack.Reasons[0] < 0x80 {
			t.Errorf("subscribe to %s: %+v", filter, ack)
		}
	}
	g.unchanged(before)
}

func TestAttackGarbageOnEveryTopic(t *testing.T) {
	g := newTarget(t)
	user, token := g.device("dev-1")
	before := g.stored()
	var commands []string
	for _, c := range topics.Commands {
		commands = append(commands, "fleet/v1/demo/command/"+c.Noun+"/"+c.Verb)
	}
	commands = append(commands, "fleet/v1/demo/command/no/such", "fleet/v1/demo/command")
	for i, body := range [][]byte{nil, {0}, {0xff}, []byte("{"), []byte("[]"), []byte(`{"seq":"x"}`), []byte(`{"seq":1,"seq":2}`),
		[]byte("\xbf\x01\x02\xff"), random(t, 64), random(t, 4096), bytes.Repeat([]byte{0x9b}, 4096)} {
		for _, leaf := range []string{"hello", "report", "fetch"} {
			if code := g.attempt(user, token, "fleet/v1/demo/device/dev-1/"+leaf, body); code == 0xff {
				t.Errorf("body %d on %s: the connection was closed; a device would send it for ever", i, leaf)
			}
		}
		s := g.session(g.context.User, g.context.Token)
		for _, topic := range commands {
			// The answer is a problem on the reply topic that nobody listens to.
			if ack, err := s.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: body}); ack == nil {
				t.Errorf("body %d on %s: no answer: %v", i, topic, err)
				s = g.session(g.context.User, g.context.Token)
			}
		}
	}
	g.unchanged(before)
}

// TestAttackNestedCBOR sends 1 MiB of nested arrays, which no packet may hold, and the most that a packet may hold.
func TestAttackNestedCBOR(t *testing.T) {
	g := newTarget(t)
	user, token := g.device("dev-1")
	before := g.stored()
	for _, head := range []byte{0x81, 0xa1, 0xd8, 0x9f} { // arrays, maps, tags, arrays without length
		for _, size := range []int{1 << 20, 256 << 10, 60 << 10} {
			bomb := bytes.Repeat([]byte{head}, size)
			code := g.attempt(user, token, "fleet/v1/demo/device/dev-1/hello", bomb)
			if code < 0x80 {
				t.Errorf("%d bytes of 0x%02x: reason 0x%02x", size, head, code)
			}
			if size == 1<<20 && code != 0xff {
				t.Errorf("a packet of 1 MiB was read: reason 0x%02x", code)
			}
			want := topics.ProblemTooLarge // over the bound of an envelope: not looked at
			if size < 64<<10 {
				want = topics.ProblemManifestMalformed
			}
			g.refused(want, "manifest", "create", topics.ManifestCreate{Envelope: bomb[:min(size, 200<<10)]})
		}
	}
	g.unchanged(before)
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
