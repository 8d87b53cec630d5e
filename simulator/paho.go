package simulator

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"fleetbridge/simulator/lean"
)

// pahoConn is a conn over paho.golang, MQTT 5: a sample of the fleet speaks through a client that is not ours, so that a
// mistake in package lean can't hide one in the server.
type pahoConn struct {
	client *paho.Client
	net    net.Conn
	events chan lean.Event // paho's goroutine blocks while it is full, which is TCP back-pressure
	ctx    context.Context // ends with the connection; paho's callbacks have none of their own
	end    context.CancelCauseFunc
	nextID uint16
	flight sync.WaitGroup // publishes that wait for their PUBACK
}

// Bounds of what is under way on one connection. Without ReceiveMaximum paho makes a channel of 65535.
const (
	pahoEvents         = 16
	pahoReceiveMaximum = 16
)

// connectPaho speaks CONNECT on nc, which it owns, until ctx ends.
func connectPaho(ctx context.Context, nc net.Conn, o lean.Options) (conn, error) {
	c := &pahoConn{net: nc, events: make(chan lean.Event, pahoEvents)}
	c.ctx, c.end = context.WithCancelCause(context.WithoutCancel(ctx))
	c.client = paho.NewClient(paho.ClientConfig{
		Conn:               packets.NewThreadSafeConn(nc), // several goroutines of paho write
		OnPublishReceived:  []func(paho.PublishReceived) (bool, error){c.received},
		OnServerDisconnect: func(p *paho.Disconnect) { c.end(fmt.Errorf("server sent DISCONNECT %#x", p.ReasonCode)) },
		OnClientError:      func(err error) { c.end(err) },
	})
	max := uint16(pahoReceiveMaximum)
	size := uint32(o.MaxPacket)
	_, err := c.client.Connect(ctx, &paho.Connect{
		ClientID: o.ClientID, KeepAlive: uint16(o.KeepAlive.Seconds()), CleanStart: true,
		UsernameFlag: true, Username: o.User, PasswordFlag: true, Password: []byte(o.Password),
		Properties: &paho.ConnectProperties{ReceiveMaximum: &max, MaximumPacketSize: &size},
	})
	if err != nil {
		c.Abort()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

// received runs on paho's goroutine; the packet's slices are the callback's to keep.
func (c *pahoConn) received(p paho.PublishReceived) (bool, error) {
	c.put(lean.Event{Kind: lean.Message, Topic: []byte(p.Packet.Topic), Payload: p.Packet.Payload, Retain: p.Packet.Retain})
	return true, nil
}

func (c *pahoConn) put(e lean.Event) {
	select {
	case c.events <- e:
	case <-c.ctx.Done():
	}
}

func (c *pahoConn) Publish(topic string, payload []byte, qos byte) (uint16, error) {
	p := &paho.Publish{Topic: topic, Payload: payload, QoS: qos}
	if qos == 0 {
		_, err := c.client.Publish(c.ctx, p)
		return 0, err
	}
	id := c.newID()
	c.flight.Go(func() { // paho's Publish returns at the PUBACK
		r, err := c.client.Publish(c.ctx, p)
		switch {
		case err != nil && (r == nil || r.ReasonCode < 0x80):
			c.end(err)
		default: // a PUBACK of any code ends the exchange; 0x80 and more come with an error too [MQTT-4.4.0-1]
			c.put(lean.Event{Kind: lean.Ack, ID: id})
		}
	})
	return id, nil
}

func (c *pahoConn) Subscribe(filters []string) (uint16, error) {
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: 1})
	}
	// It waits for the SUBACK, else the hello could overtake it; a retained manifest meanwhile has room in events.
	r, err := c.client.Subscribe(c.ctx, s)
	if err != nil && r == nil {
		return 0, err
	}
	id := c.newID()
	c.put(lean.Event{Kind: lean.Subscribed, ID: id, Payload: r.Reasons})
	return id, nil
}

func (c *pahoConn) Next(deadline time.Time) (lean.Event, error) {
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		timeout = t.C
	}
	select {
	case e := <-c.events:
		return e, nil
	case <-c.ctx.Done():
		return lean.Event{}, context.Cause(c.ctx)
	case <-timeout:
		return lean.Event{}, lean.ErrTimeout
	}
}

func (c *pahoConn) Disconnect() error {
	err := c.client.Disconnect(&paho.Disconnect{ReasonCode: 0})
	c.Abort()
	c.flight.Wait()
	return err
}

func (c *pahoConn) Abort() {
	c.end(net.ErrClosed)
	// Closing twice is the only error here, and no harm.
	_ = c.net.Close()
}

func (c *pahoConn) newID() uint16 {
	if c.nextID++; c.nextID == 0 {
		c.nextID = 1
	}
	return c.nextID
}
