package campaign

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"time"
)

// Trigger is what can move an assignment. Again is not an error: a trigger that has no entry for a state in the table
// leaves the assignment where it is.
type Trigger string

// The triggers. The first group are the words of a device's report.
const (
	SaysReceived    Trigger = "received"
	SaysDeferred    Trigger = "deferred" // back to received, with a reason
	SaysDownloading Trigger = "downloading"
	SaysDownloaded  Trigger = "downloaded"
	SaysInstalling  Trigger = "installing"
	SaysRebooting   Trigger = "rebooting"
	SaysInstalled   Trigger = "installed" // unproven: a flag is not proof
	SaysFailed      Trigger = "failed"
	SaysRejected    Trigger = "rejected"

	Proven     Trigger = "proven"      // measured: the component holds the payload
	HeldBefore Trigger = "held-before" // the same, on a device of which nothing was known when it was offered
	RolledBack Trigger = "rolled-back" // measured after the reboot: the component holds something else
	Changed    Trigger = "changed"     // measured: the component holds something else
	Returned   Trigger = "returned"    // a silent device said hello

	FailsForNow Trigger = "fails-for-now" // failed, and the policy tries it again
	Again       Trigger = "again"         // the wait after such a failure is over

	Offering   Trigger = "offer"
	Skip       Trigger = "skip"
	Overdue    Trigger = "overdue" // the deadline of a live state has passed
	Withdraw   Trigger = "withdraw"
	Deregister Trigger = "deregister"
)

// Triggers lists every trigger in the order in which people read them.
var Triggers = []Trigger{Offering, Skip, SaysReceived, SaysDeferred, SaysDownloading, SaysDownloaded, SaysInstalling,
	SaysRebooting, SaysInstalled, SaysFailed, SaysRejected, FailsForNow, Again, Proven, HeldBefore, RolledBack, Changed, Returned, Overdue,
	Withdraw, Deregister}

// Reasons that the server gives; devices give their own.
const (
	ReasonAlreadyInstalled = "already-installed"
	ReasonNewerInstalled   = "newer-installed"     // of a manifest with a higher sequence number
	ReasonNotEligible      = "not-eligible"        // vendor or class is not the manifest's, or not known
	ReasonNoCommonAlg      = "no-common-algorithm" // the manifest has no signature that the device understands
	ReasonNotRegistered    = "not-registered"      // listed by the campaign, not in the registry
	ReasonTooManyWaiting   = "too-many-waiting"
	ReasonDeferred         = "deferred"
	ReasonUnproven         = "unproven" // says installed, and did not measure the payload
	ReasonRolledBack       = "rolled-back"
	ReasonImageChanged     = "image-changed"
	ReasonDeadline         = "deadline"
	ReasonTooLateToStop    = "too-late-to-stop"
	ReasonNoPermit         = "without-permit" // installs, and was not permitted to
	ReasonPoisoned         = "poisoned"       // the payload failed here too often
)

// words are the moves that a device's own words make, from every state in which it may be at work. Devices skip words
// and go back: a lost connection is not a failure.
var words = map[Trigger]State{
	SaysReceived:    Received,
	SaysDeferred:    Received,
	SaysDownloading: Downloading,
	SaysDownloaded:  Downloaded,
	SaysInstalling:  Installing,
	SaysRebooting:   Rebooting,
	SaysInstalled:   Rebooting,
	SaysFailed:      Failed,
	SaysRejected:    Rejected,
	Proven:          Confirmed,
}

// heard is what moves an assignment of a device that speaks.
var heard = with(words, map[Trigger]State{FailsForNow: Retrying})

var atWork = with(heard, map[Trigger]State{Overdue: Silent, Withdraw: Withdrawn, Deregister: Deregistered})

// transitions is the whole life of an assignment; testdata/transitions.golden shows it. Failed, Rejected, Skipped and
// Deregistered have no row: nothing moves them.
var transitions = map[State]map[Trigger]State{
	// Words reach a pending assignment only after it was silent: before its first offer no report finds it.
	Pending:     with(heard, map[Trigger]State{Offering: Offered, Skip: Skipped, Withdraw: Withdrawn, Deregister: Deregistered}),
	Offered:     with(atWork, map[Trigger]State{Offering: Offered, HeldBefore: Skipped}),
	Received:    atWork,
	Downloading: atWork,
	Downloaded:  atWork,
	Installing:  atWork,
	Rebooting:   with(atWork, map[Trigger]State{RolledBack: Failed}),
	Silent:      with(heard, map[Trigger]State{Returned: Pending}),
	Retrying:    with(words, map[Trigger]State{Again: Pending, Withdraw: Withdrawn, Deregister: Deregistered}),
	Withdrawn:   {Proven: Confirmed},
	Confirmed:   {Changed: Reverted},
	Reverted:    {Proven: Confirmed},
}

func with(base, more map[Trigger]State) map[Trigger]State {
	m := maps.Clone(base)
	maps.Copy(m, more)
	return m
}

// Next is the state after t in state s, and whether t means anything there.
func Next(s State, t Trigger) (State, bool) {
	to, ok := transitions[s][t]
	return to, ok
}

// Event is a trigger and what came with it. The zero value of a member means that nothing is said about it.
type Event struct {
	Trigger Trigger
	Seq     uint64 // of the report
	Reason  string
	Detail  string
	Bytes   uint64
	Boot    uint64
	After   time.Duration // of FailsForNow: from the failure to the next try
}

// Apply returns a after e, and whether its state is another. It changes nothing that a shares. Whether e is newer than
// what a has seen is for the caller to know. deadlines bound the live states; one that is missing counts as
// DefaultDeadline.
func (a Assignment) Apply(e Event, now time.Time, deadlines map[State]time.Duration) (Assignment, bool) {
	if e.Seq != 0 {
		a.Seq = e.Seq
	}
	if e.Boot != 0 {
		a.Boot = e.Boot
	}
	if e.Bytes != 0 {
		a.Bytes = e.Bytes
	}
	to, ok := Next(a.State, e.Trigger)
	if !ok {
		return a, false
	}
	from := a.State
	a.State, a.Reason, a.Detail, a.Updated = to, e.Reason, e.Detail, now
	if e.Trigger == Offering {
		return a.offered(from, now, deadlines), from != to
	}
	a.NextOffer, a.Deadline = time.Time{}, time.Time{}
	a.Charged = a.Charged || to.Live() || to == Confirmed // offers went their way above
	if to.Live() {
		// A device that speaks is not silent: each word gives its state the whole time again.
		a.Deadline = now.Add(deadline(deadlines, to))
	}
	a.Permit = a.Permit.permitIn(to)
	if to == Retrying {
		a.Retries++
		a.Deadline = now.Add(e.After)
	}
	if to != Pending {
		a.Waiting, a.Unpaid = false, false
	}
	if from != to {
		a.Path = step(a.Path, PathStep{to, e.Reason, e.Seq, now})
	}
	return a, from != to
}

// offered finishes an offer. The deadline runs from the first one: repeating ourselves gives nobody more time.
func (a Assignment) offered(from State, now time.Time, deadlines map[State]time.Duration) Assignment {
	a.Offers++
	n := a.Offers
	if from != Offered {
		n = 1
		a.Waiting = false
		a.Deadline = now.Add(deadline(deadlines, Offered))
		a.Path = step(a.Path, PathStep{State: Offered, At: now})
	}
	a.NextOffer = a.nextOffer(n, now)
	return a
}

// maxBackOff is the first unanswered offer after which the wait grows no more.
const maxBackOff = 8

// nextOffer is when the n-th unanswered offer is repeated: after a back-off that doubles from 5 s to 10 min, with up to
// half of it again as jitter that is fixed by the device's order, so that a re-run of the transaction gives the same. One
// that would come after the deadline is never due.
func (a Assignment) nextOffer(n int, now time.Time) time.Time {
	const first, most = 5 * time.Second, 10 * time.Minute
	wait := most
	if n < maxBackOff {
		wait = min(most, first<<max(n-1, 0))
	}
	return now.Add(wait + time.Duration(mix(a.Order, uint64(n))%uint64(wait/2)))
}

// mix spreads a and b over 64 bits.
func mix(a, b uint64) uint64 {
	var in [16]byte
	binary.BigEndian.PutUint64(in[:8], a)
	binary.BigEndian.PutUint64(in[8:], b)
	sum := sha256.Sum256(in[:])
	return binary.BigEndian.Uint64(sum[:8])
}

// step appends to a path of at most MaxPath: how an assignment began stays, and so does what happened last.
func step(path []PathStep, s PathStep) []PathStep {
	out := make([]PathStep, 0, min(len(path)+1, MaxPath))
	if len(path) >= MaxPath {
		out = append(out, path[:MaxPath/2]...)
		path = path[len(path)-MaxPath/2+1:]
	}
	return append(append(out, path...), s)
}

func deadline(deadlines map[State]time.Duration, s State) time.Duration {
	if d := deadlines[s]; d > 0 {
		return d
	}
	return DefaultDeadline
}
