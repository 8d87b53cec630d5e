package badger

import (
	"fleetbridge/campaign"
	"fleetbridge/ident"
)

type imageRecord struct {
	Component string `cbor:"1,keyasint,omitempty"`
	Digest    []byte `cbor:"2,keyasint,omitempty"`
	Sequence  uint64 `cbor:"3,keyasint,omitempty"`
	Version   string `cbor:"4,keyasint,omitempty"`
}

type deviceRecord struct {
	ID        string            `cbor:"1,keyasint"`
	Vendor    []byte            `cbor:"2,keyasint,omitempty"`
	Class     []byte            `cbor:"3,keyasint,omitempty"`
	Installed []imageRecord     `cbor:"4,keyasint,omitempty"`
	Boot      uint64            `cbor:"5,keyasint,omitempty"`
	MaxChunk  uint32            `cbor:"6,keyasint,omitempty"`
	Algs      []int64           `cbor:"7,keyasint,omitempty"`
	Facts     map[string]string `cbor:"8,keyasint,omitempty"`
	Labels    map[string]string `cbor:"9,keyasint,omitempty"`
	HelloSeq  uint64            `cbor:"10,keyasint,omitempty"`
	LastSeen  stamp             `cbor:"11,keyasint,omitempty"`
	Created   stamp             `cbor:"12,keyasint,omitempty"`
	Groups    []string          `cbor:"30,keyasint,omitempty"`
}

func deviceRecordOf(d campaign.Device) deviceRecord {
	r := deviceRecord{
		ID:       d.ID.String(),
		Vendor:   uuidBytes(d.Vendor),
		Class:    uuidBytes(d.Class),
		Boot:     d.Boot,
		MaxChunk: d.MaxChunk,
		Algs:     d.Algs,
		Facts:    d.Facts,
		Labels:   d.Labels,
		Groups:   d.Groups,
		HelloSeq: d.HelloSeq,
		LastSeen: stampOf(d.LastSeen),
		Created:  stampOf(d.Created),
	}
	for _, i := range d.Installed {
		r.Installed = append(r.Installed, imageRecord{i.Component, digestBytes(i.Digest), i.Sequence, i.Version})
	}
	return r
}

func (r deviceRecord) domain() (campaign.Device, error) {
	var p parser
	d := campaign.Device{
		ID:       parsed(&p, ident.ParseDevice, r.ID),
		Vendor:   p.uuid(r.Vendor),
		Class:    p.uuid(r.Class),
		Boot:     r.Boot,
		MaxChunk: r.MaxChunk,
		Algs:     r.Algs,
		Facts:    r.Facts,
		Labels:   r.Labels,
		Groups:   r.Groups,
		HelloSeq: r.HelloSeq,
		LastSeen: r.LastSeen.time(),
		Created:  r.Created.time(),
	}
	for _, i := range r.Installed {
		d.Installed = append(d.Installed, campaign.Image{
			Component: i.Component,
			Digest:    p.digest(i.Digest),
			Sequence:  i.Sequence,
			Version:   i.Version,
		})
	}
	return d, p.err
}

type liveRecord struct {
	Component string `cbor:"1,keyasint,omitempty"`
	Manifest  []byte `cbor:"2,keyasint,omitempty"`
	Campaign  string `cbor:"3,keyasint,omitempty"`
}

// workRecord has no device: its key says which.
type workRecord struct {
	Live     []liveRecord    `cbor:"1,keyasint,omitempty"`
	Waiting  []string        `cbor:"2,keyasint,omitempty"`
	Recent   []liveRecord    `cbor:"3,keyasint,omitempty"`
	Failures []failureRecord `cbor:"10,keyasint,omitempty"`
}

type failureRecord struct {
	Payload []byte `cbor:"1,keyasint,omitempty"`
	Count   int    `cbor:"2,keyasint,omitempty"`
	Last    stamp  `cbor:"3,keyasint,omitempty"`
}

func workRecordOf(w campaign.Work) workRecord {
	r := workRecord{Live: liveRecordsOf(w.Live), Recent: liveRecordsOf(w.Recent)}
	for _, c := range w.Waiting {
		r.Waiting = append(r.Waiting, c.String())
	}
	for _, f := range w.Failures {
		r.Failures = append(r.Failures, failureRecord{digestBytes(f.Image), f.Count, stampOf(f.Last)})
	}
	return r
}

func (r workRecord) domain() (campaign.Work, error) {
	var p parser
	w := campaign.Work{Live: p.lives(r.Live), Recent: p.lives(r.Recent)}
	for _, c := range r.Waiting {
		w.Waiting = append(w.Waiting, parsed(&p, ident.ParseCampaign, c))
	}
	for _, f := range r.Failures {
		w.Failures = append(w.Failures, campaign.Failure{Image: p.digest(f.Payload), Count: f.Count, Last: f.Last.time()})
	}
	return w, p.err
}

func liveRecordsOf(ls []campaign.Live) (rs []liveRecord) {
	for _, l := range ls {
		rs = append(rs, liveRecord{l.Component, digestBytes(l.Manifest), l.Campaign.String()})
	}
	return rs
}

func (p *parser) lives(rs []liveRecord) (ls []campaign.Live) {
	for _, r := range rs {
		ls = append(ls, campaign.Live{
			Component: r.Component,
			Manifest:  p.digest(r.Manifest),
			Campaign:  parsed(p, ident.ParseCampaign, r.Campaign),
		})
	}
	return ls
}
