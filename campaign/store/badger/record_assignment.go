package badger

import (
	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// stepRecord is a step of a path in records that have no Steps.
type stepRecord struct {
	State  string `cbor:"1,keyasint,omitempty"`
	Reason string `cbor:"2,keyasint,omitempty"`
	Seq    uint64 `cbor:"3,keyasint,omitempty"`
	At     stamp  `cbor:"4,keyasint,omitempty"`
}

type assignmentRecord struct {
	Campaign  string       `cbor:"1,keyasint"`
	Device    string       `cbor:"2,keyasint"`
	Manifest  []byte       `cbor:"3,keyasint,omitempty"`
	Component string       `cbor:"4,keyasint,omitempty"`
	Payload   []byte       `cbor:"5,keyasint,omitempty"`
	Wave      int          `cbor:"6,keyasint,omitempty"`
	Order     uint64       `cbor:"7,keyasint,omitempty"`
	State     string       `cbor:"8,keyasint,omitempty"`
	Reason    string       `cbor:"9,keyasint,omitempty"`
	Detail    string       `cbor:"10,keyasint,omitempty"`
	Waiting   bool         `cbor:"11,keyasint,omitempty"`
	Offers    int          `cbor:"12,keyasint,omitempty"`
	NextOffer stamp        `cbor:"13,keyasint,omitempty"`
	Deadline  stamp        `cbor:"14,keyasint,omitempty"`
	Seq       uint64       `cbor:"15,keyasint,omitempty"`
	Boot      uint64       `cbor:"16,keyasint,omitempty"`
	Bytes     uint64       `cbor:"17,keyasint,omitempty"`
	Reports   uint64       `cbor:"18,keyasint,omitempty"`
	Updated   stamp        `cbor:"19,keyasint,omitempty"`
	Path      []stepRecord `cbor:"20,keyasint,omitempty"` // read of records without Steps
	Steps     []byte       `cbor:"21,keyasint,omitempty"` // see appendSteps
	Listed    stamp        `cbor:"22,keyasint,omitempty"` // under which it is in the index by due time; absent: its due time
	Charged   bool         `cbor:"60,keyasint,omitempty"`
	Unpaid    bool         `cbor:"61,keyasint,omitempty"`
	Retries   int          `cbor:"40,keyasint,omitempty"`
	Permit    permitRecord `cbor:"41,keyasint,omitzero"`
}

func (r assignmentRecord) domain() (campaign.Assignment, error) {
	var p parser
	a := campaign.Assignment{
		Campaign:  parsed(&p, ident.ParseCampaign, r.Campaign),
		Device:    parsed(&p, ident.ParseDevice, r.Device),
		Manifest:  p.digest(r.Manifest),
		Component: r.Component,
		Image:     p.digest(r.Payload),
		Wave:      r.Wave,
		Order:     r.Order,
		State:     campaign.State(r.State),
		Reason:    r.Reason,
		Detail:    r.Detail,
		Waiting:   r.Waiting,
		Offers:    r.Offers,
		NextOffer: r.NextOffer.time(),
		Deadline:  r.Deadline.time(),
		Seq:       r.Seq,
		Boot:      r.Boot,
		Bytes:     r.Bytes,
		Reports:   r.Reports,
		Updated:   r.Updated.time(),
		Charged:   r.Charged,
		Unpaid:    r.Unpaid,
		Retries:   r.Retries,
		Permit:    r.Permit.domain(),
	}
	for _, s := range r.Path {
		a.Path = append(a.Path, campaign.PathStep{
			State:  campaign.State(s.State),
			Reason: s.Reason,
			Seq:    s.Seq,
			At:     s.At.time(),
		})
	}
	if len(r.Steps) > 0 {
		var err error
		a.Path, err = parseSteps(r.Steps)
		p.note(err)
	}
	return a, p.err
}

// listedRecord is an assignmentRecord that tells its place in the index by due time, too.
type listedRecord struct{ assignmentRecord }

func (r listedRecord) domain() (listedAssignment, error) {
	a, err := r.assignmentRecord.domain()
	l := listedAssignment{a, a.Due()}
	if r.Listed != 0 {
		l.listed = r.Listed.time()
	}
	return l, err
}

// indexedRecord is what counts are made of: the same members, without the rest of the record.
type indexedRecord struct {
	Wave      int          `cbor:"6,keyasint,omitempty"`
	Order     uint64       `cbor:"7,keyasint,omitempty"`
	State     string       `cbor:"8,keyasint,omitempty"`
	Reason    string       `cbor:"9,keyasint,omitempty"`
	Waiting   bool         `cbor:"11,keyasint,omitempty"`
	Offers    int          `cbor:"12,keyasint,omitempty"`
	NextOffer stamp        `cbor:"13,keyasint,omitempty"`
	Deadline  stamp        `cbor:"14,keyasint,omitempty"`
	Reports   uint64       `cbor:"18,keyasint,omitempty"`
	Permit    permitRecord `cbor:"41,keyasint,omitzero"`
	Charged   bool         `cbor:"60,keyasint,omitempty"`
	Unpaid    bool         `cbor:"61,keyasint,omitempty"`
}

// domain leaves out campaign and device, too: who reads it knows them from the key.
func (r indexedRecord) domain() (campaign.Assignment, error) {
	return campaign.Assignment{
		Wave:      r.Wave,
		Order:     r.Order,
		State:     campaign.State(r.State),
		Reason:    r.Reason,
		Waiting:   r.Waiting,
		Offers:    r.Offers,
		NextOffer: r.NextOffer.time(),
		Deadline:  r.Deadline.time(),
		Reports:   r.Reports,
		Permit:    r.Permit.domain(),
		Charged:   r.Charged,
		Unpaid:    r.Unpaid,
	}, nil
}

type countsRecord struct {
	Waves   []map[campaign.State]uint64 `cbor:"1,keyasint,omitempty"`
	Reports uint64                      `cbor:"2,keyasint,omitempty"`
	Reasons campaign.Reasons            `cbor:"3,keyasint,omitempty"`
	Holding map[string]uint64           `cbor:"30,keyasint,omitempty"`
	Charged uint64                      `cbor:"10,keyasint,omitempty"`
	Asking  map[string]uint64           `cbor:"70,keyasint,omitempty"`
	Unpaid  uint64                      `cbor:"60,keyasint,omitempty"`
	Spared  uint64                      `cbor:"61,keyasint,omitempty"`
}

func countsRecordOf(c campaign.Counts) countsRecord { return countsRecord(c) }

func (r countsRecord) domain() (campaign.Counts, error) {
	return campaign.Counts(r), nil
}
