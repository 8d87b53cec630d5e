package badger

import (
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

type anchorRecord struct {
	ID      string       `cbor:"1,keyasint"`
	Alg     int64        `cbor:"2,keyasint,omitempty"`
	SPKI    []byte       `cbor:"3,keyasint,omitempty"`
	Created stamp        `cbor:"4,keyasint,omitempty"`
	Revoked stamp        `cbor:"5,keyasint,omitempty"`
	Grants  grantsRecord `cbor:"100,keyasint,omitempty"`
}

func anchorRecordOf(a firmware.Anchor) anchorRecord {
	return anchorRecord{
		ID:      a.ID.String(),
		Alg:     int64(a.Alg),
		SPKI:    a.SPKI,
		Created: stampOf(a.Created),
		Revoked: stampOf(a.Revoked),
		Grants:  grantsRecordOf(a.Grants),
	}
}

func (r anchorRecord) domain() (firmware.Anchor, error) {
	var p parser
	a := firmware.Anchor{
		ID:      parsed(&p, ident.ParseKey, r.ID),
		Alg:     cose.Alg(r.Alg),
		SPKI:    r.SPKI,
		Created: r.Created.time(),
		Revoked: r.Revoked.time(),
		Grants:  r.Grants.domain(&p),
	}
	return a, p.err
}

type grantsRecord struct {
	Vendors    [][]byte `cbor:"1,keyasint,omitempty"`
	Classes    [][]byte `cbor:"2,keyasint,omitempty"`
	Components []string `cbor:"3,keyasint,omitempty"`
	Uses       []string `cbor:"4,keyasint,omitempty"`
	NotBefore  stamp    `cbor:"5,keyasint,omitempty"`
	NotAfter   stamp    `cbor:"6,keyasint,omitempty"`
}

func grantsRecordOf(g firmware.Grants) grantsRecord {
	r := grantsRecord{Components: g.Components, NotBefore: stampOf(g.NotBefore), NotAfter: stampOf(g.NotAfter)}
	for _, v := range g.Vendors {
		r.Vendors = append(r.Vendors, uuidBytes(v))
	}
	for _, v := range g.Classes {
		r.Classes = append(r.Classes, uuidBytes(v))
	}
	for _, u := range g.Uses {
		r.Uses = append(r.Uses, string(u))
	}
	return r
}

func (r grantsRecord) domain(p *parser) firmware.Grants {
	g := firmware.Grants{Components: r.Components, NotBefore: r.NotBefore.time(), NotAfter: r.NotAfter.time()}
	for _, v := range r.Vendors {
		g.Vendors = append(g.Vendors, p.uuid(v))
	}
	for _, v := range r.Classes {
		g.Classes = append(g.Classes, p.uuid(v))
	}
	for _, u := range r.Uses {
		g.Uses = append(g.Uses, firmware.Use(u))
	}
	return g
}
