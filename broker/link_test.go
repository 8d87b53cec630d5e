package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"fleetbridge/broker"
	"fleetbridge/link"
	"fleetbridge/link/linktest"
)

func TestLinkContract(t *testing.T) {
	linktest.Run(t, func(t *testing.T) linktest.Harness {
		s := startUnserved(t)
		var n int
		return linktest.Harness{
			Link:        s.b,
			SetRetained: s.shelf.set,
			Connect: func(t testing.TB, d linktest.Dial) linktest.Client {
				c := s.dial(v4)
				l := login{user: d.Principal.Tenant.String() + "/" + d.Principal.Name.String(), password: "secret", id: fmt.Sprint(n)}
				n++
				if d.V5 {
					c.version = v5
					if d.MaxPacket > 0 {
						l.props = append(l.props, binary.BigEndian.AppendUint32([]byte{0x27}, d.MaxPacket))
					}
				}
				if code, _ := c.connect(l); code != 0 {
					t.Fatalf("connect as %v: CONNACK %#x", d.Principal, code)
				}
				return newLinkClient(c)
			},
		}
	})
}

// startUnserved is start without a handler.
func startUnserved(t testing.TB) *bench {
	s := &bench{t: t, shelf: &shelf{}}
	var err error
	if s.b, err = broker.New(broker.Options{Authenticate: authenticate, Retained: s.shelf}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	accepting := make(chan error, 1)
	go func() { accepting <- s.b.ServeListener(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(s.b.Close(ctx), <-accepting); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// linkClient is a linktest.Client over a raw one. A goroutine reads; answers and messages go their own ways.
type linkClient struct {
	*raw
	answers  chan packet
	messages chan linktest.Received
	ended    chan struct{}
	mu       sync.Mutex // of writing, and of one exchange at a time
}

func newLinkClient(c *raw) *linkClient {
	l := &linkClient{raw: c, answers: make(chan packet, 16), messages: make(chan linktest.Received, 4096), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		for {
			p, err := c.read()
			if err != nil {
				return
			}
			if p.kind() != tPublish {
				l.answers <- p
				continue
			}
			m := c.parse(p)
			r := linktest.Received{Topic: m.topic, Payload: m.payload, Retain: m.retain}
			r.Props = link.Properties{ContentType: m.props.contentType, ResponseTopic: m.props.responseTopic, Expiry: m.props.expiry}
			r.Props.CorrelationData = []byte(m.props.correlation)
			for _, u := range m.props.user {
				r.Props.User = append(r.Props.User, link.Property{Key: u[0], Value: u[1]})
			}
			l.messages <- r
		}
	}()
	return l
}

var errEnded = errors.New("connection ended")

func (l *linkClient) answer(kind int) (packet, error) {
	select {
	case p := <-l.answers:
		if p.kind() != kind {
			return p, fmt.Errorf("got packet %v, want type %d", p, kind)
		}
		return p, nil
	case <-l.ended:
		return packet{}, errEnded
	}
}

func (l *linkClient) Publish(m link.Message) (link.Code, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var props [][]byte
	if p := m.Props; l.version == v5 {
		text := func(key byte, s string) {
			if s != "" {
				props = append(props, append([]byte{key}, str(s)...))
			}
		}
		text(0x03, p.ContentType)
		text(0x08, p.ResponseTopic)
		text(0x09, string(p.CorrelationData))
		if p.Expiry > 0 {
			props = append(props, binary.BigEndian.AppendUint32([]byte{0x02}, p.Expiry))
		}
		for _, u := range p.User {
			props = append(props, append(append([]byte{0x26}, str(u.Key)...), str(u.Value)...))
		}
	}
	flags := m.QoS << 1
	if m.Retain {
		flags |= 1
	}
	if err := l.tryWrite(l.publishBytes(flags, m.Topic, l.id(), m.Payload, props...)); err != nil || m.QoS == 0 {
		return link.Success, err
	}
	p, err := l.answer(tPuback)
	if err != nil || len(p.body) < 3 {
		return link.Success, err
	}
	return link.Code(p.body[2]), nil
}

func (l *linkClient) Subscribe(filter string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.tryWrite(l.subscribeBytes(filter, 1)); err != nil {
		return err
	}
	p, err := l.answer(tSuback)
	if err == nil && p.body[len(p.body)-1] >= 0x80 {
		err = fmt.Errorf("SUBACK %#x", p.body[len(p.body)-1])
	}
	return err
}

func (l *linkClient) Next() (linktest.Received, error) {
	select {
	case m := <-l.messages:
		return m, nil
	default:
	}
	select {
	case m := <-l.messages:
		return m, nil
	case <-l.ended:
		return linktest.Received{}, errEnded
	}
}

func (l *linkClient) Close() error {
	err := l.conn.Close()
	<-l.ended
	return err
}
