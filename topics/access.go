package topics

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"fleetbridge/ident"
)

// ErrDenied is wrapped where a principal may not use a topic that is well formed.
var ErrDenied = errors.New("not allowed")

// MayPublish says whether p may publish on a topic name: nil, or an error that wraps ErrDenied or ErrTopic. Its own
// uplink topics cost a device no allocation.
func MayPublish(p Principal, topic string) error {
	if p.Role == RoleDevice {
		if leaf, ok := cutOwn(p, topic); ok && mayPublish(Channel(leaf), RoleDevice) {
			return nil
		}
	}
	a, err := Parse(topic)
	if err != nil {
		return err
	}
	if !p.reaches(a) || !mayPublish(a.Channel, p.Role) {
		return denied("publish", topic)
	}
	if p.Role == RoleViewer {
		// A viewer changes nothing, so an unknown command is not its to try.
		if c, ok := LookupCommand(a.Noun, a.Verb); !ok || !slices.Contains(c.Roles, RoleViewer) {
			return denied("publish", topic)
		}
	}
	return nil
}

// MayReceive says whether p may be sent a message on a topic name. Links ask at each delivery, so that no wildcard, no
// shared subscription and no inherited session shows more than the table allows.
func MayReceive(p Principal, topic string) bool {
	a, err := Parse(topic)
	return err == nil && p.reaches(a) && maySubscribe(a.Channel, p.Role)
}

// MayWill says whether p may leave topic as its will. Nobody may: a will would pass by the commit that the uplink
// channels promise, and whether a device is connected is known without it. It errs as MayPublish does.
func MayWill(_ Principal, topic string) error {
	if _, err := Parse(topic); err != nil {
		return err
	}
	return fmt.Errorf("leave a will: the contract has none: %w", ErrDenied)
}

// MaySubscribe says whether p may subscribe to a filter: nil, or an error that wraps ErrDenied or ErrTopic.
//
// A device names its own channels exactly, wildcards are allowed below its own `chunk` only, and it can't share. Others
// may use wildcards below their own tenant; what such a filter matches beyond the table is held back by MayReceive. A
// filter that names a reply topic must name the principal's own.
func MaySubscribe(p Principal, filter string) error {
	if err := checkSize(filter); err != nil {
		return err
	}
	rest, shared := CutShare(filter)
	if err := checkFilter(rest); err != nil {
		return err
	}
	if !p.valid() || shared && p.Role == RoleDevice {
		return denied("subscribe to", filter)
	}
	own, ok := cutTenant(p.Tenant, rest)
	if !ok {
		return denied("subscribe to", filter)
	}
	ok = false
	switch p.Role {
	case RoleDevice:
		ok = deviceMaySubscribe(p, rest)
	case RoleOperator, RoleViewer:
		reply, isReply := strings.CutPrefix(own, "reply/")
		ok = !isReply || ownReply(p, reply)
	case RoleAdmin:
		reply, isReply := strings.CutPrefix(own, "reply/")
		ok = isReply && ownReply(p, reply)
	}
	if !ok {
		return denied("subscribe to", filter)
	}
	return nil
}

func denied(what, topic string) error { return fmt.Errorf("%s %q: %w", what, topic, ErrDenied) }

// valid says whether p is somebody: admins exist in the system tenant only, and nobody else does.
func (p Principal) valid() bool {
	return !p.Tenant.IsZero() && !p.Name.IsZero() && (p.Role == RoleAdmin) == (p.Tenant == ident.System)
}

// reaches says whether a lies where p acts at all: its tenant, its own device, its own replies.
func (p Principal) reaches(a Address) bool {
	switch {
	case !p.valid() || a.Tenant != p.Tenant:
		return false
	case p.Role == RoleDevice:
		return a.Device.String() == p.Name.String()
	case a.Channel == ChannelReply:
		return a.Client == p.Name
	}
	return true
}

// cutOwn returns what follows a device's own prefix in topic.
func cutOwn(p Principal, topic string) (string, bool) {
	if !p.valid() {
		return "", false
	}
	rest, ok := cutTenant(p.Tenant, topic)
	if !ok {
		return "", false
	}
	if rest, ok = strings.CutPrefix(rest, "device/"); !ok {
		return "", false
	}
	if rest, ok = strings.CutPrefix(rest, p.Name.String()); !ok {
		return "", false
	}
	return strings.CutPrefix(rest, "/")
}

func cutTenant(t ident.Tenant, topic string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, root)
	if !ok {
		return "", false
	}
	if rest, ok = strings.CutPrefix(rest, t.String()); !ok {
		return "", false
	}
	return strings.CutPrefix(rest, "/")
}

func mayPublish(c Channel, r Role) bool {
	for i := range Channels {
		if Channels[i].Channel == c {
			return slices.Contains(Channels[i].Publish, r)
		}
	}
	return false
}

func maySubscribe(c Channel, r Role) bool {
	for i := range Channels {
		if Channels[i].Channel == c {
			return slices.Contains(Channels[i].Subscribe, r)
		}
	}
	return false
}

func deviceMaySubscribe(p Principal, filter string) bool {
	leaf, ok := cutOwn(p, filter)
	if !ok {
		return false
	}
	chunk, ok := strings.CutPrefix(leaf, "chunk/")
	if !ok {
		return leaf != string(ChannelChunk) && maySubscribe(Channel(leaf), RoleDevice)
	}
	if chunk == "#" {
		return true
	}
	token, index, ok := strings.Cut(chunk, "/")
	if !ok {
		return false
	}
	if token != "+" {
		if _, err := ident.ParseToken(token); err != nil {
			return false
		}
	}
	if index == "+" || index == "#" || index == errorLvl {
		return true
	}
	_, ok = parseIndex(index)
	return ok
}

// ownReply says whether what follows `reply/` in a filter is p's own topic or lies below it.
func ownReply(p Principal, rest string) bool {
	client, _, _ := strings.Cut(rest, "/")
	return client == p.Name.String()
}

// CutShare takes the `$share/{group}/` off a filter, whatever its case, as brokers do [MQTT-4.8.2-1]. A filter that
// only looks shared is returned as it is.
func CutShare(filter string) (rest string, shared bool) {
	const prefix = "$share/"
	if len(filter) < len(prefix) || !strings.EqualFold(filter[:len(prefix)], prefix) {
		return filter, false
	}
	group, rest, ok := strings.Cut(filter[len(prefix):], "/")
	if !ok || group == "" || strings.ContainsAny(group, "+#") { // [MQTT-4.8.2-2]
		return filter, false
	}
	return rest, true
}

// checkFilter holds a filter, without its share, to the form of MQTT [MQTT-4.7.1-1, MQTT-4.7.1-2] and to our root.
func checkFilter(filter string) error {
	if !strings.HasPrefix(filter, root) {
		return fmt.Errorf("parse filter: want fleet/v1/…: %w", ErrTopic)
	}
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "":
			return fmt.Errorf("parse filter: empty level: %w", ErrTopic)
		case level == "#" && more:
			return fmt.Errorf("parse filter: # is not the last level: %w", ErrTopic)
		case len(level) > 1 && strings.ContainsAny(level, "+#"):
			return fmt.Errorf("parse filter: wildcard within a level: %w", ErrTopic)
		}
	}
	return nil
}

// Match says whether a topic name matches a filter (without its share) by MQTT 5 section 4.7. It does not allocate.
func Match(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false // [MQTT-4.7.2-1]
	}
	for {
		f, fRest, fMore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, tRest, tMore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !tMore {
			return !fMore || fRest == "#" // the parent of # matches too
		}
		if !fMore {
			return false
		}
		filter, topic = fRest, tRest
	}
}
