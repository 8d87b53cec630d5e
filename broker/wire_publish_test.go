package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/broker"
	"fleetbridge/link"
	"fleetbridge/topics"
)

const report = "fleet/v1/acme/device/d1/report"

// Every answer of a handler × protocol version × QoS: what the publisher sees, and that nobody else sees anything.
func TestAnswers(t *testing.T) {
	done := func(c link.Code) func(link.Inbound) { return func(in link.Inbound) { in.Ack.Done(c) } }
	refuse := func(err error) func(link.Inbound) { return func(in link.Inbound) { in.Ack.Refuse(err) } }
	tests := []struct {
		name   string
		answer func(link.Inbound)
		code   byte // PUBACK's, MQTT 5
		closed bool
	}{
		{"success", done(link.Success), 0, false},
		{"format error", done(link.PayloadFormatError), 0x99, false},
		{"not authorized", done(link.NotAuthorized), 0x87, false},
		{"topic name", done(link.TopicNameInvalid), 0x90, false},
		{"quota", done(link.QuotaExceeded), 0x97, false},
		{"implementation", done(link.ImplementationErr), 0x83, false},
		{"unspecified", done(link.Unspecified), 0x80, false},
		{"not a PUBACK code", done(0x8e), 0x80, false},
		{"a success that PUBACK has not", done(0x01), 0, false},
		{"twice", func(in link.Inbound) { in.Ack.Done(0); in.Ack.Refuse(errStore); in.Ack.Done(0x99) }, 0, false},
		{"store error", refuse(errStore), 0, true},
		{"no error at all", refuse(nil), 0, true},
		{"a code of mochi's", refuse(packets.ErrQuotaExceeded), 0, true},
		{"a wrapped code of mochi's", refuse(fmt.Errorf("commit: %w", packets.ErrQuotaExceeded)), 0, true},
		{"a wrapped ignore", refuse(fmt.Errorf("commit: %w", packets.CodeSuccessIgnore)), 0, true},
	}
	s := start(t)
	watch := s.client(v5, "acme/operator")
	if code := watch.subscribe("fleet/v1/acme/#", 0); code != 0 {
		t.Fatalf("SUBACK %#x", code)
	}
	for _, test := range tests {
		for _, version := range []byte{v4, v5} {
			for _, flags := range []byte{0, 2, 3} { // QoS 0, QoS 1, QoS 1 with RETAIN
				s.h.answerWith(test.answer)
				c := s.client(version, "acme/d1")
				c.write(c.publishBytes(flags, report, 0x0102, []byte("r")))
				name := fmt.Sprintf("%s, version %d, flags %d", test.name, version, flags)
				checkAnswer(t, name, c, flags>>1&1, test.code, test.closed)
				if in := s.h.next(t); in.QoS != flags>>1&3 || in.Retain != (flags&1 == 1) || in.V5 != (version == v5) {
					t.Errorf("%s: handler got %+v", name, in)
				}
			}
		}
	}
	if got := s.before(watch, "fleet/v1/acme/campaign/c/event"); len(got) != 0 {
		t.Errorf("subscribers got %v", got)
	}
	if n := s.b.Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

func checkAnswer(t *testing.T, name string, c *raw, qos, code byte, closed bool) {
	t.Helper()
	if closed {
		got := c.wantEnd()
		switch {
		case c.version == v4 && len(got) != 0:
			t.Errorf("%s: got %v, want the end and nothing before it", name, got)
		case c.version == v5 && (len(got) != 1 || got[0].kind() != tDisconnect || got[0].body[0] != 0x89):
			t.Errorf("%s: got %v, want DISCONNECT 0x89", name, got)
		}
		return
	}
	if qos == 0 {
		c.ping()
		return
	}
	got := c.want(tPuback)
	if !bytes.Equal(got.body[:2], []byte{1, 2}) {
		t.Errorf("%s: PUBACK % x", name, got.body)
	}
	if c.version == v4 || code == 0 {
		if len(got.body) != 2 {
			t.Errorf("%s: PUBACK % x, want two bytes", name, got.body)
		}
	} else if len(got.body) < 3 || got.body[2] != code {
		t.Errorf("%s: PUBACK % x, want code %#x", name, got.body, code)
	}
	c.ping()
}

func TestQoS2IsRefused(t *testing.T) {
	s := start(t)
	for _, version := range []byte{v4, v5} {
		c := s.client(version, "acme/d1")
		c.write(c.publishBytes(4, report, 9, []byte("r")))
		got := c.wantEnd()
		switch {
		case version == v4 && len(got) != 0:
			t.Errorf("3.1.1 client got %v", got)
		case version == v5 && (len(got) != 1 || got[0].kind() != tDisconnect || got[0].body[0] != 0x9b):
			t.Errorf("got %v, want DISCONNECT 0x9B", got)
		}
	}
	s.h.empty(t)
}

func TestCommitFailureIsHealedByReconnecting(t *testing.T) {
	s := start(t)
	for _, version := range []byte{v4, v5} {
		var tries atomic.Int64
		s.h.answerWith(func(in link.Inbound) {
			if tries.Add(1) == 1 {
				in.Ack.Refuse(errStore)
				return
			}
			in.Ack.Done(link.Success)
		})
		c := s.client(version, "acme/d1")
		c.write(c.publishBytes(2, report, 3, []byte("r")))
		for _, p := range c.wantEnd() {
			if p.kind() == tPuback {
				t.Errorf("version %d: PUBACK without a commit", version)
			}
		}
		s.client(version, "acme/d1").publish1(report, "r")
		if first, second := s.h.next(t), s.h.next(t); string(first.Payload) != "r" || string(second.Payload) != "r" {
			t.Error("the report was not sent twice")
		}
	}
}

func TestPubackDoesNotEchoUserProperties(t *testing.T) {
	s := start(t)
	c := s.client(v5, "acme/d1")
	user := append(append([]byte{0x26}, str("key")...), str("value")...)
	c.write(c.publishBytes(2, report, 0x1234, []byte("r"), user))
	if got := c.want(tPuback); !bytes.Equal(got.body, []byte{0x12, 0x34}) {
		t.Errorf("PUBACK % x, want 40 02 12 34", got.body)
	}
	if in := s.h.next(t); in.Props.Get("key") != "value" {
		t.Errorf("handler got %+v", in.Props)
	}
}

func TestDeniedPublish(t *testing.T) {
	s := start(t)
	for _, topic := range []string{
		"fleet/v1/evil/device/d1/report", "fleet/v1/acme/device/d2/report", "fleet/v1/acme/device/d1/manifest",
		"fleet/v1/acme/command/campaign/start", "fleet/v1/acme/reply/operator", "a", "/", strings.Repeat("a/", 2000),
	} {
		c := s.client(v5, "acme/d1")
		if code := c.publish1(topic, "x"); code != 0x87 {
			t.Errorf("%.40s: PUBACK %#x, want 0x87", topic, code)
		}
		c.write(c.publishBytes(0, topic, 0, nil))
		c.ping()
		old := s.client(v4, "acme/d1")
		old.write(old.publishBytes(2, topic, 1, []byte("x")))
		if got := old.wantEnd(); len(got) != 0 {
			t.Errorf("%.40s: 3.1.1 client got %v before the end", topic, got)
		}
	}
	for _, topic := range []string{"$SYS/broker/version", "$share/g/" + report, "fleet/v1/acme/device/+/report", ""} {
		for _, version := range []byte{v4, v5} {
			c := s.client(version, "acme/d1")
			c.write(c.publishBytes(2, topic, 1, []byte("x")))
			for _, p := range c.wantEnd() {
				if p.kind() != tDisconnect || version == v4 {
					t.Errorf("%q, version %d: got %v", topic, version, p)
				}
			}
		}
	}
	s.h.empty(t)
}

func TestTopicAliasIsRefused(t *testing.T) {
	s := start(t)
	for _, topic := range []string{report, ""} {
		c := s.client(v5, "acme/d1")
		c.write(c.publishBytes(0, topic, 0, []byte("r"), []byte{0x23, 0, 1}))
		if got := c.wantEnd(); len(got) != 1 || got[0].kind() != tDisconnect || got[0].body[0] != 0x94 {
			t.Errorf("topic %q: got %v, want DISCONNECT 0x94", topic, got)
		}
	}
	s.h.empty(t)
}

func TestPacketsOfNoExchangeEndTheConnection(t *testing.T) {
	s := start(t)
	for name, b := range map[string][]byte{
		"AUTH": {0xf0, 0}, "PUBREC": {0x50, 2, 0, 1}, "PUBREL": {0x62, 2, 0, 1}, "PUBCOMP": {0x70, 2, 0, 1},
		"CONNACK": {0x20, 2, 0, 0}, "SUBACK": {0x90, 4, 0, 1, 0, 0}, "type 0": {0, 0}, "long length": {0x30, 0xff, 0xff, 0xff, 0xff, 1},
		"second CONNECT": encode(0x10, str("MQTT"), []byte{5, 2}, num16(0), []byte{0}, str("x")),
	} {
		c := s.client(v5, "acme/d1")
		c.write(b)
		for _, p := range c.wantEnd() {
			if p.kind() != tDisconnect {
				t.Errorf("%s: got %v", name, p)
			}
		}
	}
}

func TestSubscribeAccess(t *testing.T) {
	s := start(t)
	deep := strings.Repeat("a/", 10_000) + "#"
	denied := map[string][]string{
		"acme/d1": {"#", "+/#", "$SYS/#", "$share/g/#", "$SHARE/g/fleet/v1/acme/device/d1/manifest", "fleet/v1/acme/#", "fleet/v1/evil/device/d1/manifest",
			"fleet/v1/acme/device/d2/manifest", "fleet/v1/acme/device/+/manifest", "fleet/v1/acme/device/d1/#", "fleet/v1/+/device/d1/manifest", deep},
		"acme/operator": {"#", "+/#", "$SYS/#", "$sys/#", "$share/g/#", "$SHARE/g/#", "$share/g/$SYS/#", "$Share/g/fleet/v1/evil/#", "fleet/v1/evil/#", "fleet/v1/+/#",
			"fleet/v1/acme/reply/other/#", "fleet/v1/acme/reply/other", "$share/g/fleet/v1/acme/reply/other", deep},
	}
	for user, filters := range denied {
		for version, want := range map[byte]byte{v4: 0x80, v5: 0x87} {
			c := s.client(version, user)
			for _, f := range filters {
				if code := c.subscribe(f, 0); code != want {
					t.Errorf("%s, version %d: SUBACK %#x for %.60s, want %#x", user, version, code, f, want)
				}
			}
			for _, f := range []string{"$share/g", "$share//x", "a/#/b", ""} {
				if code := c.subscribe(f, 0); code < 0x80 {
					t.Errorf("%s: SUBACK %#x for %q", user, code, f)
				}
			}
			c.ping()
		}
	}
	op, d := s.client(v5, "acme/operator"), s.client(v4, "acme/d1")
	for _, f := range []string{"fleet/v1/acme/#", "$share/g/fleet/v1/acme/#", "fleet/v1/acme/reply/operator/#"} {
		if code := op.subscribe(f, 2); code != 0 {
			t.Errorf("operator: SUBACK %#x for %s, want QoS 0", code, f)
		}
	}
	for _, f := range []string{"fleet/v1/acme/device/d1/manifest", "fleet/v1/acme/device/d1/chunk/#", "fleet/v1/acme/device/d1/chunk/t/+"} {
		if code := d.subscribe(f, 1); code != 0 {
			t.Errorf("device: SUBACK %#x for %s, want QoS 0", code, f)
		}
	}
}

// Even where an Access lets it in, a filter of 10,000 levels never reaches mochi's index, whose cost is quadratic.
func TestDeepFilterNeverReachesTheIndex(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access = open{} })
	c := s.client(v5, "acme/d1")
	for _, f := range []string{strings.Repeat("a/", 10_000) + "a", strings.Repeat("a/", 12) + "a", strings.Repeat("a", 257)} {
		if code := c.subscribe(f, 0); code < 0x80 {
			t.Errorf("SUBACK %#x for a filter of %d bytes", code, len(f))
		}
	}
	if code := c.subscribe(strings.Repeat("a/", 11)+"a", 0); code != 0 {
		t.Errorf("SUBACK %#x for 12 levels", code)
	}
	long := c.publish1(strings.Repeat("a/", 2000)+"a", "")
	if long != 0x87 {
		t.Errorf("PUBACK %#x", long)
	}
	c.write(encode(0xa2, num16(1), []byte{0}, str(strings.Repeat("a/", 20_000))))
	if got := c.wantEnd(); len(got) != 1 || got[0].body[0] != 0x8f {
		t.Errorf("UNSUBSCRIBE got %v, want DISCONNECT 0x8F", got)
	}
}

// choosy lets everybody subscribe, and hides topics from the principals of one name.
type choosy struct {
	open
	blind string
}

func (a choosy) MayReceive(p topics.Principal, topic string) bool {
	return p.Name.String() != a.blind || topic == "c"
}

func TestDeliveryAsksForTheConcreteTopic(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access = choosy{blind: "d1"} })
	blind, seeing := s.client(v5, "acme/d1"), s.client(v5, "acme/d2")
	for _, f := range []string{"a/#", "$share/g/b/#", "$SHARE/h/b/+"} {
		for _, c := range []*raw{blind, seeing} {
			if code := c.subscribe(f, 0); code != 0 {
				t.Fatalf("SUBACK %#x", code)
			}
		}
	}
	const n = 50
	for range n {
		for _, topic := range []string{"a/x", "b/x"} {
			if err := s.b.Publish(context.Background(), link.Message{Topic: topic}); err != nil {
				t.Fatal(err)
			}
		}
		// A shared subscription's message must not be lost to the member who may not have it. The one client is the
		// member of both groups, and gets one copy.
		for range 2 {
			seeing.next()
		}
	}
	if code := blind.subscribe("c", 0); code != 0 {
		t.Fatalf("SUBACK %#x", code)
	}
	if got := s.before(blind, "c"); len(got) != 0 {
		t.Errorf("%d messages to one who may not have them", len(got))
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access, o.MaxSubscriptions = open{}, 3 })
	c := s.client(v5, "acme/d1")
	for i := range 3 {
		if code := c.subscribe(fmt.Sprint(i), 0); code != 0 {
			t.Fatalf("SUBACK %#x", code)
		}
	}
	c.write(c.subscribeBytes("4", 0))
	if got := c.wantEnd(); len(got) != 1 || got[0].body[0] != 0x97 {
		t.Errorf("got %v, want DISCONNECT 0x97", got)
	}
}

// A client that stops reading holds up nobody, and is closed after the write deadline, whatever its keepalive.
func TestStalledReader(t *testing.T) {
	for _, keepAlive := range []uint16{0, 1200} {
		s := start(t, func(o *broker.Options) { o.Access, o.WriteDeadline = open{}, 300*time.Millisecond })
		stalled := s.dial(v5)
		if code, _ := stalled.connect(login{user: "acme/d1", password: "secret", keepAlive: keepAlive}); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		reader := s.client(v4, "acme/d2")
		stalled.subscribe("big", 1)
		reader.subscribe("small", 1)
		payload := make([]byte, 64<<10)
		for i := range 400 { // 25 MiB: more than the sockets hold
			if err := s.b.Publish(context.Background(), link.Message{Topic: "big", Payload: payload, QoS: 1}); err != nil {
				t.Fatal(err)
			}
			if i%100 == 0 {
				if err := s.b.Publish(context.Background(), link.Message{Topic: "small", QoS: 1}); err != nil {
					t.Fatal(err)
				}
				reader.next()
			}
		}
		if s.b.Stats().Dropped == 0 {
			t.Error("nothing was dropped: the queue is not bounded")
		}
		eventually(t, "the stalled client is closed", func() bool { return s.b.Stats().Sockets == 1 })
		reader.ping()
	}
}

// A stalled client can't keep its successor, a revocation or Close waiting for the write deadline.
func TestStalledReaderIsTakenOver(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access, o.WriteDeadline = open{}, time.Hour })
	for range 2 {
		stalled := s.client(v5, "acme/d1")
		stalled.subscribe("big", 0)
		before := s.b.Stats().Dropped
		eventually(t, "its queue is full", func() bool {
			if err := s.b.Publish(context.Background(), link.Message{Topic: "big", Payload: make([]byte, 256<<10)}); err != nil {
				t.Fatal(err)
			}
			return s.b.Stats().Dropped > before
		})
	}
	s.client(v5, "acme/d1").ping()
}

func TestCleanSessionZeroKeepsNothing(t *testing.T) {
	s := start(t)
	for range 2 {
		c := s.dial(v4)
		c.write(c.connectBytes(login{user: "acme/d1", password: "secret", id: "d1", unclean: true}))
		if p := c.want(tConnack); !bytes.Equal(p.body, []byte{0, 0}) {
			t.Fatalf("CONNACK % x, want no session present", p.body)
		}
		if err := s.b.Publish(context.Background(), link.Message{Topic: "fleet/v1/acme/device/d1/permit"}); err != nil {
			t.Fatal(err)
		}
		if code := c.subscribe("fleet/v1/acme/device/d1/permit", 1); code != 0 {
			t.Fatalf("SUBACK %#x", code)
		}
		if got := s.before(c, "fleet/v1/acme/device/d1/permit"); len(got) != 0 {
			t.Errorf("a subscription outlived its connection: %v", got)
		}
		if err := c.conn.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is gone", func() bool { return s.b.Stats().Sockets == 0 && broker.Subscriptions(s.b) == 0 })
	}
	c := s.dial(v5) // an MQTT 5 session ends at the close too, and the client may name another expiry in DISCONNECT
	c.write(c.connectBytes(login{user: "acme/d1", password: "secret", id: "d1", unclean: true, props: [][]byte{{0x11, 0, 0, 1, 0}}}))
	if p := c.want(tConnack); p.body[0] != 0 || !bytes.Contains(p.body, []byte{0x11, 0, 0, 0, 0}) {
		t.Errorf("CONNACK % x, want session expiry 0", p.body)
	}
	c.write(encode(0xe0, []byte{0}, encode(0, []byte{0x11, 0, 0, 1, 0})[1:]))
	if got := c.wantEnd(); len(got) != 0 {
		t.Errorf("got %v after DISCONNECT", got)
	}
	eventually(t, "it is gone", func() bool { return s.b.Stats().Sockets == 0 })
}

// 200 QoS 1 messages to a Receive Maximum of 5, and a SUBSCRIBE whose packet id an outbound message could have.
func TestQoS1NeverGoesOut(t *testing.T) {
	s := start(t)
	c := s.dial(v5)
	if code, _ := c.connect(login{user: "acme/d1", password: "secret", props: [][]byte{{0x21, 0, 5}}}); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	permit := "fleet/v1/acme/device/d1/permit"
	if code := c.subscribe(permit, 1); code != 0 {
		t.Fatalf("SUBACK %#x, want QoS 0", code)
	}
	for i := range 200 {
		if err := s.b.Publish(context.Background(), link.Message{Topic: permit, Payload: fmt.Append(nil, i), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		if m := c.next(); m.payload != fmt.Sprint(i) || m.qos != 0 {
			t.Fatalf("message %d: got %+v", i, m)
		}
	}
	for range 10 {
		if code := c.subscribe(permit, 1); code != 0 {
			t.Fatalf("SUBACK %#x", code)
		}
	}
}

// A message that is too large for a client is not sent to it, and neither holds up nor ends anything.
func TestTooLargeForTheClient(t *testing.T) {
	s := start(t)
	permit := "fleet/v1/acme/device/d1/permit"
	for range 2 {
		c := s.dial(v5)
		if code, _ := c.connect(login{user: "acme/d1", password: "secret", id: "d1", props: [][]byte{{0x27, 0, 0, 0, 100}}}); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		s.shelf.set("fleet/v1/acme/device/d1/manifest", strings.Repeat("m", 100))
		c.subscribe(permit, 0)
		c.subscribe("fleet/v1/acme/device/d1/manifest", 0)
		for _, payload := range []string{"small", strings.Repeat("x", 100), "small", "small", strings.Repeat("x", 100)} {
			if err := s.b.Publish(context.Background(), link.Message{Topic: permit, Payload: []byte(payload), QoS: 1}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if m := c.next(); m.payload != "small" {
				t.Errorf("got %+v", m)
			}
		}
		c.ping()
	}
}

func TestSecretsAreNotLogged(t *testing.T) {
	log := &lockedBuffer{}
	s := start(t, func(o *broker.Options) { o.Logger = debugLogger(log) })
	c := s.client(v5, "acme/d1")
	c.write(c.publishBytes(2, report, 1, []byte("payload-of-a-report")))
	c.want(tPuback)
	c.write(c.connectBytes(login{user: "acme/d1", password: "hunter2hunter2", id: "d1"}))
	c.wantEnd()
	if code, _ := s.dial(v5).connect(login{user: "acme/d1", password: "hunter2hunter2"}); code != 0x86 {
		t.Errorf("CONNACK %#x", code)
	}
	eventually(t, "the refusal is logged", func() bool { return strings.Contains(log.String(), "authentication failed") })
	// Byte slices are printed as numbers by slog; look for those too.
	for _, secret := range []string{"hunter2", "payload-of-a-report", "104 117 110 116 101 114 50"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q:\n%s", secret, log)
		}
	}
}

// pipes carry a broker's bytes in memory, where a write waits for its reader.
func TestServesAnyConn(t *testing.T) {
	s := start(t)
	client, server := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { s.b.ServeConn(server) })
	c := newRaw(t, client, v5)
	if code, _ := c.connect(login{user: "acme/d1", password: "secret"}); code != 0 {
		t.Errorf("CONNACK %#x", code)
	}
	if code := c.publish1(report, "r"); code != 0 {
		t.Errorf("PUBACK %#x", code)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// A client whose queue is full loses events and stays. Once it would lose the state of a topic or a reply, it is closed, so
// that it subscribes again and is told.
func TestFullQueueLosesEventsButNotState(t *testing.T) {
	for owed, m := range map[string]link.Message{
		"state": {Topic: "fleet/v1/acme/campaign/c/progress", Payload: []byte("{}"), Retain: true},
		"clear": {Topic: "fleet/v1/acme/device/d1/manifest", Retain: true},
		"reply": {Topic: "fleet/v1/acme/reply/operator", Payload: []byte("{}")},
	} {
		t.Run(owed, func(t *testing.T) {
			s := start(t, func(o *broker.Options) { o.WriteDeadline = time.Hour })
			c := s.client(v5, "acme/operator")
			c.subscribe("fleet/v1/acme/#", 0)
			big := link.Message{Topic: "fleet/v1/acme/campaign/c/event", Payload: make([]byte, 256<<10)}
			eventually(t, "its queue is full", func() bool {
				if err := s.b.Publish(context.Background(), big); err != nil {
					t.Fatal(err)
				}
				return s.b.Stats().Dropped > 20
			})
			if n := s.b.Stats().Sockets; n != 1 {
				t.Fatalf("%d sockets after lost events, want 1", n)
			}
			if err := s.b.Publish(context.Background(), m); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the client is closed", func() bool { return s.b.Stats().Sockets == 0 })
		})
	}
}
