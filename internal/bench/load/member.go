package load

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/internal/bench/mqtt"
	"fleetbridge/topics"
)

// member is a device of a crowd.
type member struct {
	crowd *crowd
	Device
	conn    *mqtt.Conn
	began   time.Time
	backoff time.Duration
	waits   awaited
}

// awaited is what a member waits for before it is online.
type awaited byte

const (
	granted  awaited = 1 << iota // what it subscribes to
	manifest                     // the retained one
	heard                        // what it says the first time
)

// Waits after a connect that failed; they double, as a device's do.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

func (m *member) start() {
	m.began, m.backoff = time.Now(), minBackoff
	m.dial()
}

func (m *member) dial() {
	c := m.crowd
	m.waits = granted
	if c.Manifest && (c.storm > 1 || len(c.Retain) == 0) {
		m.waits |= manifest
	}
	if c.storm == 1 && len(c.Retain)+len(c.Answer) > 0 {
		m.waits |= heard
	}
	m.conn = c.loop.Dial(mqtt.Login{Client: m.ID.String(), User: m.User, Password: m.Token}, m)
}

// Handle moves the member on.
func (m *member) Handle(conn *mqtt.Conn, e mqtt.Event) {
	if conn != m.conn { // of before the storm
		return
	}
	switch e.Kind {
	case mqtt.Connected:
		m.connected()
	case mqtt.Subscribed:
		if slices.ContainsFunc(e.Payload, func(code byte) bool { return code > 2 }) {
			m.crowd.wrong.add(fmt.Errorf("%s: SUBACK says % x", m.ID, e.Payload))
		}
		m.has(granted)
	case mqtt.Message:
		m.message(e)
	case mqtt.Acked:
		m.has(heard)
	case mqtt.Closed:
		m.lost(e.Err)
	}
}

func (m *member) connected() {
	c := m.crowd
	topic := topics.ManifestTopic(c.Tenant, m.ID)
	m.conn.Subscribe(topic, topics.ChunkFilter(c.Tenant, m.ID))
	if m.waits&heard != 0 && len(c.Retain) > 0 {
		m.conn.Retain(topic, c.Retain)
	}
}

func (m *member) message(e mqtt.Event) {
	c := m.crowd
	if m.waits&manifest == 0 || !e.Retain || !bytes.HasSuffix(e.Topic, []byte("/manifest")) {
		return
	}
	if c.size == 0 {
		c.size = len(e.Payload)
	}
	if len(e.Payload) != c.size {
		c.wrong.add(fmt.Errorf("%s: manifest of %d bytes, want %d", m.ID, len(e.Payload), c.size))
	}
	if m.waits&heard != 0 {
		m.conn.Publish(topics.ReportTopic(c.Tenant, m.ID), c.Answer, 1)
	}
	m.has(manifest)
}

// has notes that something is there. With the last of what it waits for the member is online.
func (m *member) has(what awaited) {
	if m.waits&what == 0 {
		return
	}
	if m.waits &^= what; m.waits != 0 {
		return
	}
	c := m.crowd
	c.took.Add(time.Since(m.began))
	c.online++
	c.flight--
	c.launch(c.storm)
}

var errLost = errors.New("connection lost")

// lost tries again, as a device does. Of a member that was online that is a failure.
func (m *member) lost(err error) {
	c, storm := m.crowd, m.crowd.storm
	if m.waits == 0 {
		c.wrong.add(fmt.Errorf("%s: %w: %w", m.ID, errLost, err))
		return
	}
	if c.retried++; c.retried == 1 {
		c.retriedFor = err.Error()
	}
	time.AfterFunc(m.backoff, func() {
		c.loop.Do(func() {
			if storm == c.storm {
				m.dial()
			}
		})
	})
	m.backoff = min(2*m.backoff, maxBackoff)
}
