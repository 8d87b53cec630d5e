package badger

import (
	"slices"
	"strings"

	"fleetbridge/campaign"
)

// Bounds of what is recalled: records of so many devices, about 2 KiB for each that reports, and none from values that are
// longer. A fleet that is larger finds the share that fits: which record goes for a new one is left to chance.
const (
	maxRecalled  = 32768
	maxRecallLen = 2048
)

// memory is what the committer remembers from batch to batch about what it would read now: the newest commit with the
// overlay on top. It only saves work; every write and every rollback keeps it right.
type memory struct {
	fronts      fronts
	campaigns   map[string]campaign.Campaign // by key, decoded, as are the next three
	assignments recall[listedAssignment]
	works       recall[campaign.Work]
	devices     recall[campaign.Device]
	tallies     map[string]*tally // by the key of the counts
}

func newMemory() *memory {
	return &memory{fronts: fronts{}, campaigns: map[string]campaign.Campaign{}, tallies: map[string]*tally{},
		assignments: recall[listedAssignment]{}, works: recall[campaign.Work]{}, devices: recall[campaign.Device]{}}
}

// forget drops what is remembered of the record under key.
func (m *memory) forget(key string) {
	switch kindOf(key) {
	case kindAssignment:
		delete(m.assignments, key)
	case kindWork:
		delete(m.works, key)
	case kindDevice:
		delete(m.devices, key)
	case kindCampaign:
		delete(m.campaigns, key)
	}
}

// kindOf is the kind of a tenant's key, 0 of any other.
func kindOf(key string) byte {
	if i := strings.IndexByte(key, 0); i > 0 && i+1 < len(key) {
		return key[i+1]
	}
	return 0
}

// recall holds decoded records by key. Who reads one gets its own copy of what could be written into.
type recall[T any] map[string]*T

// keep remembers v, of which the caller writes into nothing that it shares.
func (r recall[T]) keep(key string, v T) *T {
	if p := r[key]; p != nil {
		*p = v
		return p
	}
	if len(r) >= maxRecalled {
		for k := range r { // any
			delete(r, k)
			break
		}
	}
	r[key] = &v
	return &v
}

// recalled is the record under k, from memory if it is there; nil if there is none. It is for reading only.
func recalled[R record[T], T any](t *tx, r recall[T], k key) (*T, error) {
	if err := t.usable(); err != nil {
		return nil, err
	}
	if p := r[string(k)]; p != nil {
		return p, nil
	}
	v, size, ok, err := findSized[R](&t.reader, k)
	if err != nil || !ok {
		return nil, err
	}
	if size > maxRecallLen {
		return &v, nil
	}
	return r.keep(string(k), v), nil
}

func copyWork(w campaign.Work) campaign.Work {
	return campaign.Work{Live: slices.Clone(w.Live), Waiting: slices.Clone(w.Waiting), Recent: slices.Clone(w.Recent),
		Failures: slices.Clone(w.Failures)}
}
