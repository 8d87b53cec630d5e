package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// Expect is what must have become of a campaign.
type Expect struct {
	Campaign string           `json:"campaign"`
	State    string           `json:"state"`   // default stopped
	Outcome  string           `json:"outcome"` // default: none is checked
	Reason   string           `json:"reason"`  // words that the campaign's reason holds
	Total    *Range           `json:"total"`
	Counts   map[string]Range `json:"counts"`  // by state of the devices; states that are not named may be anything
	Reasons  map[string]Range `json:"reasons"` // "failed rolled-back": how many devices
	Answers  map[string]Range `json:"answers"` // by what a stop meant for the device: not-started, stopped, too-late
	// AtOnce is, by value of the permit rule's label ("" without one), how many devices were at most between the begin of
	// their install and the boot after it, as they tell it themselves.
	AtOnce map[string]Range `json:"at_once"`
	// OffersOver is the least time from the first device's word on the manifest to the last one's, by their own clocks.
	OffersOver topics.Duration `json:"offers_over"`
}

func (e Expect) check(bad complaint) {
	if e.Outcome == "" && e.State == "" && len(e.Counts) == 0 && len(e.Reasons) == 0 && len(e.Answers) == 0 {
		bad("outcome", "nothing is expected")
	}
	for state := range e.Counts {
		if !slices.Contains(States, state) {
			bad("counts/"+state, "no such state: one of %s", strings.Join(States, ", "))
		}
	}
	for a := range e.Answers {
		if !slices.Contains(Answers, a) {
			bad("answers/"+a, "no such answer: one of %s", strings.Join(Answers, ", "))
		}
	}
	for r := range e.Reasons {
		if state, _, ok := strings.Cut(r, " "); !ok || !slices.Contains(States, state) {
			bad("reasons/"+r, "a state and a reason are wanted: failed rolled-back")
		}
	}
}

// States are the words for where a device stands in a campaign.
var States = []string{"pending", "offered", "received", "downloading", "downloaded", "installing", "rebooting", "retrying",
	"confirmed", "skipped", "failed", "rejected", "silent", "withdrawn", "deregistered", "reverted"}

// Answers are the words for what a stop meant for a device.
var Answers = []string{"not-started", "stopped", "too-late"}

// Check is one expectation held against what happened.
type Check struct {
	Campaign string `json:"campaign"`
	What     string `json:"what"`
	Want     string `json:"want"`
	Got      string `json:"got"`
	OK       bool   `json:"ok"`
}

// Outcome is what became of a campaign: the server's word, and the devices'.
type Outcome struct {
	Progress topics.Progress
	Reasons  map[string]int // devices by state and reason: "failed rolled-back"
	Answers  map[string]int // devices by what a stop meant for them
	AtOnce   map[string]int // see Expect
	Offers   time.Duration  // from the first to the last
}

// Judge holds an expectation against what became of its campaign.
func (e Expect) Judge(o Outcome) []Check {
	p, reasons := o.Progress, o.Reasons
	var out []Check
	add := func(what, want, got string, ok bool) { out = append(out, Check{e.Campaign, what, want, got, ok}) }
	state := e.State
	if state == "" {
		state = "stopped"
	}
	add("state", state, p.State, state == p.State)
	if e.Outcome != "" {
		add("outcome", e.Outcome, p.Outcome, e.Outcome == p.Outcome)
	}
	if e.Reason != "" {
		add("reason", e.Reason, p.Reason, strings.Contains(p.Reason, e.Reason))
	}
	count := func(what string, r Range, n uint64) { add(what, r.String(), fmt.Sprint(n), r.Holds(n)) }
	if e.Total != nil {
		count("devices", *e.Total, p.Total)
	}
	for _, s := range slices.Sorted(maps.Keys(e.Counts)) {
		count(s, e.Counts[s], p.Counts[s])
	}
	for _, r := range slices.Sorted(maps.Keys(e.Reasons)) {
		count(r, e.Reasons[r], uint64(reasons[r]))
	}
	for _, a := range slices.Sorted(maps.Keys(e.Answers)) {
		count("answer "+a, e.Answers[a], uint64(o.Answers[a]))
	}
	for _, v := range slices.Sorted(maps.Keys(e.AtOnce)) {
		count(strings.TrimSpace("most installing at once, as devices tell: "+v), e.AtOnce[v], uint64(o.AtOnce[v]))
	}
	if e.OffersOver > 0 {
		add("offers spread over", fmt.Sprint(time.Duration(e.OffersOver), " or more"), o.Offers.Round(10*time.Millisecond).String(), o.Offers >= time.Duration(e.OffersOver))
	}
	var sum uint64
	for _, n := range p.Counts {
		sum += n
	}
	add("counts add up", fmt.Sprint(p.Total), fmt.Sprint(sum), sum == p.Total)
	return out
}

// Range is a number, or the numbers from one to another: 5, "0..5", "1..".
type Range struct{ Low, High uint64 }

var errRange = errors.New(`want a number, or a range such as "0..5" or "1.."`)

// UnmarshalJSON reads a number or a text.
func (r *Range) UnmarshalJSON(b []byte) error {
	text := string(b)
	if b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	low, high, isRange := strings.Cut(text, "..")
	n, err := strconv.ParseUint(low, 10, 63)
	if err != nil {
		return errRange
	}
	*r = Range{n, n}
	if isRange {
		r.High = math.MaxUint64
		if high != "" {
			if r.High, err = strconv.ParseUint(high, 10, 63); err != nil || r.High < n {
				return errRange
			}
		}
	}
	return nil
}

// Holds reports whether n is in r.
func (r Range) Holds(n uint64) bool { return n >= r.Low && n <= r.High }

// String prints r as it is written.
func (r Range) String() string {
	switch {
	case r.Low == r.High:
		return fmt.Sprint(r.Low)
	case r.High == math.MaxUint64:
		return fmt.Sprintf("%d..", r.Low)
	}
	return fmt.Sprintf("%d..%d", r.Low, r.High)
}

// Size is a number of bytes: 4096, "512KiB", "1MiB".
type Size int64

// UnmarshalJSON reads a number or a text.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	shift := 0
	switch {
	case strings.HasSuffix(text, "KiB"):
		shift = 10
	case strings.HasSuffix(text, "MiB"):
		shift = 20
	}
	n, err := strconv.ParseInt(strings.TrimRight(text, "KMiB"), 10, 64)
	if err != nil || n < 1 || n > maxPayload>>shift {
		return errors.New("want bytes, such as 4096, \"512KiB\" or \"1MiB\", at most 64 MiB")
	}
	*s = Size(n << shift)
	return nil
}

const maxPayload = 64 << 20

// Timing is the group's, as the simulator takes it; zero members are its defaults.
func (g Group) Timing() simulator.Timing {
	return simulator.Timing{Install: time.Duration(g.Install), Reboot: time.Duration(g.Reboot), SlowRate: int(g.SlowRate),
		ChunkTimeout: time.Duration(g.ChunkTimeout)}
}
