package campaign_test

import (
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func (m *memory) Quota(ident.Tenant) (campaign.Quota, error) { return m.quota, m.fail }

func (m *memory) PutQuota(_ ident.Tenant, q campaign.Quota) error {
	m.writes++
	m.quota = q
	return nil
}

func (m *memory) PutLedger(_ ident.Tenant, e campaign.LedgerEntry) error {
	m.writes++
	m.ledger = append(slices.Clip(m.ledger), e)
	return nil
}
