package topics

import "fmt"

// Bounds of retries.
const (
	MaxRetries      = 10
	MaxRetryReasons = 16
	MaxPoison       = 1000
)

func (f *faults) retry(p Policy) {
	f.check(p.Retry.Max >= 0 && p.Retry.Max <= MaxRetries, "/policy/retry/max", "from 0 to 10")
	f.check(len(p.Retry.Reasons) <= MaxRetryReasons, "/policy/retry/reasons", "at most 16")
	for i, r := range p.Retry.Reasons {
		at := fmt.Sprintf("/policy/retry/reasons/%d", i)
		f.check(r != "", at, "a reason")
		f.word(string(r), MaxReason, at)
	}
	f.span(p.Retry.After, "/policy/retry/after")
	f.check(p.Poison >= 0 && p.Poison <= MaxPoison, "/policy/poison", "from 1 to 1000; absent: 3")
	f.span(p.StopWithin, "/policy/stop_within")
	f.permit(p.Permit)
}

// Validate returns nil or FieldErrors.
func (r DeviceClear) Validate() error {
	var f faults
	f.page(r.Page)
	f.check(r.Limit <= MaxLabelled, "/limit", "from 1 to 100")
	named := 0
	for _, is := range []bool{!r.Device.IsZero(), len(r.Devices) > 0, r.Filter != ""} {
		if is {
			named++
		}
	}
	f.check(named == 1, "/device", "device, devices or filter, one of them")
	f.check(len(r.Devices) <= MaxLabelled, "/devices", "at most 100")
	unique(&f, r.Devices, "/devices")
	f.filter(r.Filter, "/filter")
	return f.err()
}

// maxStates bounds the states that a selection from a campaign names. Which make sense is the domain's rule.
const maxStates = 8

func (f *faults) states(list []string, pointer string) {
	f.check(len(list) <= maxStates, pointer, "at most 8")
	for i, s := range list {
		at := fmt.Sprintf("%s/%d", pointer, i)
		f.check(s != "", at, "a state")
		f.word(s, MaxStateWord, at)
	}
}

func (f *faults) from(s Selection) {
	if s.From.Campaign.IsZero() && len(s.From.States) == 0 {
		return
	}
	f.check(!s.From.Campaign.IsZero(), "/selection/from/campaign", "required")
	f.check(len(s.From.States) > 0, "/selection/from/states", "required")
	f.states(s.From.States, "/selection/from/states")
	f.check(len(s.Devices) == 0 && len(s.Labels) == 0 && s.Filter == "", "/selection", "from stands alone")
}

// Validate returns nil or FieldErrors.
func (r CampaignRetry) Validate() error {
	var f faults
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	f.check(!r.New.IsZero(), "/new", "required")
	f.check(r.New != r.Campaign, "/new", "another one than campaign")
	f.states(r.States, "/states")
	f.text(r.Description, MaxDescription, "/description")
	if r.Policy != nil {
		f.policy(*r.Policy)
	}
	return f.err()
}
