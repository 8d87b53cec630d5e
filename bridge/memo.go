package bridge

import (
	"strings"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// memo is what a connection remembers from message to message (link.Inbound.Memo): what a device says again and again is
// looked up once. Only Handle uses it, and what it calls; but for the track, which fetches guard.
type memo struct {
	tenant ident.Tenant
	device ident.Device
	topics [len(uplinks)]string // of the uplinks, as they came; "" until they do

	grant grant
	// The token of the last fetch, and what the topics of its chunks start with.
	token  ident.Token
	prefix string
	// The payload of the last fetch: not held, so that a connection that stays keeps no file open.
	payload ident.Digest
	handle  *firmware.Handle

	track track
}

// uplinks are the channels on which a device publishes.
var uplinks = [...]topics.Channel{topics.ChannelFetch, topics.ChannelReport, topics.ChannelHello}

// memoOf returns the memo of the connection that in came from; a new one, which is good for this message, where the link has none.
func memoOf(in link.Inbound) *memo {
	if in.Memo == nil {
		return &memo{}
	}
	m, ok := (*in.Memo).(*memo)
	if !ok {
		m = &memo{}
		*in.Memo = m
	}
	return m
}

// parse is topics.Parse, which is asked once for each topic of a device.
func (m *memo) parse(topic string) (topics.Address, error) {
	for i, known := range m.topics {
		if known == topic && topic != "" {
			return topics.Address{Channel: uplinks[i], Tenant: m.tenant, Device: m.device}, nil
		}
	}
	topic = strings.Clone(topic) // the address's parts alias it
	a, err := topics.Parse(topic)
	if err != nil {
		return a, err
	}
	for i, channel := range uplinks {
		if a.Channel == channel && (m.tenant.IsZero() || m.tenant == a.Tenant && m.device == a.Device) {
			m.tenant, m.device, m.topics[i] = a.Tenant, a.Device, topic
		}
	}
	return a, nil
}

// chunkPrefix is what the topics of a fetch's chunks start with.
func (m *memo) chunkPrefix(t ident.Tenant, d ident.Device, k ident.Token) string {
	if m.token != k || m.prefix == "" {
		m.token, m.prefix = k, topics.ChunkPrefix(t, d, k)
	}
	return m.prefix
}

// hold returns a held handle of a payload of the device's tenant.
func (m *memo) hold(c *firmware.Catalogue, t ident.Tenant, d ident.Digest) (*firmware.Handle, error) {
	if m.payload == d && m.handle != nil && m.handle.Hold() {
		return m.handle, nil
	}
	h, err := c.Handle(t, d)
	if err != nil {
		return nil, err
	}
	m.payload, m.handle = d, h
	return h, nil
}
