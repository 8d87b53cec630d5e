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
