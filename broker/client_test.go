package broker_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// MQTT control packet types.
const (
	tConnect = 1 + iota
	tConnack
	tPublish
	tPuback
	tPubrec
	tPubrel
	tPubcomp
	tSubscribe
	tSuback
	tUnsubscribe
	tUnsuback
	tPingreq
	tPingresp
	tDisconnect
)

const (
	v4 = 4 // MQTT 3.1.1
	v5 = 5
)

// patience is how long a test waits for what must come. It is a limit of despair, never a measure.
const patience = 20 * time.Second

// packet is one control packet as it is on the wire.
type packet struct {
	head byte
	body []byte
}

func (p packet) kind() int { return int(p.head >> 4) }

func (p packet) String() string { return fmt.Sprintf("%02x % x", p.head, p.body) }

// raw is a client that says exactly what a test tells it to say.
type raw struct {
	t       testing.TB
	conn    net.Conn
	r       *bufio.Reader
	version byte
	lastID  uint16
}

func newRaw(t testing.TB, c net.Conn, version byte) *raw {
	t.Cleanup(func() { _ = c.Close() }) // most tests have closed it
	return &raw{t: t, conn: c, r: bufio.NewReader(c), version: version}
}

// encode frames a packet.
func encode(head byte, body ...[]byte) []byte {
	var all []byte
	for _, b := range body {
		all = append(all, b...)
	}
	return append(binary.AppendUvarint([]byte{head}, uint64(len(all))), all...)
}

func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func num16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// props frames MQTT 5 properties; a 3.1.1 client has none.
func (c *raw) props(p ...[]byte) []byte {
	if c.version != v5 {
		return nil
	}
	return encode(0, p...)[1:]
}

func (c *raw) write(b []byte) {
	c.t.Helper()
	if err := c.tryWrite(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *raw) tryWrite(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// read returns the next packet.
func (c *raw) read() (packet, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return packet{}, err
	}
	head, err := c.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	size, err := binary.ReadUvarint(c.r)
	if err != nil {
		return packet{}, err
	}
	body := make([]byte, size)
	_, err = io.ReadFull(c.r, body)
	return packet{head, body}, err
}

// want reads the next packet, which must be of a kind.
func (c *raw) want(kind int) packet {
	c.t.Helper()
	p, err := c.read()
	if err != nil {
		c.t.Fatalf("read packet of type %d: %v", kind, err)
	}
	if p.kind() != kind {
		c.t.Fatalf("got packet %v, want type %d", p, kind)
	}
	return p
}

// wantEnd reads until the server has closed the connection and returns the kinds of packets that came before.
func (c *raw) wantEnd() []packet {
	c.t.Helper()
	var got []packet
	for {
		p, err := c.read()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				c.t.Fatalf("connection is still open after %v", patience)
			}
			return got
		}
		got = append(got, p)
	}
}

// login is a CONNECT.
type login struct {
	user, password, id string
	keepAlive          uint16
	unclean            bool
	props              [][]byte
	will               string // topic
	willFlags          byte   // QoS and retain bits of the connect flags
	willProps          [][]byte
}

func (c *raw) connectBytes(l login) []byte {
	flags := byte(0xc2)
	if l.unclean {
		flags &^= 2
	}
	var will []byte
	if l.will != "" {
		flags |= 4 | l.willFlags
		will = append(c.props(l.willProps...), append(str(l.will), str("gone")...)...)
	}
	return encode(tConnect<<4, str("MQTT"), []byte{c.version, flags}, num16(l.keepAlive), c.props(l.props...),
		str(l.id), will, str(l.user), str(l.password))
}

// connect sends CONNECT and returns CONNACK's code and properties.
func (c *raw) connect(l login) (byte, properties) {
	c.t.Helper()
	c.write(c.connectBytes(l))
	p := c.want(tConnack)
	if c.version != v5 {
		return p.body[1], properties{}
	}
	props, _ := parseProperties(c.t, p.body[2:])
	return p.body[1], props
}

// publishBytes is a PUBLISH; flags are its DUP, QoS and RETAIN bits.
func (c *raw) publishBytes(flags byte, topic string, id uint16, payload []byte, props ...[]byte) []byte {
	var pid []byte
	if flags&6 != 0 {
		pid = num16(id)
	}
	return encode(tPublish<<4|flags, str(topic), pid, c.props(props...), payload)
}

func (c *raw) id() uint16 {
	c.lastID++
	return c.lastID
}

// publish1 publishes at QoS 1 and returns PUBACK's reason code, 0 for a short or a 3.1.1 one.
func (c *raw) publish1(topic, payload string, props ...[]byte) byte {
	c.t.Helper()
	id := c.id()
	c.write(c.publishBytes(2, topic, id, []byte(payload), props...))
	p := c.want(tPuback)
	if got := binary.BigEndian.Uint16(p.body); got != id {
		c.t.Fatalf("PUBACK of %d, want %d", got, id)
	}
	if len(p.body) < 3 {
		return 0
	}
	return p.body[2]
}

// subscribeBytes is a SUBSCRIBE of one filter.
func (c *raw) subscribeBytes(filter string, options byte, props ...[]byte) []byte {
	return encode(tSubscribe<<4|2, num16(c.id()), c.props(props...), str(filter), []byte{options})
}

// subscribe returns SUBACK's code; publishes that come before it are an error.
func (c *raw) subscribe(filter string, options byte, props ...[]byte) byte {
	c.t.Helper()
	c.write(c.subscribeBytes(filter, options, props...))
	p := c.want(tSuback)
	return p.body[len(p.body)-1]
}

// ping makes sure that everything before it was dealt with, and returns the publishes that came meanwhile.
func (c *raw) ping() []message {
	c.t.Helper()
	c.write([]byte{tPingreq << 4, 0})
	var got []message
	for {
		p, err := c.read()
		switch {
		case err != nil:
			c.t.Fatalf("read: %v", err)
		case p.kind() == tPingresp:
			return got
		case p.kind() != tPublish:
			c.t.Fatalf("got packet %v, want PINGRESP or PUBLISH", p)
		}
		got = append(got, c.parse(p))
	}
}

// message is a PUBLISH that a client got.
type message struct {
	topic, payload string
	qos            byte
	retain         bool
	props          properties
}

func (c *raw) next() message {
	c.t.Helper()
	return c.parse(c.want(tPublish))
}

func (c *raw) parse(p packet) message {
	c.t.Helper()
	n := int(binary.BigEndian.Uint16(p.body))
	m := message{topic: string(p.body[2 : 2+n]), qos: p.head >> 1 & 3, retain: p.head&1 == 1}
	rest := p.body[2+n:]
	if m.qos > 0 {
		rest = rest[2:]
	}
	if c.version == v5 {
		m.props, rest = parseProperties(c.t, rest)
	}
	m.payload = string(rest)
	return m
}

// properties are those of the MQTT 5 properties that tests look at.
type properties struct {
	contentType, responseTopic, correlation, assignedID string
	expiry, maxPacket                                   uint32
	keepAlive                                           uint16
	subscription                                        uint64
	user                                                [][2]string
}

func parseProperties(t testing.TB, b []byte) (properties, []byte) {
	t.Helper()
	size, n := binary.Uvarint(b)
	if n <= 0 || int(size) > len(b)-n {
		t.Fatalf("properties: bad length in % x", b)
	}
	rest := b[n+int(size):]
	b = b[n : n+int(size)]
	text := func() string {
		n := int(binary.BigEndian.Uint16(b))
		s := string(b[2 : 2+n])
		b = b[2+n:]
		return s
	}
	var p properties
	for len(b) > 0 {
		key := b[0]
		b = b[1:]
		switch key {
		case 0x02:
			p.expiry, b = binary.BigEndian.Uint32(b), b[4:]
		case 0x03:
			p.contentType = text()
		case 0x08:
			p.responseTopic = text()
		case 0x09:
			p.correlation = text()
		case 0x0b:
			p.subscription, n = binary.Uvarint(b)
			b = b[n:]
		case 0x11: // session expiry
			b = b[4:]
		case 0x12:
			p.assignedID = text()
		case 0x13:
			p.keepAlive, b = binary.BigEndian.Uint16(b), b[2:]
		case 0x1f: // reason
			text()
		case 0x21: // receive maximum
			b = b[2:]
		case 0x24: // maximum QoS
			b = b[1:]
		case 0x26:
			k := text()
			p.user = append(p.user, [2]string{k, text()})
		case 0x27:
			p.maxPacket, b = binary.BigEndian.Uint32(b), b[4:]
		default:
			t.Fatalf("property %#x is not expected", key)
		}
	}
	return p, rest
}
