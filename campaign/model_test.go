package campaign_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// model is a world in which anything happens in any order: devices say true, false, late and repeated things, the clock
// jumps, people plan, approve, start, pause, stop and delete campaigns, and the server crashes between any two lines that
// matter. What must hold is written here once more, from the rules and not from their code: of each commit in
// model_watch_test.go, of the records after each action in model_inspect_test.go.
type model struct {
	*world
	rt        *rapid.T
	manifests []firmware.Manifest
	devices   []string
	ids       []ident.Campaign // in the order of their making, without those that were deleted
	made      int
	parts     map[ident.Campaign]*part
	timers    map[ident.Campaign]time.Time
	sent      map[string][]campaign.Report
	last      map[key]campaign.Assignment
	failures  map[failing]int
	reach     map[string]int
	docile    bool // devices mostly do what they were asked for
	stays     bool // no device leaves the registry
}

// failing is an image on a device.
type failing struct {
	d     ident.Device
	image ident.Digest
}

// part is what the model remembers of a campaign on its own account.
type part struct {
	hands    []string // who made or edited it
	starter  string
	planned  map[ident.Device]int // device to wave, of the plan that it was started with; nil: none was named
	digest   ident.Digest         // of that plan
	approved string               // who approved that plan
	released int                  // the last wave, from 0, that people let open
	met      time.Time            // since when the open wave is done and meets its gate; zero: it does not
	offers   []time.Time          // new ones since the clock was last set back
	retries  map[ident.Device]int
	total    uint64            // of assignments, once it was active
	end      campaign.Campaign // as it stopped
}

func TestModel(t *testing.T) {
	reach := map[string]int{}
	history := func(rt *rapid.T) {
		m := newModel(rt)
		m.reach = reach
		m.docile = rapid.Bool().Draw(rt, "docile")
		if rapid.Bool().Draw(rt, "counted") {
			m.surely(m.someQuota)
		}
		for range rapid.IntRange(1, 4).Draw(rt, "campaigns") {
			m.someCampaign()
		}
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			m.act()
			m.settle()
			m.inspect()
		}
		m.finish()
	}
	rapid.Check(t, history)
	if testing.Short() {
		return // too few histories to reach everything
	}
	// What is rare may be missing from a hundred histories, not from two thousand.
	for round := 1; round < 20 && !t.Failed() && len(unreached(reach)) > 0; round++ {
		rapid.Check(t, history)
	}
	t.Logf("reached %v", reach)
	for _, what := range unreached(reach) {
		t.Errorf("the model reaches no %s", what)
	}
}

func newModel(rt *rapid.T) *model {
	m := &model{world: newWorld(rt), rt: rt, devices: names(7), parts: map[ident.Campaign]*part{}, timers: map[ident.Campaign]time.Time{},
		sent: map[string][]campaign.Report{}, last: map[key]campaign.Assignment{}, failures: map[failing]int{}, reach: map[string]int{}}
	m.slice = rapid.IntRange(1, 4).Draw(rt, "slice")
	m.manifests = []firmware.Manifest{m.manifest("v2"), m.manifest("v3"), m.second("config")}
	m.register(m.devices[:5]...) // the others may come later
	m.deaf = map[ident.Device]bool{}
	for _, d := range m.devices {
		m.deaf[device(d)] = rapid.Bool().Draw(rt, "away")
	}
	m.site("north", m.devices[:2]...)
	m.site("south", m.devices[2])
	m.world.watch = m.watch
	m.lose = func() loss {
		if n := rapid.IntRange(0, 30).Draw(rt, "loss"); n > 28 {
			return loss(n - 28)
		}
		return nothing
	}
	return m
}

// surely does what people do without a crash in between: they would do it again until they are answered.
func (m *model) surely(do func()) {
	lose := m.lose
	m.lose = nil
	defer func() { m.lose = lose }()
	do()
}

// one is a campaign that is in one of the phases, if there is any.
func (m *model) one(phases ...campaign.Phase) (campaign.Campaign, bool) {
	var list []ident.Campaign
	for _, c := range m.ids {
		if slices.Contains(phases, m.campaign(c).Phase) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return campaign.Campaign{}, false
	}
	return m.campaign(rapid.SampledFrom(list).Draw(m.rt, "campaign")), true
}

// actions are what happens, as often as it is listed.
var actions = []string{"report", "report", "report", "report", "report", "finish", "obey", "obey", "obey", "again", "hello", "hello", "hello", "time", "time", "time",
	"clock", "start", "start", "start", "approval", "approval", "stop", "pause", "next", "registry", "label", "quota", "forgive", "tidy"}

func (m *model) act() {
	rt := m.rt
	d := rapid.SampledFrom(m.devices).Draw(rt, "device")
	action := rapid.SampledFrom(actions).Draw(rt, "action")
	if m.docile && rapid.Bool().Draw(rt, "obeys") {
		action = "obey"
	}
	if m.holders() && rapid.Bool().Draw(rt, "crowds") {
		action = "crowd" // else it would be rare
	}
	switch action {
	case "report":
		m.someReport(m.atWork(d))
	case "finish":
		m.finishDevice(m.atWork(d))
	case "obey":
		m.obey(m.atWork(d))
	case "again":
		if list := m.sent[d]; len(list) > 0 {
			r := rapid.SampledFrom(list).Draw(rt, "old")
			m.update(func(tx campaign.Tx) (campaign.Result, error) {
				return campaign.ApplyReport(tx, m.now, acme, device(d), r)
			})
		}
	case "hello":
		digests := []ident.Digest{factory, {}, m.manifests[0].Image, m.manifests[1].Image}
		m.hello(d, rapid.SampledFrom(digests).Draw(rt, "image"), rapid.Uint64Range(0, 9).Draw(rt, "boot"))
	case "time":
		m.pass()
	case "clock":
		m.setClock()
	case "registry":
		if _, there := m.m.devices[device(d)]; there && !m.stays && rapid.Bool().Draw(rt, "remove") {
			delete(m.m.devices, device(d))
		} else if !there {
			m.register(d)
		}
	case "label":
		m.label("", campaign.LabelChange{Set: map[string]string{"site": rapid.SampledFrom([]string{"north", "south"}).Draw(rt, "site")}}, m.there()...)
	case "start":
		m.someStart()
	case "approval":
		m.someApproval()
	case "crowd":
		m.crowd()
	case "stop":
		if c, ok := m.one(campaign.Scheduled, campaign.Starting, campaign.Active, campaign.Paused); ok {
			m.stop(c.ID)
		}
	case "pause":
		m.togglePause()
	case "next":
		m.someRelease()
	case "quota":
		m.someQuota()
	case "forgive":
		m.forgive(d)
	case "tidy":
		m.tidy()
	}
	m.restart()
}

// there are up to two devices of the registry.
func (m *model) there() (list []string) {
	for _, d := range rapid.SliceOfNDistinct(rapid.SampledFrom(m.devices), 1, 2, rapid.ID).Draw(m.rt, "labelled") {
		if _, there := m.m.devices[device(d)]; there {
			list = append(list, d)
		}
	}
	return list
}

// atWork is a device that has an offer, if there is one and not always; else d.
func (m *model) atWork(d string) string {
	var list []string
	for _, o := range m.devices {
		if len(m.m.works[device(o)].Live) > 0 {
			list = append(list, o)
		}
	}
	if len(list) == 0 || rapid.IntRange(0, 3).Draw(m.rt, "anyone") == 0 {
		return d
	}
	return rapid.SampledFrom(list).Draw(m.rt, "at work")
}

func (m *model) someReport(d string) {
	rt := m.rt
	man := m.manifests[rapid.IntRange(0, 2).Draw(rt, "manifest")]
	if live := m.m.works[device(d)].Live; len(live) > 0 && rapid.IntRange(0, 3).Draw(rt, "stray") > 0 {
		man = m.m.manifests[live[0].Manifest]
	}
	word := rapid.SampledFrom([]string{"received", "deferred", "downloading", "downloaded", "installing", "rebooting",
		"installed", "installed", "failed", "rejected", "levitating"}).Draw(rt, "word")
	m.seq++
	r := campaign.Report{Seq: m.seq, Manifest: man.Digest, State: word, Boot: rapid.Uint64Range(0, 9).Draw(rt, "boot")}
	r.Permit = word == "downloaded" && rapid.IntRange(0, 3).Draw(rt, "asks") > 0
	if word == "failed" {
		r.Reason = m.someReason()
	}
	switch rapid.IntRange(0, 3).Draw(rt, "measured") {
	case 0:
		r.Installed = []campaign.Image{{Component: man.Component, Digest: man.Image}}
	case 1:
		r.Installed = []campaign.Image{{Component: man.Component, Digest: factory}}
	}
	if rapid.IntRange(0, 3).Draw(rt, "late") > 0 { // one in four arrives later, if at all
		m.update(func(tx campaign.Tx) (campaign.Result, error) {
			return campaign.ApplyReport(tx, m.now, acme, device(d), r)
		})
	}
	m.sent[d] = append(m.sent[d], r)
}

// finishDevice has a device prove what it was offered.
func (m *model) finishDevice(d string) {
	for _, l := range m.m.works[device(d)].Live {
		i := slices.IndexFunc(m.manifests, func(man firmware.Manifest) bool { return man.Digest == l.Manifest })
		m.report(d, m.manifests[i], "installed", func(r *campaign.Report) {
			r.Installed = []campaign.Image{{Component: l.Component, Digest: m.manifests[i].Image}}
		})
		m.restart()
	}
}

// obey has a device do the next thing that it was asked for, or fail at it.
func (m *model) obey(d string) {
	next := map[campaign.State]string{campaign.Offered: "received", campaign.Received: "downloading", campaign.Downloading: "downloaded",
		campaign.Downloaded: "installing", campaign.Installing: "rebooting"}
	for _, l := range slices.Clone(m.m.works[device(d)].Live) {
		a := m.m.assignments[key{l.Campaign, device(d)}]
		word, forbidden := next[a.State], m.campaign(l.Campaign).Policy.Permit.Required && a.Permit.State != campaign.PermitGranted
		switch {
		case rapid.IntRange(0, 8).Draw(m.rt, "fails") == 0:
			m.report(d, m.m.manifests[l.Manifest], "failed", func(r *campaign.Report) { r.Reason = m.someReason() })
		case a.State == campaign.Downloading || a.State == campaign.Downloaded && forbidden:
			m.report(d, m.m.manifests[l.Manifest], "downloaded", asking)
		case word == "":
			m.finishDevice(d)
		default:
			m.report(d, m.m.manifests[l.Manifest], word)
		}
		m.restart()
	}
}

func (m *model) someReason() string {
	return rapid.SampledFrom([]string{"", "flash-error", "flash-error", "download-timeout", "battery-low"}).Draw(m.rt, "reason")
}
