package broker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// maxConnect bounds a CONNECT packet in bytes: user name, token, client identifier and some properties fit easily.
const maxConnect = 8 << 10

// Longest credentials and client identifier, in bytes.
const (
	maxUser     = 256
	maxPassword = 1024
	maxClientID = 128
)

var errConnect = errors.New("connect refused")

// connect reads the first packet, which must be a CONNECT of bounded size [MQTT-3.1.0-1], and answers it. An idle or hostile
// socket costs us its descriptor and a small goroutine until the connect deadline.
func (c *conn) connect() error {
	// Both directions: a TLS handshake writes too.
	if err := c.nc.SetDeadline(time.Now().Add(c.b.o.ConnectDeadline)); err != nil {
		return err
	}
	if err := c.handshake(); err != nil {
		return err
	}
	head, body, err := c.nextPacket(maxConnect)
	if err == nil && head != packets.Connect<<4 {
		err = fmt.Errorf("first packet has type %d", head>>4)
	}
	if err != nil {
		c.b.stats.badConnects.Add(1)
		return fmt.Errorf("read connect: %w", err)
	}
	err = errConnect // of a panic
	c.apart(func() { err = c.accept(body) })
	return err
}

// handshake is TLS's, apart from the connection's goroutine for its deep frames. It waits for the client, and so for no gate.
func (c *conn) handshake() (err error) {
	t, ok := c.nc.(interface{ HandshakeContext(context.Context) error })
	if !ok {
		return nil
	}
	err = errConnect
	c.apart(func() { err = t.HandshakeContext(c.b.life) })
	return err
}

// accept decides on a CONNECT once the gate lets it, and sends CONNACK [MQTT-3.1.4-2], [MQTT-3.1.4-5].
func (c *conn) accept(body []byte) error {
	b := c.b
	ctx, cancel := b.timeout(b.o.ConnectDeadline)
	defer cancel()
	if err := b.connects.enter(ctx); err != nil {
		return fmt.Errorf("wait to connect: %w", err)
	}
	defer b.connects.leave()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: len(body)}}
	if err := pk.ConnectDecode(body); err != nil {
		b.stats.badConnects.Add(1)
		return fmt.Errorf("decode connect: %w", err)
	}
	c.v5, c.limit = pk.ProtocolVersion == 5, pk.Properties.MaximumPacketSize
	code := c.admit(ctx, &pk)
	if err := c.armWrite(time.Time{}); err != nil {
		return err
	}
	if err := c.writePacket(connack(&pk, code, c, b.o.MaxPacket)); err != nil {
		return err
	}
	if code != packets.CodeSuccess {
		return code
	}
	c.in.setLazy(c.nc)
	c.in.heard = time.Now()
	if err := c.armRead(c.in.heard.Add(c.patience())); err != nil {
		return err
	}
	b.turnUp(c)
	return nil
}

// admit checks a CONNECT, shapes what it asked for into what it gets, and makes c a session.
func (c *conn) admit(ctx context.Context, pk *packets.Packet) packets.Code {
	b := c.b
	if code := checkConnect(pk); code != packets.CodeSuccess {
		return code
	}
	if b.full() {
		return packets.ErrServerBusy
	}
	id := strings.Clone(pk.Connect.ClientIdentifier)
	if id == "" {
		id = rand.Text() // [MQTT-3.1.3-6]
	}
	revocations := b.revocations.Load()
	p, code := b.authenticate(ctx, c, pk, id)
	if code != packets.CodeSuccess {
		return code
	}
	if pk.Connect.WillFlag {
		// No will is ever sent: the contract has none, and this holds whatever an Access allows.
		if err := b.checkWill(p, pk.Connect.WillTopic); err != nil {
			b.stats.authFailures.Add(1)
			b.refusal("will refused", "principal", p.String(), "err", err)
			return packets.ErrNotAuthorized
		}
	}
	c.principal, c.clientID = p, id
	c.keepAlive = keepAlive(pk.Connect.Keepalive, uint16(b.o.KeepAliveMax/time.Second), c.v5)
	if err := b.takeSession(ctx, c); err != nil {
		b.refusal("session refused", "principal", p.String(), "client", id, "err", err)
		if errors.Is(err, errTooMany) {
			return packets.ErrQuotaExceeded
		}
		return packets.ErrServerBusy
	}
	if b.revocations.Load() != revocations {
		// From here on Disconnect finds the connection; one that came before may have been about this credential.
		again, code := b.authenticate(ctx, c, pk, id)
		if code == packets.CodeSuccess && again != p {
			code = packets.ErrBadUsernameOrPassword
		}
		return code
	}
	return packets.CodeSuccess
}

// checkConnect refuses what needs no credentials to be refused.
func checkConnect(pk *packets.Packet) packets.Code {
	if code := pk.ConnectValidate(); code != packets.CodeSuccess {
		return code
	}
	connect := &pk.Connect
	switch {
	case pk.ProtocolVersion < 4:
		return packets.ErrUnsupportedProtocolVersion // [MQTT-3.1.2-2]
	case pk.ProtocolVersion == 4 && !connect.Clean && connect.ClientIdentifier == "":
		return packets.ErrClientIdentifierNotValid // [MQTT-3.1.3-8]
	case connect.WillFlag && connect.WillQos > 1:
		return packets.ErrQosNotSupported // [MQTT-3.2.2-12]
	case connect.WillRetain:
		return packets.ErrRetainNotSupported // [MQTT-3.2.2-13]
	case pk.Properties.AuthenticationMethod != "":
		return packets.ErrBadAuthenticationMethod // [MQTT-4.12.0-1]
	case len(connect.ClientIdentifier) > maxClientID || strings.ContainsRune(connect.ClientIdentifier, 0):
		return packets.ErrClientIdentifierNotValid
	case len(connect.Username) > maxUser || len(connect.Password) > maxPassword:
		return packets.ErrBadUsernameOrPassword
	}
	return packets.CodeSuccess
}

func (b *Broker) authenticate(ctx context.Context, c *conn, pk *packets.Packet, id string) (topics.Principal, packets.Code) {
	p, err := b.o.Authenticate(ctx, string(pk.Connect.Username), bytes.Clone(pk.Connect.Password), id)
	if err == nil && !p.IsZero() {
		return p, packets.CodeSuccess
	}
	b.stats.authFailures.Add(1)
	b.refusal("authentication failed", "remote", c.addr(), "err", err)
	if errors.Is(err, link.ErrUnavailable) {
		return p, packets.ErrServerUnavailable
	}
	return p, packets.ErrBadUsernameOrPassword
}

// checkWill asks whether p may leave a will.
func (b *Broker) checkWill(p topics.Principal, topic string) error {
	if err := checkName(topic); err != nil {
		return err
	}
	return b.o.Access.MayWill(p, topic)
}

// maxKeepAlive is the longest keepalive that is honoured, in seconds.
const maxKeepAlive = 43690

// keepAlive is the keepalive in seconds that a client gets. MQTT 3.1.1 has no way to tell a client of another one, so
// there only "none", the far too short and the far too long are changed.
func keepAlive(asked, most uint16, v5 bool) uint16 {
	if asked == 0 {
		return most
	}
	if !v5 {
		most = maxKeepAlive
	}
	return min(max(asked, minKeepAlive), most)
}

// connack encodes the answer to a CONNECT. Absent flags mean "available", which is right for retain, wildcards, shared
// subscriptions and identifiers.
func connack(asked *packets.Packet, code packets.Code, c *conn, maxPacket uint32) []byte {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connack},
		ProtocolVersion: asked.ProtocolVersion,
		ReasonCode:      connackCode(code, c.v5),
		Mods:            packets.Mods{MaxSize: c.limit},
	}
	if code != packets.CodeSuccess {
		pk.Properties.ReasonString = code.Reason
	} else {
		pk.Properties = packets.Properties{
			ReceiveMaximum:            maxInHand,
			MaximumQos:                1, // [MQTT-3.2.2-9]
			MaximumQosFlag:            true,
			MaximumPacketSize:         maxPacket,
			ServerKeepAlive:           c.keepAlive,
			ServerKeepAliveFlag:       c.keepAlive != asked.Connect.Keepalive, // [MQTT-3.1.2-21]
			SessionExpiryIntervalFlag: asked.Properties.SessionExpiryInterval > 0,
		}
		if asked.Connect.ClientIdentifier == "" {
			pk.Properties.AssignedClientID = c.clientID // [MQTT-3.2.2-16]
		}
	}
	var buf bytes.Buffer
	_ = pk.ConnackEncode(&buf) // it returns nil always
	return buf.Bytes()
}

// connackCode is what CONNACK says: MQTT 3.1.1 knows the codes 0 to 5 only.
func connackCode(code packets.Code, v5 bool) byte {
	if v5 || code == packets.CodeSuccess {
		return code.Code
	}
	switch code {
	case packets.ErrUnsupportedProtocolVersion, packets.ErrProtocolViolationProtocolVersion:
		return packets.Err3UnsupportedProtocolVersion.Code
	case packets.ErrClientIdentifierNotValid:
		return packets.Err3ClientIdentifierNotValid.Code
	case packets.ErrServerUnavailable, packets.ErrServerBusy, packets.ErrQuotaExceeded:
		return packets.Err3ServerUnavailable.Code
	}
	return packets.Err3NotAuthorized.Code
}

// disconnectPacket encodes a DISCONNECT for a client that takes packets of at most limit bytes.
func disconnectPacket(code packets.Code, limit uint32) []byte {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Disconnect},
		ProtocolVersion: 5,
		ReasonCode:      code.Code,
		Properties:      packets.Properties{ReasonString: code.Reason}, // [MQTT-3.14.2-1]
		Mods:            packets.Mods{MaxSize: limit},
	}
	var buf bytes.Buffer
	_ = pk.DisconnectEncode(&buf) // it returns nil always
	return buf.Bytes()
}
