// Package scenario is what a fleet goes through, written down: groups of devices and what goes wrong with them, campaigns,
// actions at moments, and what must have come of it. A library of them is embedded; files of one's own have the same form
// (TOML or JSON, read strictly, see internal/spec).
//
// It reads and judges. Running one, and what a moment means, is the caller's: the package does no I/O.
package scenario

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/spec"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// Scenario is one file.
type Scenario struct {
	Summary string     `json:"summary"` // one line
	About   string     `json:"about"`   // what it shows, and why it matters
	Seed    uint64     `json:"seed"`    // default 1
	Payload Size       `json:"payload"` // default 16 KiB
	Groups  []Group    `json:"group"`
	Updates []Campaign `json:"campaign"`
	Actions []Action   `json:"action"`
	Expect  []Expect   `json:"expect"`
	// Within bounds the whole run; default 1 minute. Past it the run has failed.
	Within topics.Duration `json:"within"`
}

// Group is a number of devices that are alike and get power together.
type Group struct {
	Name    string            `json:"name"`
	Devices int               `json:"devices"`
	Faults  string            `json:"faults"` // as simulator.ParseMix reads it
	Labels  map[string]string `json:"labels"` // that they say of themselves
	// OperatorLabels are set by the operator before anything starts; permits count by them.
	OperatorLabels map[string]string `json:"operator_labels"`
	Permits        bool              `json:"permits"` // they ask before they install
	// Off leaves them without power at the beginning; they are registered by the operator instead of by their hello.
	Off      bool            `json:"off"`
	Install  topics.Duration `json:"install"`   // how long installing takes
	Reboot   topics.Duration `json:"reboot"`    // how long a boot takes
	SlowRate Size            `json:"slow_rate"` // bytes per second of a device with the fault slow
	// ChunkTimeout is after how long without a chunk a fetch is sent again; it doubles four times, and the ninth gives up.
	ChunkTimeout topics.Duration `json:"chunk_timeout"`
}

// Campaign is one campaign, and the release that it rolls out.
type Campaign struct {
	Name string `json:"name"`
	// Version is the release; campaigns with the same one share it. The order of first mention is that of sequence numbers.
	Version     string           `json:"version"`
	Description string           `json:"description"`
	Selection   topics.Selection `json:"selection"`
	Policy      topics.Policy    `json:"policy"`
	// Hold leaves the campaign a draft until an action starts it.
	Hold bool `json:"hold"`
	// OpenFor gives it a maintenance window that closes so long after it was created, and opens again a day later.
	OpenFor topics.Duration `json:"open_for"`
	// Reopens opens it again with the first full minute that is at least two seconds after it closed.
	Reopens bool `json:"reopens"`
}

// reopenAfter is how long a window that reopens is shut at least.
const reopenAfter = 2 * time.Second

// Windows are the maintenance windows of c, created at now. Windows begin with a minute and last one at least, so the
// first has been open for a while.
func (c Campaign) Windows(now time.Time) []topics.Window {
	if c.OpenFor <= 0 {
		return nil
	}
	at := func(t time.Time, d time.Duration) topics.Window {
		return topics.Window{Cron: fmt.Sprintf("%d %d * * *", t.Minute(), t.Hour()), Duration: topics.Duration(d)}
	}
	begin := now.UTC().Truncate(time.Minute).Add(-time.Minute)
	closes := now.UTC().Add(time.Duration(c.OpenFor))
	out := []topics.Window{at(begin, closes.Sub(begin))}
	if c.Reopens {
		out = append(out, at(closes.Add(reopenAfter+time.Minute-1).Truncate(time.Minute), time.Hour))
	}
	return out
}

// Action is done at a moment. Actions are done one after the other: the next waits for its moment when this is done.
type Action struct {
	Do       string `json:"do"`       // a command on Campaign (start, pause, stop …), off or on for Group, or wait
	Campaign string `json:"campaign"` // whose progress When is about, and what Do is done to
	Group    string `json:"group"`
	When     string `json:"when"` // as `campaign wait --for`: confirmed:3, downloading:50%, active, wave:2
	// After is a pause before Do, after When.
	After topics.Duration `json:"after"`
	// AsAnother has another operator than the one who made everything give the command.
	AsAnother bool `json:"as_another"`
	// Refused is the problem with which the server must refuse the command.
	Refused string `json:"refused"`
}

// Commands are what Do can be on a campaign; Powers what it can be on a group.
var (
	Commands = []string{"start", "stop", "pause", "resume", "next", "approve", "reject"}
	Powers   = []string{"on", "off"}
)

// DoWait only waits.
const DoWait = "wait"

// Bounds of a scenario.
const (
	maxDevices   = 10_000
	maxGroups    = 16
	maxCampaigns = 8
	maxActions   = 64
)

//go:embed library/*.toml
var library embed.FS

// Names lists the library.
func Names() []string {
	files, err := library.ReadDir("library")
	if err != nil {
		return nil // an embedded folder is there
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f.Name(), ".toml"))
	}
	return out
}

// Source returns the text of a scenario of the library; false if there is none of that name.
func Source(name string) ([]byte, bool) {
	b, err := library.ReadFile(path.Join("library", name+".toml"))
	return b, err == nil
}

// Parse reads a scenario; file is what errors call it. The error wraps spec.ErrInvalid. The document lets later
// complaints be shown in the text.
func Parse(file string, text []byte) (Scenario, *spec.Document, error) {
	s := Scenario{Seed: 1, Payload: 16 << 10, Within: topics.Duration(time.Minute)}
	doc, err := spec.Parse(file, text)
	if err != nil {
		return s, nil, err
	}
	if err := doc.Decode(&s); err != nil {
		return s, doc, err
	}
	var bad spec.Errors
	s.check(func(pointer, format string, args ...any) {
		bad = append(bad, doc.At(pointer, fmt.Sprintf(format, args...)))
	})
	if len(bad) > 0 {
		return s, doc, bad
	}
	return s, doc, nil
}

// Devices is the number of devices in all groups.
func (s Scenario) Devices() int {
	n := 0
	for _, g := range s.Groups {
		n += g.Devices
	}
	return n
}

// Versions lists the releases in the order of their sequence numbers.
func (s Scenario) Versions() []string {
	var out []string
	for _, c := range s.Updates {
		if !slices.Contains(out, c.Version) {
			out = append(out, c.Version)
		}
	}
	return out
}

type complaint func(pointer, format string, args ...any)

func (s Scenario) check(bad complaint) {
	if s.Summary == "" || strings.Contains(s.Summary, "\n") {
		bad("/summary", "one line is wanted")
	}
	if s.Within <= 0 {
		bad("/within", "more than 0 is wanted")
	}
	s.checkGroups(bad)
	s.checkCampaigns(bad)
	if len(s.Actions) > maxActions {
		bad("/action", "%d actions, at most %d", len(s.Actions), maxActions)
	}
	for i, a := range s.Actions {
		s.checkAction(func(member, format string, args ...any) {
			bad(fmt.Sprintf("/action/%d/%s", i, member), format, args...)
		}, a)
	}
	if len(s.Expect) == 0 {
		bad("/expect", "a scenario that expects nothing shows nothing")
	}
	for i, e := range s.Expect {
		if !s.hasCampaign(e.Campaign) {
			bad(fmt.Sprintf("/expect/%d/campaign", i), "no such campaign")
		}
		e.check(func(member, format string, args ...any) {
			bad(fmt.Sprintf("/expect/%d/%s", i, member), format, args...)
		})
	}
}

func (s Scenario) checkGroups(bad complaint) {
	if len(s.Groups) == 0 || len(s.Groups) > maxGroups || s.Devices() > maxDevices {
		bad("/group", "1 to %d groups and up to %d devices are wanted", maxGroups, maxDevices)
	}
	seen := map[string]bool{}
	for i, g := range s.Groups {
		at := fmt.Sprintf("/group/%d", i)
		if _, err := ident.ParseName(g.Name); err != nil || seen[g.Name] {
			bad(at+"/name", "a name of its own is wanted")
		}
		seen[g.Name] = true
		if len(g.OperatorLabels) > topics.MaxLabels {
			bad(at+"/operator_labels", "at most %d", topics.MaxLabels)
		}
		if g.Devices < 1 {
			bad(at+"/devices", "at least 1 is wanted")
		}
		if _, err := simulator.ParseMix(g.Faults); err != nil {
			bad(at+"/faults", "%v", err)
		}
	}
}

func (s Scenario) checkCampaigns(bad complaint) {
	if len(s.Updates) == 0 || len(s.Updates) > maxCampaigns {
		bad("/campaign", "1 to %d campaigns are wanted", maxCampaigns)
	}
	seen := map[string]bool{}
	for i, c := range s.Updates {
		at := fmt.Sprintf("/campaign/%d", i)
		if _, err := ident.ParseCampaign(c.Name); err != nil || seen[c.Name] {
			bad(at+"/name", "a name of its own is wanted")
		}
		seen[c.Name] = true
		if c.Reopens && c.OpenFor <= 0 {
			bad(at+"/reopens", "what never closes can't")
		}
		if c.Version == "" {
			bad(at+"/version", "the release that it rolls out is wanted")
		}
	}
}

func (s Scenario) checkAction(bad complaint, a Action) {
	switch {
	case slices.Contains(Powers, a.Do):
		if !slices.ContainsFunc(s.Groups, func(g Group) bool { return g.Name == a.Group }) {
			bad("group", "no such group")
		}
	case slices.Contains(Commands, a.Do):
		if a.Campaign == "" {
			bad("campaign", "whose?")
		}
	case a.Do != DoWait:
		bad("do", "one of %s, %s or %s is wanted", strings.Join(Commands, ", "), strings.Join(Powers, ", "), DoWait)
	}
	if (a.Refused != "" || a.AsAnother) && !slices.Contains(Commands, a.Do) {
		bad("do", "a command is wanted, to be refused or given by another operator")
	}
	if a.Campaign != "" && !s.hasCampaign(a.Campaign) {
		bad("campaign", "no such campaign")
	}
	if a.When != "" && a.Campaign == "" {
		bad("when", "a moment of which campaign?")
	}
}

func (s Scenario) hasCampaign(name string) bool {
	return slices.ContainsFunc(s.Updates, func(c Campaign) bool { return c.Name == name })
}
