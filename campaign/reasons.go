package campaign

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// MaxReasons bounds how many different reasons a campaign's counts tell apart; those that come later count as OtherReason.
const MaxReasons = 32

// OtherReason stands for all reasons beyond MaxReasons.
const OtherReason = "other"

// reasonStates are those whose reasons are counted: why a device was not updated.
var reasonStates = []State{Failed, Rejected, Reverted, Silent, Skipped, Withdrawn, Deregistered}

// Reasons counts assignments that did not end well by "state reason". An entry that has come stays, if with 0: so which
// reasons have their own count never changes, and what was counted under one name is taken from the same.
type Reasons map[string]uint64

// reasonOf is what an assignment counts as; "" for nothing.
func reasonOf(s State, reason string) string {
	if !slices.Contains(reasonStates, s) {
		return ""
	}
	return strings.TrimSpace(string(s) + " " + reason)
}

// AddReason counts n assignments more (or less) that stand in state s for a reason.
func (c *Counts) AddReason(s State, reason string, n int64) {
	k := reasonOf(s, reason)
	if k == "" {
		return
	}
	if c.Reasons == nil {
		c.Reasons = Reasons{}
	}
	if _, known := c.Reasons[k]; !known && len(c.Reasons) >= MaxReasons {
		k = reasonOf(s, OtherReason)
	}
	// Below 0 only on a campaign of a version that did not count them.
	c.Reasons[k] = uint64(max(0, int64(c.Reasons[k])+n))
}

// ReasonCount is one reason and how many assignments have it.
type ReasonCount struct {
	State  State
	Reason string
	Count  uint64
}

// List returns the reasons that count, the most frequent first.
func (r Reasons) List() []ReasonCount {
	var out []ReasonCount
	for _, k := range slices.Sorted(maps.Keys(r)) {
		if r[k] > 0 {
			state, reason, _ := strings.Cut(k, " ")
			out = append(out, ReasonCount{State(state), reason, r[k]})
		}
	}
	slices.SortStableFunc(out, func(a, b ReasonCount) int { return cmp.Compare(b.Count, a.Count) })
	return out
}
