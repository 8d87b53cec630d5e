package campaign_test

import (
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func (m *memory) AuditHead(ident.Tenant) (campaign.AuditEntry, error) {
	if len(m.audits) == 0 {
		return campaign.AuditEntry{}, m.fail
	}
	return m.audits[len(m.audits)-1], m.fail
}

func (m *memory) Audits(_ ident.Tenant, after uint64, limit int) ([]campaign.AuditEntry, error) {
	var out []campaign.AuditEntry
	for _, e := range m.audits {
		if e.Number > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, m.fail
}

func (m *memory) PutAudit(_ ident.Tenant, e campaign.AuditEntry) error {
	m.writes++
	m.audits = append(slices.Clip(m.audits), e)
	return nil
}
