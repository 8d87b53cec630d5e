package badger

import (
	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// deviceCountRecord is how many devices of a tenant are registered: its own record, because every new device changes it.
type deviceCountRecord struct {
	Count uint64 `cbor:"1,keyasint"`
}

func (r deviceCountRecord) domain() (uint64, error) { return r.Count, nil }

type turnedAwayRecord struct {
	Hellos uint64               `cbor:"1,keyasint,omitempty"`
	Latest []turnedDeviceRecord `cbor:"2,keyasint,omitempty"`
}

type turnedDeviceRecord struct {
	Device string `cbor:"1,keyasint"`
	At     stamp  `cbor:"2,keyasint,omitempty"`
}

func turnedAwayRecordOf(y campaign.TurnedAway) turnedAwayRecord {
	r := turnedAwayRecord{Hellos: y.Hellos}
	for _, d := range y.Latest {
		r.Latest = append(r.Latest, turnedDeviceRecord{d.Device.String(), stampOf(d.At)})
	}
	return r
}

func (r turnedAwayRecord) domain() (campaign.TurnedAway, error) {
	var p parser
	y := campaign.TurnedAway{Hellos: r.Hellos}
	for _, d := range r.Latest {
		y.Latest = append(y.Latest, campaign.TurnedDevice{Device: parsed(&p, ident.ParseDevice, d.Device), At: d.At.time()})
	}
	return y, p.err
}

func (r *reader) DeviceCount(t ident.Tenant) (uint64, error) {
	n, _, err := find[deviceCountRecord](r, quotaPrefix(t, quotaDevices))
	return n, err
}

func (r *reader) TurnedAway(t ident.Tenant) (campaign.TurnedAway, error) {
	y, _, err := find[turnedAwayRecord](r, quotaPrefix(t, quotaTurned))
	return y, err
}

func (t *tx) PutTurnedAway(tn ident.Tenant, y campaign.TurnedAway) error {
	if err := t.named("devices turned away", tn); err != nil {
		return err
	}
	return t.put(quotaPrefix(tn, quotaTurned), turnedAwayRecordOf(y))
}

// countDevice counts one more device.
func (t *tx) countDevice(tn ident.Tenant) error {
	n, err := t.DeviceCount(tn)
	if err != nil {
		return t.fail(err)
	}
	return t.put(quotaPrefix(tn, quotaDevices), deviceCountRecord{n + 1})
}
