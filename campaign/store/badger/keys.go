package badger

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// The kinds of keys of a tenant: `<tenant> 0x00 <kind> <parts>`. Identifiers hold no 0x00, so one that is not the last
// part ends with 0x00, and byte order is the order of the parts. Numbers are big-endian.
const (
	kindCredential = 'n' // name
	kindAnchor     = 'k' // key
	kindPayload    = 'p' // digest
	kindManifest   = 'm' // digest
	kindFetched    = 'F' // payload digest, manifest digest: index of the manifests by what they fetch
	kindNeeded     = 'N' // manifest digest, campaign: index of the campaigns that need it
	kindFloor      = 'f' // vendor[16] class[16] component
	kindDevice     = 'd' // device
	kindClass      = 'C' // vendor[16] class[16] device: index of the devices
	kindLabel      = 'L' // 'l' name 0 value 0 device, 'g' group 0 device: index of the devices
	kindWork       = 'w' // device
	kindLive       = 'l' // device: index of the works with a live assignment
	kindCampaign   = 'c' // campaign
	kindRunning    = 'r' // campaign: index of the running ones
	kindEnded      = 'e' // phase 0 nanos[8] campaign: index of the stopped and the archived by when they stopped
	kindJoinable   = 'J' // one record per tenant: the continuous campaigns that run
	kindAssignment = 'a' // campaign 0 device
	kindState      = 's' // campaign 0 state 0 wave[2] order[8] device: index of those that don't wait
	kindDue        = 't' // campaign 0 nanos[8] device: index of those with a due time
	kindAsking     = 'P' // campaign 0 value 0 nanos[8] device: index of those in line for a permit
	kindCounts     = 'o' // campaign
	kindReply      = 'y' // name 0 key
	kindExpiry     = 'x' // nanos[8] name 0 key: index of the replies
	kindQuota      = 'q' // see quota.go
	kindAudit      = 'A' // see audit.go
)

// tenantPrefix starts the keys of the tenants themselves: the one directory that is not seen through a tenant.
var tenantPrefix = []byte("\x00t")

// key is a key under construction.
type key []byte

func keyOf(t ident.Tenant, kind byte) key {
	k := make(key, 0, 128)
	k = append(k, t.String()...)
	return append(k, 0, kind)
}

// last appends an identifier as the last part, or the first bytes of one.
func (k key) last(s string) key { return append(k, s...) }

// part appends an identifier that others follow.
func (k key) part(s string) key { return append(append(k, s...), 0) }

func (k key) bytes(b []byte) key { return append(k, b...) }

func (k key) uint64(n uint64) key { return binary.BigEndian.AppendUint64(k, n) }

// time appends a time such that byte order is the order of time.
func (k key) time(t time.Time) key { return k.uint64(uint64(nanos(t)) ^ 1<<63) }

// after returns the first key that is greater than k.
func (k key) after() key { return append(k, 0) }

// nanos is t in nanoseconds since 1970. A time that they can't hold is as far away as they go.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func tenantKey(t ident.Tenant) key { return key(append([]byte(nil), tenantPrefix...)).last(t.String()) }

func assignmentKey(t ident.Tenant, c ident.Campaign, d ident.Device) key {
	return keyOf(t, kindAssignment).part(c.String()).last(d.String())
}

// statePrefix starts the index of a campaign's assignments in one state.
func statePrefix(t ident.Tenant, c ident.Campaign, s campaign.State) key {
	return keyOf(t, kindState).part(c.String()).part(string(s))
}

// unpaidPrefix starts the index of those that wait for the quota. It is that of a state which no assignment has.
func unpaidPrefix(t ident.Tenant, c ident.Campaign) key { return statePrefix(t, c, "") }

// place appends p. A wave has been checked when its assignment was put; a larger one is after all of them.
func (k key) place(p campaign.Place) key {
	k = binary.BigEndian.AppendUint16(k, uint16(min(max(p.Wave, 0), maxWave)))
	return k.uint64(p.Order).last(p.Device.String())
}

// parsePlace reads what place appended.
func parsePlace(b []byte) (p campaign.Place, err error) {
	if len(b) <= placeLen {
		return p, errRecord
	}
	p.Wave, p.Order = int(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint64(b[2:])
	if p.Device, err = ident.ParseDevice(string(b[placeLen:])); err != nil {
		return p, fmt.Errorf("%w: %w", errRecord, err)
	}
	return p, nil
}

// placeLen is the length of a place up to its device.
const placeLen = 2 + 8

// maxWave is the highest wave of a stored assignment.
const maxWave = 1<<16 - 1

// stateKey returns the key of a in the index by state, or in that of the unpaid; nil if it is in neither.
func stateKey(t ident.Tenant, a campaign.Assignment) key {
	switch {
	case a.Unpaid:
		return unpaidPrefix(t, a.Campaign).place(a.Place())
	case !inState(a):
		return nil
	}
	return statePrefix(t, a.Campaign, a.State).place(a.Place())
}

// inState says whether a is in the index by state.
func inState(a campaign.Assignment) bool { return !a.Unpaid && !a.Waiting }

func duePrefix(t ident.Tenant, c ident.Campaign) key { return keyOf(t, kindDue).part(c.String()) }

// dueKey returns the key of a in the index by due time, nil if it is not in it.
func dueKey(t ident.Tenant, a listedAssignment) key {
	if a.listed.IsZero() {
		return nil
	}
	return duePrefix(t, a.Campaign).time(a.listed).last(a.Device.String())
}

func askingPrefix(t ident.Tenant, c ident.Campaign, value string) key {
	return keyOf(t, kindAsking).part(c.String()).part(value)
}

// askingKey returns the key of a in the index of those in line for a permit, nil if it is not in it.
func askingKey(t ident.Tenant, a campaign.Assignment) key {
	value, ok := a.InLine()
	if !ok {
		return nil
	}
	return askingPrefix(t, a.Campaign, value).time(a.Permit.Asked).last(a.Device.String())
}

// maxReplyKey bounds the idempotency key of a reply, in bytes.
const maxReplyKey = 1024

func replyKey(t ident.Tenant, n ident.Name, idem string) (key, error) {
	if len(idem) > maxReplyKey {
		return nil, fmt.Errorf("reply key of %d bytes, at most %d: %w", len(idem), maxReplyKey, ErrTooLarge)
	}
	return keyOf(t, kindReply).part(n.String()).last(idem), nil
}

// expiryKey names reply k (of replyKey) in the index by expiry.
func expiryKey(t ident.Tenant, expires time.Time, k key) key {
	return keyOf(t, kindExpiry).time(expires).bytes(k[len(keyOf(t, kindReply)):])
}
