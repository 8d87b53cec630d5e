package bridge

import (
	"time"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

func retryOf(w topics.Retry) campaign.Retry {
	r := campaign.Retry{Max: w.Max, After: time.Duration(w.After)}
	for _, v := range w.Reasons {
		r.Reasons = append(r.Reasons, string(v))
	}
	return r
}

func retryView(r campaign.Retry) topics.Retry {
	w := topics.Retry{Max: r.Max, After: topics.Duration(r.After)}
	for _, v := range r.Reasons {
		w.Reasons = append(w.Reasons, topics.Reason(v))
	}
	return w
}

func fromOf(w topics.SelectionFrom) campaign.From {
	return campaign.From{Campaign: w.Campaign, States: statesOf(w.States)}
}

func fromView(f campaign.From) topics.SelectionFrom {
	w := topics.SelectionFrom{Campaign: f.Campaign}
	for _, s := range f.States {
		w.States = append(w.States, string(s))
	}
	return w
}

func statesOf(words []string) []campaign.State {
	var out []campaign.State
	for _, s := range words {
		out = append(out, campaign.State(s))
	}
	return out
}
