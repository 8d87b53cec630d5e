package bridge

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// verifyAtOnce is how many entries of the audit log one audit/verify checks.
const verifyAtOnce = 50_000

// audited runs fn, the work of a command within its transaction, and appends what was done to the tenant's audit log. A
// command that fails changes nothing, the log included.
func (c *call) audited(tx campaign.Tx, fn func(campaign.Tx) (any, campaign.Result, error)) (any, campaign.Result, error) {
	if !c.spec.Mutates {
		return fn(tx)
	}
	id := campaignOf(c.req)
	before, err := c.subject(tx, id)
	if err != nil {
		return nil, campaign.Result{}, err
	}
	reply, res, err := fn(tx)
	if err != nil {
		return nil, campaign.Result{}, err
	}
	after, err := c.subject(tx, id)
	if err != nil {
		return nil, campaign.Result{}, err
	}
	_, err = campaign.Record(tx, c.tenant, campaign.AuditEntry{
		At: c.now, By: c.by.Name.String(), Command: c.spec.Noun + "/" + c.spec.Verb, Object: objectOf(c.spec.Noun, c.req),
		Campaign: id, Before: before.Revision, After: after.Revision, Body: ident.SumDigest(c.body), Outcome: outcomeOf(c.spec.Verb, c.req, after),
	})
	return reply, res, err
}

// subject is the campaign that a command is about; the zero value if there is none.
func (c *call) subject(r campaign.Reader, id ident.Campaign) (campaign.Campaign, error) {
	if id.IsZero() {
		return campaign.Campaign{}, nil
	}
	found, err := r.Campaign(c.tenant, id)
	if err != nil && !errors.Is(err, campaign.ErrNotFound) {
		return campaign.Campaign{}, fmt.Errorf("read campaign: %w", err)
	}
	return found, nil
}

// done is the outcome of every command that is in the log: one that failed is not.
const done = "done"

// outcomeOf is done, and then what makes the entry worth reading: the plan that was started or approved, and why the
// sender did it.
func outcomeOf(verb string, req any, after campaign.Campaign) string {
	text := done
	if (verb == "start" || verb == "approve") && !after.Plan.IsZero() {
		text += ": plan " + after.Plan.String()
	}
	if v := reflect.ValueOf(req); v.Kind() == reflect.Struct {
		if f := v.FieldByName("Reason"); f.IsValid() && f.Kind() == reflect.String && f.Len() > 0 {
			text += ": " + f.String()
		}
	}
	return text
}

// campaignOf is the member Campaign of a request.
func campaignOf(req any) ident.Campaign {
	v := reflect.ValueOf(req)
	if v.Kind() != reflect.Struct {
		return ident.Campaign{}
	}
	if f := v.FieldByName("Campaign"); f.IsValid() {
		id, _ := f.Interface().(ident.Campaign) // a member of another type names no campaign
		return id
	}
	return ident.Campaign{}
}

// subjects are the members by which a request says what it is about, the first that is set counts.
var subjects = []string{"Campaign", "Device", "Devices", "ID", "Digest", "Name", "Names", "Tenant"}

// objectOf says for people what a request of a noun is about: campaign/spring.
func objectOf(noun string, req any) string {
	v := reflect.ValueOf(req)
	if v.Kind() != reflect.Struct {
		return noun
	}
	for _, name := range subjects {
		f := v.FieldByName(name)
		if !f.IsValid() || f.IsZero() {
			continue
		}
		text := fmt.Sprint(f.Interface())
		if f.Kind() == reflect.Slice {
			text = strings.Trim(text, "[]")
		}
		return noun + "/" + text
	}
	return noun
}

func parseNumber(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }

// auditLister lists entries that read returns.
func auditLister(read func(r campaign.Reader, after uint64, limit int) ([]campaign.AuditEntry, error)) lister[uint64, campaign.AuditEntry, topics.AuditView] {
	return lister[uint64, campaign.AuditEntry, topics.AuditView]{
		parse: parseNumber,
		place: func(e campaign.AuditEntry) string { return strconv.FormatUint(e.Number, 10) },
		read:  read,
		view:  plainly(auditView),
	}
}

func auditList(ctx context.Context, c *call, req topics.AuditList) (any, error) {
	return auditLister(func(r campaign.Reader, after uint64, limit int) ([]campaign.AuditEntry, error) {
		if req.Campaign.IsZero() {
			return r.Audits(c.tenant, after, limit)
		}
		return r.CampaignAudits(c.tenant, req.Campaign, after, limit) // of one that was deleted too
	}).run(ctx, c, req.Page)
}

func campaignEvents(ctx context.Context, c *call, req topics.CampaignEvents) (any, error) {
	return auditLister(func(r campaign.Reader, after uint64, limit int) ([]campaign.AuditEntry, error) {
		if _, err := r.Campaign(c.tenant, req.Campaign); err != nil {
			return nil, orMissing(err, "campaign", req.Campaign)
		}
		return r.CampaignAudits(c.tenant, req.Campaign, after, limit)
	}).run(ctx, c, req.Page)
}

func auditVerify(ctx context.Context, c *call, req topics.AuditVerify) (any, error) {
	var v topics.AuditVerified
	err := c.view(ctx, func(r campaign.Reader) error {
		found, err := campaign.VerifyAudit(r, c.tenant, req.After, req.Hash, verifyAtOnce)
		v = topics.AuditVerified(found)
		return err
	})
	return v, err
}

func auditView(e campaign.AuditEntry) topics.AuditView { return topics.AuditView(e) }
