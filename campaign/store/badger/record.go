package badger

import (
	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

// The records are the stored form of campaign's and firmware's types, member by member. Numbers in tags are for ever.

type tenantRecord struct {
	ID      string `cbor:"1,keyasint"`
	Name    string `cbor:"2,keyasint,omitempty"`
	Created stamp  `cbor:"3,keyasint,omitempty"`
}

func tenantRecordOf(t campaign.Tenant) tenantRecord {
	return tenantRecord{ID: t.ID.String(), Name: t.Name, Created: stampOf(t.Created)}
}

func (r tenantRecord) domain() (campaign.Tenant, error) {
	var p parser
	t := campaign.Tenant{ID: parsed(&p, ident.ParseTenant, r.ID), Name: r.Name, Created: r.Created.time()}
	return t, p.err
}

type credentialRecord struct {
	Name    string `cbor:"1,keyasint"`
	Role    string `cbor:"2,keyasint,omitempty"`
	Hash    []byte `cbor:"3,keyasint,omitempty"`
	Created stamp  `cbor:"4,keyasint,omitempty"`
	Revoked stamp  `cbor:"5,keyasint,omitempty"`
}

func credentialRecordOf(c campaign.Credential) credentialRecord {
	return credentialRecord{
		Name:    c.Name.String(),
		Role:    c.Role,
		Hash:    c.Hash[:],
		Created: stampOf(c.Created),
		Revoked: stampOf(c.Revoked),
	}
}

func (r credentialRecord) domain() (campaign.Credential, error) {
	var p parser
	c := campaign.Credential{
		Name:    parsed(&p, ident.ParseName, r.Name),
		Role:    r.Role,
		Created: r.Created.time(),
		Revoked: r.Revoked.time(),
	}
	p.fixed(c.Hash[:], r.Hash)
	return c, p.err
}

type payloadRecord struct {
	Digest  []byte `cbor:"1,keyasint"`
	Size    int64  `cbor:"2,keyasint,omitempty"`
	Name    string `cbor:"3,keyasint,omitempty"`
	Created stamp  `cbor:"4,keyasint,omitempty"`
	Begun   stamp  `cbor:"90,keyasint,omitempty"`
}

func payloadRecordOf(p firmware.Payload) payloadRecord {
	return payloadRecord{Digest: digestBytes(p.Digest), Size: p.Size, Name: p.Name, Created: stampOf(p.Created), Begun: stampOf(p.Begun)}
}

func (r payloadRecord) domain() (firmware.Payload, error) {
	var p parser
	v := firmware.Payload{Digest: p.digest(r.Digest), Size: r.Size, Name: r.Name, Created: r.Created.time(), Begun: r.Begun.time()}
	return v, p.err
}

type signatureRecord struct {
	Key string `cbor:"1,keyasint,omitempty"`
	Alg int64  `cbor:"2,keyasint,omitempty"`
}

type manifestRecord struct {
	Digest    []byte            `cbor:"1,keyasint"`
	Envelope  []byte            `cbor:"2,keyasint,omitempty"`
	Sequence  uint64            `cbor:"3,keyasint,omitempty"`
	Vendor    []byte            `cbor:"4,keyasint,omitempty"`
	Class     []byte            `cbor:"5,keyasint,omitempty"`
	Component string            `cbor:"6,keyasint,omitempty"`
	Image     []byte            `cbor:"7,keyasint,omitempty"`
	Size      int64             `cbor:"8,keyasint,omitempty"`
	URI       string            `cbor:"9,keyasint,omitempty"` // read of records without Fetches: where the image is fetched
	Version   string            `cbor:"10,keyasint,omitempty"`
	Keys      []signatureRecord `cbor:"11,keyasint,omitempty"`
	Created   stamp             `cbor:"12,keyasint,omitempty"`
	Fetches   []fetchRecord     `cbor:"80,keyasint,omitempty"`
}

type fetchRecord struct {
	Role      string `cbor:"1,keyasint"`
	Digest    []byte `cbor:"2,keyasint"`
	Size      int64  `cbor:"3,keyasint"`
	URI       string `cbor:"4,keyasint"`
	Precursor []byte `cbor:"5,keyasint,omitempty"`
}

func manifestRecordOf(m firmware.Manifest) manifestRecord {
	r := manifestRecord{
		Digest:    digestBytes(m.Digest),
		Envelope:  m.Envelope,
		Sequence:  m.Sequence,
		Vendor:    uuidBytes(m.Vendor),
		Class:     uuidBytes(m.Class),
		Component: m.Component,
		Image:     digestBytes(m.Image),
		Size:      m.Size,
		Version:   m.Version,
		Created:   stampOf(m.Created),
	}
	for _, s := range m.Keys {
		r.Keys = append(r.Keys, signatureRecord{Key: s.Key.String(), Alg: int64(s.Alg)})
	}
	for _, f := range m.Fetches {
		r.Fetches = append(r.Fetches, fetchRecord{string(f.Role), digestBytes(f.Digest), f.Size, f.URI, digestBytes(f.Precursor)})
	}
	return r
}

func (r manifestRecord) domain() (firmware.Manifest, error) {
	var p parser
	m := firmware.Manifest{
		Digest:    p.digest(r.Digest),
		Envelope:  r.Envelope,
		Sequence:  r.Sequence,
		Vendor:    p.uuid(r.Vendor),
		Class:     p.uuid(r.Class),
		Component: r.Component,
		Image:     p.digest(r.Image),
		Size:      r.Size,
		Version:   r.Version,
		Created:   r.Created.time(),
	}
	for _, s := range r.Keys {
		m.Keys = append(m.Keys, firmware.Signature{Key: parsed(&p, ident.ParseKey, s.Key), Alg: cose.Alg(s.Alg)})
	}
	for _, f := range r.Fetches {
		m.Fetches = append(m.Fetches, firmware.Fetch{Role: firmware.Role(f.Role), Digest: p.digest(f.Digest), Size: f.Size,
			URI: f.URI, Precursor: p.digest(f.Precursor)})
	}
	if r.URI != "" {
		m.Fetches = []firmware.Fetch{{Role: firmware.RoleImage, Digest: m.Image, Size: m.Size, URI: r.URI}}
	}
	return m, p.err
}

type floorRecord struct {
	Sequence uint64 `cbor:"1,keyasint,omitempty"`
	Manifest []byte `cbor:"2,keyasint,omitempty"`
}

func floorRecordOf(f campaign.Floor) floorRecord {
	return floorRecord{Sequence: f.Sequence, Manifest: digestBytes(f.Manifest)}
}

func (r floorRecord) domain() (campaign.Floor, error) {
	var p parser
	f := campaign.Floor{Sequence: r.Sequence, Manifest: p.digest(r.Manifest)}
	return f, p.err
}

type replyRecord struct {
	Body    []byte `cbor:"1,keyasint,omitempty"`
	Status  int    `cbor:"2,keyasint,omitempty"`
	Reply   []byte `cbor:"3,keyasint,omitempty"`
	Type    string `cbor:"4,keyasint,omitempty"`
	Expires stamp  `cbor:"5,keyasint,omitempty"`
}

func replyRecordOf(s campaign.StoredReply) replyRecord {
	return replyRecord{
		Body:    digestBytes(s.Body),
		Status:  s.Status,
		Reply:   s.Reply,
		Type:    s.Type,
		Expires: stampOf(s.Expires),
	}
}

func (r replyRecord) domain() (campaign.StoredReply, error) {
	var p parser
	s := campaign.StoredReply{
		Body:    p.digest(r.Body),
		Status:  r.Status,
		Reply:   r.Reply,
		Type:    r.Type,
		Expires: r.Expires.time(),
	}
	return s, p.err
}
