package bridge

import (
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func anchorView(a firmware.Anchor) topics.AnchorView {
	return topics.AnchorView{ID: a.ID, Alg: a.Alg.String(), Fingerprint: ident.SumDigest(a.SPKI), Created: a.Created,
		Revoked: !a.Live(), RevokedAt: a.Revoked, Grants: grantsView(a.Grants)}
}

func grantsOf(g topics.Grants) firmware.Grants {
	out := firmware.Grants{Vendors: g.Vendors, Classes: g.Classes, Components: g.Components, NotBefore: g.NotBefore, NotAfter: g.NotAfter}
	for _, u := range g.Uses {
		out.Uses = append(out.Uses, firmware.Use(u))
	}
	return out
}

func grantsView(g firmware.Grants) topics.Grants {
	out := topics.Grants{Vendors: g.Vendors, Classes: g.Classes, Components: g.Components, NotBefore: g.NotBefore, NotAfter: g.NotAfter}
	for _, u := range g.Uses {
		out.Uses = append(out.Uses, string(u))
	}
	return out
}
