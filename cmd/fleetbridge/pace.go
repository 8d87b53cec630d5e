package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

// pace is how fast devices settled in the last minute.
type pace struct{ points []pacePoint }

type pacePoint struct {
	at   time.Time
	done uint64
}

// paceWindow is what a rate is measured over, maxPace how many points are kept of it.
const (
	paceWindow = time.Minute
	maxPace    = 128
)

func (c *pace) add(p topics.Progress) {
	t := tallyOf(p.Total, p.Counts)
	point := pacePoint{p.At, t.total - t.open}
	if n := len(c.points); n > 0 && !c.points[n-1].at.Before(point.at) {
		c.points[n-1].done = point.done
		return
	}
	old := slices.IndexFunc(c.points, func(q pacePoint) bool { return point.at.Sub(q.at) <= paceWindow })
	if old < 0 {
		old = len(c.points)
	}
	if len(c.points)-old >= maxPace {
		old++
	}
	c.points = append(c.points[old:], point)
}

// rate is devices per minute; 0 while nothing is known.
func (c *pace) rate() float64 {
	if len(c.points) < 2 {
		return 0
	}
	first, last := c.points[0], c.points[len(c.points)-1]
	if last.done <= first.done {
		return 0
	}
	return float64(last.done-first.done) / last.at.Sub(first.at).Minutes()
}

// text says the rate and how long the rest takes at it. A campaign that stands still has no end in sight.
func (c *pace) text(p topics.Progress) string {
	rate, open := c.rate(), tallyOf(p.Total, p.Counts).open
	if rate == 0 || over(p) {
		return ""
	}
	text := fmt.Sprintf("%.0f devices/min", rate)
	if left := time.Duration(float64(open) / rate * float64(time.Minute)); open > 0 && p.State == string(campaign.Active) && left < 1000*time.Hour {
		text += ", about " + spanText(left) + " left"
	}
	return text
}

// spanText is a duration for people: its two largest units.
func spanText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// reasonsText prints why devices were not updated.
func reasonsText(list []topics.ReasonCount) string {
	parts := make([]string, len(list))
	for i, r := range list {
		parts[i] = strings.TrimSpace(r.State+" "+r.Reason) + fmt.Sprintf(" %d", r.Count)
	}
	return strings.Join(parts, ", ")
}
