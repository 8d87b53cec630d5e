package campaign

import (
	"fmt"

	"fleetbridge/ident"
)

// Change is what Update sets; nil members stay. A policy or a selection is replaced as a whole.
type Change struct {
	Description *string
	Manifest    *ident.Digest
	Selection   *Selection
	Policy      *Policy // completed by Update; start from PolicyDefaults
	By          string  // who asks
}

// Update edits a campaign. All of a draft may change; of any other phase but archived only the description, which no
// rule reads (ErrPhase). An ifRevision other than 0 must be the campaign's revision (ErrConflict). The error may be an
// *InvalidError, or a *NotFoundError for the campaign or the manifest.
func Update(tx Tx, t ident.Tenant, id ident.Campaign, ifRevision uint64, e Change) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		if err := e.allowed(*c); err != nil {
			return err
		}
		s := Spec{ID: c.ID, Description: c.Description, Manifest: c.Manifest, Selection: c.Selection, Policy: c.Policy}
		e.onto(&s)
		if c.Phase != Draft { // what was checked under the rules of its day stays as it is
			if len(s.Description) > MaxDescription {
				return tooLong(s.Description)
			}
			c.Description = s.Description
			c.Revision++
			return nil
		}
		s, err := s.complete()
		if err != nil {
			return err
		}
		m, err := tx.Manifest(t, s.Manifest)
		if err != nil {
			return missing(err, "manifest", s.Manifest)
		}
		if err := c.edited(e.By); err != nil {
			return err
		}
		c.Description, c.Selection, c.Policy = s.Description, s.Selection, s.Policy
		c.Manifest, c.Vendor, c.Class, c.Component, c.Image, c.Size, c.Algs = m.Digest, m.Vendor, m.Class, m.Component, m.Image, m.Download(), signedBy(m)
		c.Revision++
		return nil
	})
}

func (e Change) allowed(c Campaign) error {
	described := e.Manifest == nil && e.Selection == nil && e.Policy == nil
	if c.Phase == Draft || described && c.Phase != Archived {
		return nil
	}
	if described {
		return fmt.Errorf("campaign %s is %s, nothing of it changes any more: %w", c.ID, c.Phase, ErrPhase)
	}
	return fmt.Errorf("campaign %s is %s, only a draft's manifest, selection and policy can change: %w", c.ID, c.Phase, ErrPhase)
}

func (e Change) onto(s *Spec) {
	if e.Description != nil {
		s.Description = *e.Description
	}
	if e.Manifest != nil {
		s.Manifest = *e.Manifest
	}
	if e.Selection != nil {
		s.Selection = *e.Selection
	}
	if e.Policy != nil {
		s.Policy = *e.Policy
	}
}
