package simulator

import (
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// Entry is what one device knows for certain: its own state, and what the server acknowledged to it. A harness compares
// it with the server's records: every report acknowledged here must be recorded there.
type Entry struct {
	Tenant    ident.Tenant
	Device    ident.Device
	Fault     Fault
	Paho      bool // speaks MQTT 5 through paho.golang
	Installed topics.Installed
	Boot      uint64 // count of boots
	Seq       uint64 // last sequence number used
	Helloed   uint64 // highest sequence number of an acknowledged hello
	Resumed   bool
	// Manifests has one record per manifest that the device reported on, oldest first, at most 16.
	Manifests []Acknowledged
}

// Acknowledged is what a device reported on one manifest and was acknowledged.
type Acknowledged struct {
	Manifest ident.Digest
	State    topics.Word // of the newest report made, acknowledged or not
	Reason   topics.Reason
	Made     uint64      // reports made
	Count    uint64      // reports acknowledged, each sequence number once
	MaxSeq   uint64      // highest acknowledged sequence number; 0 if none
	MaxState topics.Word // of the report MaxSeq
}

const maxLedger = 16

// on returns the record of manifest, adding one if there is none; the oldest gives way.
func (e *Entry) on(manifest ident.Digest) *Acknowledged {
	for i := range e.Manifests {
		if e.Manifests[i].Manifest == manifest {
			return &e.Manifests[i]
		}
	}
	if len(e.Manifests) == maxLedger {
		e.Manifests = append(e.Manifests[:0], e.Manifests[1:]...)
	}
	e.Manifests = append(e.Manifests, Acknowledged{Manifest: manifest})
	return &e.Manifests[len(e.Manifests)-1]
}
