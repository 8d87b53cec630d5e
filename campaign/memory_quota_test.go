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

func (m *memory) Unpaid(_ ident.Tenant, c ident.Campaign, limit int) ([]campaign.Assignment, error) {
	return m.scan(c, limit, func(a campaign.Assignment) bool { return a.Unpaid },
		func(a, b campaign.Assignment) int { return byPlace(a.Place(), b.Place()) })
}

func (m *memory) DeviceCount(ident.Tenant) (uint64, error) { return uint64(len(m.devices)), m.fail }

func (m *memory) TurnedAway(ident.Tenant) (campaign.TurnedAway, error) { return m.turned, m.fail }

func (m *memory) PutTurnedAway(_ ident.Tenant, y campaign.TurnedAway) error {
	m.writes++
	m.turned = y
	return nil
}

func (m *memory) PutLedger(_ ident.Tenant, e campaign.LedgerEntry) error {
	m.writes++
	m.ledger = append(slices.Clip(m.ledger), e)
	return nil
}
