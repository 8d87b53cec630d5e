package bridge

import (
	"context"
	"math"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// publishPermit tells a device of its permit. It is best effort: a device that hears nothing asks again.
func (b *Bridge) publishPermit(ctx context.Context, t ident.Tenant, w campaign.PermitWord) {
	f := topics.CBOR
	if w.JSON {
		f = topics.JSON
	}
	body, err := topics.Encode(permitOf(w, b.o.Now()), f)
	if err != nil {
		b.o.Logger.Error("permit could not be encoded", "tenant", t, "device", w.Device, "err", err)
		return
	}
	b.publish(ctx, link.Message{Topic: topics.PermitTopic(t, w.Device), Payload: body})
}

// permitOf is a permit as it is told at now. One whose time is over by then is none.
func permitOf(w campaign.PermitWord, now time.Time) topics.Permit {
	p := topics.Permit{Manifest: w.Manifest, State: topics.PermitState(w.State)}
	if w.State != campaign.PermitGranted {
		return p
	}
	left := int64(w.Until.Sub(now) / time.Second)
	if left <= 0 {
		p.State = topics.PermitWaiting
		return p
	}
	p.ExpiresIn = uint32(min(left, math.MaxUint32))
	return p
}

func permitRuleOf(w topics.PermitRule) campaign.PermitRule {
	return campaign.PermitRule{Required: w.Required, TTL: time.Duration(w.TTL), Label: w.Label, Max: w.Max}
}

func permitRuleView(r campaign.PermitRule) topics.PermitRule {
	return topics.PermitRule{Required: r.Required, TTL: topics.Duration(r.TTL), Label: r.Label, Max: r.Max}
}
