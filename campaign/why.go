package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fleetbridge/ident"
)

// The codes of an Answer for a device that has nothing to do in a campaign now. An assignment that has ended, or that
// is silent, answers with the word of its state.
const (
	WhyNotStarted    = "not-started"      // the campaign is a draft
	WhyNotApproved   = "not-approved"     // it waits for an approval
	WhyStarting      = "starting"         // it is being set up: the device's turn is not known yet
	WhyStopping      = "stopping"         // it has been told to stop
	WhyPermit        = "waits-for-permit" // it asked to install, and may not yet
	WhyNotSelected   = "not-selected"     // the device is not part of it
	WhyPaused        = "paused"           // nothing is offered until somebody resumes it
	WhyQuota         = "quota"            // it joined, and the tenant's quota has no update left for it
	WhyBusy          = "busy"             // another campaign holds the component
	WhyWaveNotOpen   = "wave-not-open"    // an earlier wave has not met its gate
	WhyInFlightCap   = "in-flight-cap"    // as many devices as allowed are being updated
	WhyOutsideWindow = "outside-window"   // nothing is offered until the next maintenance window opens
	WhyRate          = "rate"             // as many devices as the rate allows were offered just now
	WhyNext          = "next"             // nothing stands in its way
	WhyUnanswered    = "unanswered"       // offered, and the device has not said that it has it
	WhyOffline       = "offline"          // it is the device's turn, and the device is not connected
	WhyInProgress    = "in-progress"      // the device is at work
	maxWhyCampaigns  = 64
)

// Answer says why one campaign has, or has not, updated a device.
type Answer struct {
	Campaign ident.Campaign
	Phase    Phase
	State    State  // of the device's assignment; "" if it has none
	Code     string // a Why word, or the state of an assignment that has ended
	Reason   string // of the assignment
	Detail   string // for people
	Wave     int    // from 0; meaningless without State
	Offers   int
	Since    time.Time      // when the assignment came to its state, or the device went away
	Until    time.Time      // when time alone changes that; zero: it does not
	Blocker  ident.Campaign // who holds the device, with WhyBusy
}

// Why says for each campaign that device d has, or could have, a part in why it is not updated: the latest ones of the
// device, those that it waits for, and the running ones, at most 64; more says that there are others. With only it is
// about that one campaign. offline says that the device is known not to be connected. It reads a bounded number of
// records, however large the fleet is.
func Why(r Reader, now time.Time, t ident.Tenant, d ident.Device, only ident.Campaign, offline bool) (list []Answer, more bool, err error) {
	x := explainer{r: r, t: t, now: now, offline: offline}
	if x.dev, err = r.Device(t, d); err != nil {
		return nil, false, missing(err, "device", d)
	}
	if x.work, err = r.Work(t, d); err != nil {
		return nil, false, fmt.Errorf("read work of %s: %w", d, err)
	}
	ids, more, err := x.candidates(only)
	if err != nil {
		return nil, false, err
	}
	for _, id := range ids {
		c, err := r.Campaign(t, id)
		if errors.Is(err, ErrNotFound) && only.IsZero() {
			continue // deleted since
		}
		if err != nil {
			return nil, false, missing(err, "campaign", id)
		}
		a, err := x.answer(c)
		if err != nil {
			return nil, false, err
		}
		list = append(list, a)
	}
	slices.SortStableFunc(list, func(a, b Answer) int { return cmp.Compare(a.over(), b.over()) })
	return list, more, nil
}

// over is 1 of a campaign that has ended, which is of less interest.
func (a Answer) over() int {
	if a.Phase == Stopped || a.Phase == Archived || a.Phase == Deleting {
		return 1
	}
	return 0
}

// explainer is one question.
type explainer struct {
	r       Reader
	t       ident.Tenant
	now     time.Time
	dev     Device
	work    Work
	offline bool
}

func (x *explainer) candidates(only ident.Campaign) (ids []ident.Campaign, more bool, err error) {
	if !only.IsZero() {
		return []ident.Campaign{only}, false, nil
	}
	for _, l := range slices.Concat(x.work.Live, x.work.Recent) {
		ids = append(ids, l.Campaign)
	}
	running, err := x.r.Running(x.t, ident.Campaign{}, maxWhyCampaigns)
	if err != nil {
		return nil, false, fmt.Errorf("list running campaigns: %w", err)
	}
	ids = append(ids, x.work.Waiting...)
	for _, c := range running {
		ids = append(ids, c.ID)
	}
	seen := map[ident.Campaign]bool{}
	ids = slices.DeleteFunc(ids, func(id ident.Campaign) bool {
		was := seen[id]
		seen[id] = true
		return was
	})
	more = len(running) == maxWhyCampaigns || len(ids) > maxWhyCampaigns
	return ids[:min(len(ids), maxWhyCampaigns)], more, nil
}

func (x *explainer) answer(c Campaign) (Answer, error) {
	out := Answer{Campaign: c.ID, Phase: c.Phase}
	a, err := x.r.Assignment(x.t, c.ID, x.dev.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		out.Code, out.Detail = x.notPart(c)
		if out.Code == WhyStarting && c.Policy.StartAt.After(x.now) {
			out.Detail, out.Until = "the campaign starts later", c.Policy.StartAt
		}
		return out, nil
	case err != nil:
		return out, fmt.Errorf("read assignment of %s: %w", x.dev.ID, err)
	}
	out.State, out.Reason, out.Wave, out.Offers, out.Since = a.State, a.Reason, a.Wave, a.Offers, a.since()
	switch {
	case (a.State == Pending || a.State.Live()) && !c.checkable(x.dev):
		out.Code, out.Detail = ReasonNoCommonAlg, noCommonAlg
	case a.State == Pending:
		return out, x.pending(&out, c, a)
	case a.State.Live():
		x.live(&out, a)
	case a.State == Retrying:
		out.Code, out.Until = string(Retrying), a.Deadline
		out.Detail = fmt.Sprintf("failed (%s), to be tried again, try %d of %d", a.Reason, a.Retries+1, c.Policy.Retry.Max+1)
	default:
		out.Code = string(a.State)
		out.Detail = ended(a)
	}
	return out, nil
}

// notPart says why a device has no assignment in c.
func (x *explainer) notPart(c Campaign) (code, detail string) {
	listed := slices.Contains(c.Selection.Devices, x.dev.ID)
	switch {
	case len(c.Selection.Devices) > 0 && !listed:
		return WhyNotSelected, "the campaign lists its devices, and this is none of them"
	case !c.Selection.From.IsZero():
		return WhyNotSelected, fmt.Sprintf("the campaign takes devices of campaign %s in state %v", c.Selection.From.Campaign, c.Selection.From.States)
	}
	if in, err := c.Selects(x.dev, x.now); !listed && !in {
		return WhyNotSelected, c.whyUnselected(x.dev, err)
	}
	switch c.Phase {
	case Draft:
		return WhyNotStarted, "the campaign is a draft"
	case AwaitingApproval:
		return WhyNotApproved, "the campaign waits for its approval"
	case Scheduled, Starting:
		return WhyStarting, "the campaign is being set up"
	}
	return WhyNotSelected, "the device was not registered, or did not match, when the campaign froze its devices"
}

// whyUnselected says which condition of a campaign without a list d does not meet; err is why its filter failed on d.
func (c Campaign) whyUnselected(d Device, err error) string {
	for _, k := range sortedKeys(c.Selection.Labels) {
		if have, ok := d.Labels[k]; !ok {
			return fmt.Sprintf("the device has no label %s; %q is wanted", k, c.Selection.Labels[k])
		} else if want := c.Selection.Labels[k]; have != want {
			return fmt.Sprintf("label %s is %q; %q is wanted", k, have, want)
		}
	}
	switch {
	case d.LastSeen.IsZero():
		return "the device has not been seen yet, so its vendor and class are not known"
	case d.Vendor != c.Vendor:
		return fmt.Sprintf("the device's vendor is %s, the manifest's %s", d.Vendor, c.Vendor)
	case d.Class != c.Class:
		return fmt.Sprintf("the device's class is %s, the manifest's %s", d.Class, c.Class)
	case err != nil:
		return fmt.Sprintf("the filter can't tell: %v", err)
	case c.Selection.Filter != "":
		return "the device does not pass the filter " + c.Selection.Filter
	}
	return "the device does not match the selection"
}

// pending says what a device waits for that has not been offered the manifest.
func (x *explainer) pending(out *Answer, c Campaign, a Assignment) error {
	n, err := x.r.Counts(x.t, c.ID)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	holder := slices.IndexFunc(x.work.Live, func(l Live) bool { return l.Component == a.Component })
	switch p := c.Policy; {
	case c.Phase == Starting:
		out.Code, out.Detail = WhyStarting, "the campaign is being set up"
	case c.Phase != Active && c.Phase != Paused:
		out.Code, out.Detail = WhyStopping, "the campaign is "+string(c.Phase)
	case c.Phase == Paused:
		out.Code, out.Detail = WhyPaused, "the campaign is paused"
	case a.Unpaid:
		out.Code, out.Detail = WhyQuota, "the tenant's quota of updates is used up; the device's turn comes by itself when there is room"
	case a.Waiting && holder >= 0:
		out.Blocker = x.work.Live[holder].Campaign
		out.Code, out.Detail = WhyBusy, fmt.Sprintf("campaign %s is updating component %s of the device", out.Blocker, a.Component)
	case a.Wave > c.Open:
		out.Code, out.Detail = WhyWaveNotOpen, fmt.Sprintf("the device is in wave %d, wave %d is open", a.Wave+1, c.Open+1)
		switch {
		case c.Step == AwaitingRelease:
			out.Detail += "; the next one waits for its release"
		case c.Step == Soaking && a.Wave == c.Open+1 && !c.MetAt.IsZero():
			out.Detail += " and must keep its gate for " + p.Soak.String()
			out.Until = c.MetAt.Add(p.Soak)
		}
	case p.InFlight > 0 && n.Of(liveStates...) >= uint64(p.InFlight):
		out.Code, out.Detail = WhyInFlightCap, fmt.Sprintf("%d devices are being updated, at most %d allowed", n.Of(liveStates...), p.InFlight)
	default:
		out.Code, out.Detail, out.Until = c.whyNoRoom(n, x.now)
	}
	return nil
}

// live says what a device with a live assignment is waited for.
func (x *explainer) live(out *Answer, a Assignment) {
	out.Until = a.Due()
	switch {
	case x.offline:
		out.Code, out.Detail = WhyOffline, "the device is not connected; the manifest waits on its topic"
		if x.dev.LastSeen.After(out.Since) {
			out.Since = x.dev.LastSeen
		}
		out.Until = a.Deadline
	case a.State == Offered:
		out.Code, out.Detail = WhyUnanswered, fmt.Sprintf("offered %d times, not answered yet", a.Offers)
	case a.State == Downloaded && a.Permit.State == PermitWaiting:
		out.Code, out.Detail = WhyPermit, "the device has downloaded the payload and waits for a permit to install"
	default:
		out.Code, out.Detail = WhyInProgress, "the device is "+string(a.State)
		if a.Detail != "" {
			out.Detail += ": " + a.Detail
		}
	}
}

// noCommonAlg is what to do about ReasonNoCommonAlg.
const noCommonAlg = "no signature of the manifest is of an algorithm that the device says it understands; add one by `manifest sign --alg`, and upload the manifest again"

// ended says of a settled assignment how it came there, and what moves it again.
func ended(a Assignment) string {
	text := a.Detail
	if text == "" {
		text = a.Reason
	}
	if a.Reason == ReasonPoisoned {
		return "the payload failed here too often; `device clear` lets it be offered again"
	}
	if a.Reason == ReasonNoCommonAlg {
		return noCommonAlg
	}
	switch a.State {
	case Confirmed:
		text = "the device has the payload"
	case Silent:
		text = "nothing was heard from the device within its deadline; its next word brings it back"
		if n := len(a.Path); n > 1 {
			text = "last heard as " + string(a.Path[n-2].State) + ": " + text
		}
	}
	return text
}

// since is when a came to its state, as far as its path tells.
func (a Assignment) since() time.Time {
	if n := len(a.Path); n > 0 && a.Path[n-1].State == a.State {
		return a.Path[n-1].At
	}
	return a.Updated
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
