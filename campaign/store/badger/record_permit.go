package badger

import (
	"time"

	"fleetbridge/campaign"
)

type permitRuleRecord struct {
	Required bool          `cbor:"1,keyasint,omitempty"`
	TTL      time.Duration `cbor:"2,keyasint,omitempty"` // nanoseconds
	Label    string        `cbor:"3,keyasint,omitempty"`
	Max      int           `cbor:"4,keyasint,omitempty"`
}

type permitRecord struct {
	State string `cbor:"1,keyasint,omitempty"`
	Value string `cbor:"2,keyasint,omitempty"`
	Until stamp  `cbor:"3,keyasint,omitempty"`
	Next  stamp  `cbor:"4,keyasint,omitempty"`
	JSON  bool   `cbor:"6,keyasint,omitempty"` // 5 was a count that nothing uses any more
	Asked stamp  `cbor:"70,keyasint,omitempty"`
}

func (r permitRecord) domain() campaign.Permit {
	return campaign.Permit{State: campaign.PermitState(r.State), Value: r.Value, Until: r.Until.time(), Next: r.Next.time(),
		JSON: r.JSON, Asked: r.Asked.time()}
}
