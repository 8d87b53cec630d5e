package broker

import (
	"strings"
	"sync"

	"fleetbridge/topics"
)

// subscription is one filter of one connection. It doesn't change: a repeated SUBSCRIBE makes another.
type subscription struct {
	c          *conn
	filter     string // as the client wrote it
	shared     bool   // $share/group/filter
	published  bool   // retain as published [MQTT-3.3.1-13]
	id         uint32 // subscription identifier; 0 for none
	prev, next *subscription
}

// plain is the filter without $share/group/.
func (s *subscription) plain() string {
	if !s.shared {
		return s.filter
	}
	_, rest, _ := strings.Cut(s.filter, "/")
	_, rest, _ = strings.Cut(rest, "/")
	return rest
}

// index finds the subscriptions that match a topic. It is a map by what a filter has before its first wildcard: for a topic
// of n levels that is n + 1 look-ups, whatever the number of devices. A subscription costs about 150 bytes, where mochi's trie
// of maps takes 2 KiB and more.
type index struct {
	mu   sync.RWMutex
	subs map[string]*subscription // the first of a list
}

// literal is what a filter has before its first wildcard, without the slash: the whole filter if it has none.
func literal(filter string) string {
	at := strings.IndexAny(filter, "+#")
	if at < 0 {
		return filter
	}
	return filter[:max(0, at-1)]
}

func (x *index) add(s *subscription) {
	key := literal(s.plain())
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.subs == nil {
		x.subs = map[string]*subscription{}
	}
	if s.next = x.subs[key]; s.next != nil {
		s.next.prev = s
	}
	x.subs[key] = s
}

func (x *index) remove(s *subscription) {
	key := literal(s.plain())
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case s.prev != nil:
		s.prev.next = s.next
	case s.next != nil:
		x.subs[key] = s.next
	default:
		delete(x.subs, key)
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
}

// match appends the subscriptions that match topic to dst.
func (x *index) match(topic string, dst []*subscription) []*subscription {
	x.mu.RLock()
	defer x.mu.RUnlock()
	dst = x.matchKey("", topic, dst)
	for at, ch := range topic {
		if ch == '/' && at > 0 {
			dst = x.matchKey(topic[:at], topic, dst)
		}
	}
	return x.matchKey(topic, topic, dst)
}

func (x *index) matchKey(key, topic string, dst []*subscription) []*subscription {
	for s := x.subs[key]; s != nil; s = s.next {
		if topics.Match(s.plain(), topic) {
			dst = append(dst, s)
		}
	}
	return dst
}

// len is how many keys there are.
func (x *index) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.subs)
}
