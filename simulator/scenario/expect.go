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
}

func (e Expect) check(bad complaint) {
	if e.Outcome == "" && e.State == "" && len(e.Counts) == 0 && len(e.Reasons) == 0 {
		bad("outcome", "nothing is expected")
	}
	for state := range e.Counts {
		if !slices.Contains(States, state) {
			bad("counts/"+state, "no such state: one of %s", strings.Join(States, ", "))
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

// Check is one expectation held against what happened.
type Check struct {
	Campaign string `json:"campaign"`
	What     string `json:"what"`
	Want     string `json:"want"`
	Got      string `json:"got"`
	OK       bool   `json:"ok"`
}

// Judge holds an expectation against a campaign's last progress, and its devices' reasons ("failed rolled-back") with
// how many have each.
func (e Expect) Judge(p topics.Progress, reasons map[string]int) []Check {
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
func (g Group) Timing() (install, reboot time.Duration, slowRate int) {
	return time.Duration(g.Install), time.Duration(g.Reboot), int(g.SlowRate)
}
