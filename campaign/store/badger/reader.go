package badger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// errEnded answers a Reader or Tx that is used after its function returned.
var errEnded = errors.New("used after its transaction ended")

// reader is a campaign.Reader over a source.
type reader struct {
	src   source
	ctx   context.Context // of View; nil in a Tx
	ended bool
	tx    *tx                  // whose reader it is; nil in a View
	shown *published           // of View; nil in a Tx
	sets  map[string]*stateSet // as of View's commit
}

// usable says whether r may still read.
func (r *reader) usable() error {
	switch {
	case r.ended:
		return errEnded
	case r.ctx != nil:
		return r.ctx.Err()
	}
	return nil
}

// record is a stored form of T.
type record[T any] interface{ domain() (T, error) }

func decodeAs[R record[T], T any](val []byte) (T, error) {
	var rec R
	if err := decode(val, &rec); err != nil {
		var zero T
		return zero, err
	}
	return rec.domain()
}

// find reads the record of key k, and whether there is one.
func find[R record[T], T any](r *reader, k key) (v T, ok bool, err error) {
	v, _, ok, err = findSized[R](r, k)
	return v, ok, err
}

// findSized is find, with the length of the value.
func findSized[R record[T], T any](r *reader, k key) (v T, size int, ok bool, err error) {
	if err := r.usable(); err != nil {
		return v, 0, false, err
	}
	ok, err = r.src.get(k, func(val []byte) (err error) {
		size = len(val)
		v, err = decodeAs[R](val)
		return err
	})
	if err != nil {
		return v, 0, false, fmt.Errorf("read %q: %w", k, err)
	}
	return v, size, ok, nil
}

// get is find where a record must be there.
func get[R record[T], T any](r *reader, k key) (T, error) {
	v, ok, err := find[R](r, k)
	if err == nil && !ok {
		err = campaign.ErrNotFound
	}
	return v, err
}

// among reads the records of devices that are in order, under prefix; the zero value stands for one that is not there.
func among[R record[T], T any](r *reader, prefix key, ids []ident.Device) ([]T, error) {
	if err := r.usable(); err != nil || len(ids) == 0 {
		return nil, err
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	vs := make([]T, len(ids))
	return vs, r.src.among(prefix, names, func(i int, val []byte) (err error) {
		if vs[i], err = decodeAs[R](val); err != nil {
			return fmt.Errorf("read %q of %q: %w", prefix, names[i], err)
		}
		return nil
	})
}

// list reads at most limit records whose keys start with prefix, after prefix+after.
func list[R record[T], T any](r *reader, prefix key, after string, limit int) (vs []T, err error) {
	err = r.each(prefix, after, limit, false, func(k, val []byte) error {
		v, err := decodeAs[R](val)
		if err != nil {
			return fmt.Errorf("read %q: %w", k, err)
		}
		vs = append(vs, v)
		return nil
	})
	return vs, err
}

// each calls fn for at most limit keys that start with prefix and are greater than prefix+after.
func (r *reader) each(prefix key, after string, limit int, keysOnly bool, fn func(k, val []byte) error) error {
	if err := r.usable(); err != nil || limit <= 0 {
		return err
	}
	from := prefix
	if after != "" {
		from = append(append(key(nil), prefix...), after...).after()
	}
	return r.src.scan(prefix, from, keysOnly, func(k, val []byte) (bool, error) {
		limit--
		return limit > 0, fn(k, val)
	})
}

// rest returns the parts of the keys that each visits, after prefix.
func (r *reader) rest(prefix key, after string, limit int) (rest []string, err error) {
	err = r.each(prefix, after, limit, true, func(k, _ []byte) error {
		rest = append(rest, string(k[len(prefix):]))
		return nil
	})
	return rest, err
}

func (r *reader) Tenant(t ident.Tenant) (campaign.Tenant, error) {
	return get[tenantRecord](r, tenantKey(t))
}

func (r *reader) Tenants(after ident.Tenant, limit int) ([]campaign.Tenant, error) {
	return list[tenantRecord](r, tenantPrefix, after.String(), limit)
}

func (r *reader) Credential(t ident.Tenant, n ident.Name) (campaign.Credential, error) {
	return get[credentialRecord](r, keyOf(t, kindCredential).last(n.String()))
}

func (r *reader) Credentials(t ident.Tenant, after ident.Name, limit int) ([]campaign.Credential, error) {
	return list[credentialRecord](r, keyOf(t, kindCredential), after.String(), limit)
}

func (r *reader) Anchor(t ident.Tenant, k ident.Key) (firmware.Anchor, error) {
	return get[anchorRecord](r, keyOf(t, kindAnchor).last(k.String()))
}

func (r *reader) Anchors(t ident.Tenant, after ident.Key, limit int) ([]firmware.Anchor, error) {
	return list[anchorRecord](r, keyOf(t, kindAnchor), after.String(), limit)
}

func (r *reader) Payload(t ident.Tenant, d ident.Digest) (firmware.Payload, error) {
	return get[payloadRecord](r, keyOf(t, kindPayload).bytes(d[:]))
}

func (r *reader) Payloads(t ident.Tenant, after ident.Digest, limit int) ([]firmware.Payload, error) {
	return list[payloadRecord](r, keyOf(t, kindPayload), string(digestBytes(after)), limit)
}

func (r *reader) Manifest(t ident.Tenant, d ident.Digest) (firmware.Manifest, error) {
	return get[manifestRecord](r, keyOf(t, kindManifest).bytes(d[:]))
}

func (r *reader) Manifests(t ident.Tenant, after ident.Digest, limit int) ([]firmware.Manifest, error) {
	return list[manifestRecord](r, keyOf(t, kindManifest), string(digestBytes(after)), limit)
}

func (r *reader) Floor(t ident.Tenant, vendor, class uuid.UUID, component string) (campaign.Floor, error) {
	f, _, err := find[floorRecord](r, floorKey(t, vendor, class, component))
	return f, err
}

func floorKey(t ident.Tenant, vendor, class uuid.UUID, component string) key {
	return keyOf(t, kindFloor).bytes(vendor[:]).bytes(class[:]).last(component)
}

func (r *reader) Device(t ident.Tenant, d ident.Device) (campaign.Device, error) {
	return get[deviceRecord](r, keyOf(t, kindDevice).last(d.String()))
}

func (r *reader) Boot(t ident.Tenant, d ident.Device) (uint64, error) {
	v, _, err := find[deviceRecord](r, keyOf(t, kindDevice).last(d.String()))
	return v.Boot, err
}

func (r *reader) Devices(t ident.Tenant, after ident.Device, limit int) ([]campaign.Device, error) {
	return list[deviceRecord](r, keyOf(t, kindDevice), after.String(), limit)
}

func (r *reader) DevicesOf(t ident.Tenant, ids []ident.Device) ([]campaign.Device, error) {
	return among[deviceRecord](r, keyOf(t, kindDevice), ids)
}

func (r *reader) WorksOf(t ident.Tenant, ids []ident.Device) ([]campaign.Work, error) {
	return among[workRecord](r, keyOf(t, kindWork), ids)
}

func (r *reader) Work(t ident.Tenant, d ident.Device) (campaign.Work, error) {
	w, _, err := find[workRecord](r, keyOf(t, kindWork).last(d.String()))
	return w, err
}

func (r *reader) Works(t ident.Tenant, after ident.Device, limit int) ([]campaign.DeviceWork, error) {
	names, err := r.rest(keyOf(t, kindLive), after.String(), limit)
	if err != nil {
		return nil, err
	}
	var works []campaign.DeviceWork
	for _, name := range names {
		d, err := ident.ParseDevice(name)
		if err != nil {
			return nil, fmt.Errorf("read index of live work: %w", err)
		}
		w, err := get[workRecord](r, keyOf(t, kindWork).last(name))
		if err != nil {
			return nil, fmt.Errorf("read work of %s: %w", name, broken(err))
		}
		works = append(works, campaign.DeviceWork{Device: d, Work: w})
	}
	return works, nil
}

// broken replaces ErrNotFound where an index points to nothing: that is a damaged store, not an answer to the caller.
func broken(err error) error {
	if errors.Is(err, campaign.ErrNotFound) {
		return fmt.Errorf("%w: index points to nothing", errRecord)
	}
	return err
}

func (r *reader) Reply(t ident.Tenant, n ident.Name, idem string, now time.Time) (campaign.StoredReply, error) {
	k, err := replyKey(t, n, idem)
	if err != nil {
		return campaign.StoredReply{}, err
	}
	s, err := get[replyRecord](r, k)
	if err == nil && !s.Expires.After(now) {
		return campaign.StoredReply{}, campaign.ErrNotFound
	}
	return s, err
}
