package campaign_test

import "slices"

// mustReach is what the histories have to come to, or they would prove less than they say: the states of an assignment, the
// phases and outcomes of a campaign, and each rule at work.
var mustReach = []string{
	"state pending", "state offered", "state received", "state downloading", "state downloaded", "state installing", "state rebooting",
	"state retrying", "state confirmed", "state skipped", "state failed", "state rejected", "state silent", "state withdrawn",
	"state deregistered", "state reverted",
	"phase awaiting_approval", "phase draft", "phase scheduled", "phase starting", "phase active", "phase paused", "phase stopping",
	"phase stopped", "phase archived", "phase deleting",
	"outcome succeeded", "outcome autostopped", "outcome userstopped", "outcome expired", "outcome refused",
	"approval", "approval by somebody who may not", "approval of another plan", "rejection", "approved campaign", "planned campaign",
	"plan that changed",
	"wave after soaking", "wave after a release", "offer in a window", "offer at a rate", "retry", "poisoned device",
	"permit", "permit up to the budget", "wait for a permit", "permit after a wait", "permit that lapsed",
	"hand-over", "hand-over by priority", "late member", "late member without an update", "late member whose update came",
	"reservation", "use of updates", "release of updates", "quota refusal", "one campaign too many",
	"clock set back", "clock far ahead",
}

// reached counts what a history came to.
func (m *model) reached(what string, did bool) {
	if did {
		m.reach[what]++
	}
}

// unreached is what no history came to.
func unreached(reach map[string]int) []string {
	return slices.DeleteFunc(slices.Clone(mustReach), func(what string) bool { return reach[what] > 0 })
}
