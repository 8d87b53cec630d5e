package broker

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// hook is the one hook that mochi has: OnConnectAuthenticate and OnACLCheck are an "or" over all hooks.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// ID names the hook in mochi's log lines.
func (h *hook) ID() string { return "fleetbridge" }

// Provides says which events the hook takes; mochi asks for each of them.
func (h *hook) Provides(event byte) bool {
	switch event {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablished, mqtt.OnPacketRead,
		mqtt.OnPacketEncode, mqtt.OnPacketProcessed, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnSelectSubscribers,
		mqtt.OnPublish, mqtt.OnPublishDropped, mqtt.OnWill:
		return true
	}
	return false
}

// Longest credentials and client identifier, in bytes.
const (
	maxUser     = 256
	maxPassword = 1024
	maxClientID = 128
)

var errConnect = errors.New("connect refused")

// OnConnect decides on a CONNECT. mochi sends no CONNACK when it errs, so a refusal is sent here [MQTT-3.1.4-2].
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return errConnect
	}
	c.client, c.v5 = cl, pk.ProtocolVersion == 5
	c.frame.v5 = c.v5
	if code := h.admit(c, cl, pk); code != packets.CodeSuccess {
		// It is refused whether it reads the reason or not.
		_ = h.b.server.SendConnack(cl, code, false, nil)
		return code
	}
	return nil
}

func (h *hook) admit(c *conn, cl *mqtt.Client, pk packets.Packet) packets.Code {
	b := h.b
	switch {
	case pk.Properties.AuthenticationMethod != "":
		return packets.ErrBadAuthenticationMethod // [MQTT-4.12.0-1]
	case len(cl.ID) > maxClientID || strings.ContainsRune(cl.ID, 0):
		return packets.ErrClientIdentifierNotValid
	case len(pk.Connect.Username) > maxUser || len(pk.Connect.Password) > maxPassword:
		return packets.ErrBadUsernameOrPassword
	}
	ctx, cancel := b.timeout(b.o.ConnectDeadline)
	defer cancel()
	revocations := b.revocations.Load()
	id := strings.Clone(cl.ID)
	p, code := b.authenticate(ctx, c, pk, id)
	if code != packets.CodeSuccess {
		return code
	}
	if pk.Connect.WillFlag {
		if err := h.checkWill(p, pk.Connect.WillTopic); err != nil {
			b.stats.authFailures.Add(1)
			b.refusal("will refused", "principal", p.String(), "err", err)
			return packets.ErrNotAuthorized
		}
	}
	c.principal, c.clientID = p, id
	b.shape(c, cl, pk)
	session := p.String() + "/" + id
	if err := b.takeSession(ctx, c, session); err != nil {
		b.refusal("session refused", "principal", p.String(), "client", id, "err", err)
		if errors.Is(err, errTooMany) {
			return packets.ErrQuotaExceeded
		}
		return packets.ErrServerBusy
	}
	cl.ID = session
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

func (b *Broker) authenticate(ctx context.Context, c *conn, pk packets.Packet, id string) (topics.Principal, packets.Code) {
	p, err := b.o.Authenticate(ctx, string(pk.Connect.Username), bytes.Clone(pk.Connect.Password), id)
	if err == nil && !p.IsZero() {
		return p, packets.CodeSuccess
	}
	b.stats.authFailures.Add(1)
	b.refusal("authentication failed", "remote", c.addr, "err", err)
	if errors.Is(err, link.ErrUnavailable) {
		return p, packets.ErrServerUnavailable
	}
	return p, packets.ErrBadUsernameOrPassword
}

// checkWill asks whether p may leave a will: mochi asks no ACL for wills.
func (h *hook) checkWill(p topics.Principal, topic string) error {
	if err := checkName(topic); err != nil {
		return err
	}
	return h.b.o.Access.MayWill(p, topic)
}

// shape sets what the client asked for to what it gets.
func (b *Broker) shape(c *conn, cl *mqtt.Client, pk packets.Packet) {
	cl.Properties.Clean = true                                  // no session of a 3.1.1 client outlives its connection
	cl.Properties.Props.TopicAliasMaximum = 0                   // a stale alias on a resend is an empty topic
	cl.Properties.Will.WillDelayInterval = 0                    // the session ends with the connection, and so the delay
	cl.State.Inflight.ResetSendQuota(0)                         // nothing goes out at QoS 1; a quota could only stall
	cl.Properties.Username, cl.Properties.Props.User = nil, nil // they would keep the whole packet
	asked := pk.Connect.Keepalive
	cl.State.Keepalive = keepAlive(asked, uint16(b.o.KeepAliveMax/time.Second), c.v5)
	cl.State.ServerKeepalive = cl.State.Keepalive != asked // [MQTT-3.1.2-21]
}

// maxKeepAlive is the longest keepalive whose one and a half fits mochi's 16 bits.
const maxKeepAlive = 43690

// keepAlive is the keepalive in seconds that a client gets. MQTT 3.1.1 has no way to tell a client of another one, so
// there only "none", the far too short and the overflowing are changed.
func keepAlive(asked, most uint16, v5 bool) uint16 {
	if asked == 0 {
		return most
	}
	if !v5 {
		most = maxKeepAlive
	}
	return min(max(asked, minKeepAlive), most)
}

// OnConnectAuthenticate is mochi's second look; OnConnect has decided.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	c, ok := cl.Net.Conn.(*conn)
	return ok && !c.principal.IsZero() && c.session != ""
}

// OnSessionEstablished runs after CONNACK.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if c, ok := cl.Net.Conn.(*conn); ok {
		close(c.up)
	}
}

// OnPacketEncode completes CONNACK. Absent flags mean "available", which is right for retain, wildcards, shared
// subscriptions and identifiers; MaximumPacketSize must be said.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type != packets.Connack {
		return pk
	}
	switch {
	case cl.Properties.ProtocolVersion >= 5 && pk.ReasonCode < packets.ErrUnspecifiedError.Code:
		pk.Properties.MaximumPacketSize = h.b.o.MaxPacket
	case cl.Properties.ProtocolVersion < 5 && (pk.ReasonCode == packets.ErrServerBusy.Code || pk.ReasonCode == packets.ErrQuotaExceeded.Code):
		pk.ReasonCode = packets.Err3ServerUnavailable.Code
	case cl.Properties.ProtocolVersion < 5 && pk.ReasonCode >= packets.ErrUnspecifiedError.Code:
		pk.ReasonCode = packets.Err3NotAuthorized.Code // MQTT 3.1.1 knows the codes 0 to 5 only
	}
	return pk
}

// OnACLCheck is asked for each publish of a client (write), each filter, and each delivery with its concrete topic.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	c, ok := cl.Net.Conn.(*conn)
	if !ok || c.principal.IsZero() {
		return false
	}
	allowed := h.allowed(c, topic, write)
	if !allowed {
		h.b.stats.denied.Add(1)
	}
	if !allowed && write {
		h.b.refusal("publish denied", "principal", c.principal.String(), "topic", topic)
		if !c.v5 {
			// MQTT 3.1.1 can only be closed [MQTT-3.3.5-2]; mochi would send it a DISCONNECT, which only clients send.
			cl.Stop(packets.ErrNotAuthorized)
		}
	}
	return allowed
}

func (h *hook) allowed(c *conn, topic string, write bool) bool {
	if write {
		return checkName(topic) == nil && h.b.o.Access.MayPublish(c.principal, topic) == nil
	}
	if checkFilter(topic) != nil {
		return false
	}
	if strings.ContainsAny(topic, "+#") || topic[0] == '$' {
		return h.b.o.Access.MaySubscribe(c.principal, topic) == nil
	}
	// A delivery, or an exact filter, on which OnSubscribe has asked MaySubscribe.
	return h.b.o.Access.MayReceive(c.principal, topic)
}

// OnSelectSubscribers chooses one member of each shared subscription among those who may receive the message, so that
// none is lost to a member who may not.
func (h *hook) OnSelectSubscribers(subs *mqtt.Subscribers, pk packets.Packet) *mqtt.Subscribers {
	subs.SharedSelected = map[string]packets.Subscription{}
	for filter, members := range subs.Shared {
		for id := range members {
			cl, ok := h.b.server.Clients.Get(id)
			if !ok || cl.Closed() || !h.OnACLCheck(cl, pk.TopicName, false) {
				delete(members, id)
			}
		}
		if len(members) == 0 {
			delete(subs.Shared, filter)
		}
	}
	subs.SelectShared()
	return subs
}

// OnPacketRead refuses what mochi would answer wrongly or not at all.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok || c.client == nil {
		return pk, nil // CONNECT
	}
	code := packets.CodeSuccess
	switch pk.FixedHeader.Type {
	case packets.Publish:
		switch {
		case pk.FixedHeader.Qos > 1:
			code = packets.ErrQosNotSupported // [MQTT-3.2.2-11]
		case strings.HasPrefix(pk.TopicName, "$"):
			code = packets.ErrTopicNameInvalid // mochi never answers it
		}
	case packets.Subscribe:
		pk.Properties.User = nil // mochi echoes them in SUBACK
		if cl.State.Subscriptions.Len()+len(pk.Filters) > h.b.o.MaxSubscriptions {
			code = packets.ErrQuotaExceeded
		}
	case packets.Unsubscribe:
		pk.Properties.User = nil
		if slices.ContainsFunc(pk.Filters, func(s packets.Subscription) bool { return checkFilter(s.Filter) != nil }) {
			code = packets.ErrTopicFilterInvalid
		}
	case packets.Disconnect:
		// CONNACK told it 0, mochi would take another value for a protocol error.
		pk.Properties.SessionExpiryIntervalFlag = false
	case packets.Auth, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		code = packets.ErrProtocolViolation // no such exchange was begun
	}
	if code != packets.CodeSuccess {
		h.b.refusal("packet refused", "principal", c.principal.String(), "code", code.Reason)
		h.b.disconnect(c, code)
		return pk, packets.ErrRejectPacket // mochi ends the connection
	}
	return pk, nil
}

// OnWill returns an empty will, which reaches nobody: the contract has none, CONNECT with one was refused, and this holds
// whatever an Access allows.
func (*hook) OnWill(*mqtt.Client, mqtt.Will) (mqtt.Will, error) { return mqtt.Will{}, nil }
