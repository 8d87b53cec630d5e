package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
	"fleetbridge/topics"
)

// TestTallyKnowsEveryState puts one device into each state: each is counted once, and those that end nothing are open.
func TestTallyKnowsEveryState(t *testing.T) {
	counts := map[string]uint64{}
	open := uint64(0)
	for _, s := range campaign.States {
		counts[string(s)] = 1
		if !s.Settled() {
			open++
		}
	}
	n := tallyOf(uint64(len(campaign.States)), counts)
	if n.confirmed+n.failed+n.silent+n.skipped+n.withdrawn+n.open != n.total || n.open != open {
		t.Errorf("%+v, want %d open of %d", n, open, len(campaign.States))
	}
}

// TestWithdrawnIsNotSkipped: an offer that was taken back is told as that.
func TestWithdrawnIsNotSkipped(t *testing.T) {
	text := countsText(topics.Progress{Total: 3, Counts: map[string]uint64{"withdrawn": 2, "skipped": 1}})
	if want := "3 devices, 1 skipped, 2 withdrawn"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

// TestTrackIsPlainWithoutTerminal writes a wave's line once, when it is settled, and nothing that moves.
func TestTrackIsPlainWithoutTerminal(t *testing.T) {
	var words bytes.Buffer
	a := &app{env: env{stderr: &words}}
	track := a.newTrack()
	wave := func(open, ok uint64) topics.WaveProgress {
		return topics.WaveProgress{Total: open + ok, Counts: map[string]uint64{"downloading": open, "confirmed": ok}}
	}
	track.at(topics.Progress{Waves: []topics.WaveProgress{wave(2, 0), wave(5, 0)}})
	track.at(topics.Progress{Waves: []topics.WaveProgress{wave(0, 2), wave(5, 0)}})
	track.at(topics.Progress{Waves: []topics.WaveProgress{wave(0, 2), wave(1, 4)}})
	track.at(topics.Progress{Waves: []topics.WaveProgress{wave(0, 2), wave(0, 5)}})
	lines := strings.Split(strings.TrimSpace(words.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "wave 1/2") || !strings.Contains(lines[1], "5/5  confirmed 5") || strings.Contains(words.String(), "\x1b") {
		t.Errorf("got %q", lines)
	}
	words.Reset()
	for range 3 {
		track.at(topics.Progress{State: "active", Total: 7})
	}
	if got := words.String(); got != "  active: 7 devices\n" {
		t.Errorf("a new state is told as %q", got)
	}
	a.quiet = true
	words.Reset()
	track.at(topics.Progress{Waves: []topics.WaveProgress{wave(0, 2)}})
	if words.Len() > 0 {
		t.Errorf("said under --quiet: %q", words.String())
	}
}

// TestLinesFitTheTerminal draws the longest lines there are: one that wraps can't be drawn over.
func TestLinesFitTheTerminal(t *testing.T) {
	const million = 1_000_000
	n := tally{total: 5 * million, confirmed: million, failed: million, silent: million, skipped: million, open: million}
	full := topics.Progress{State: "running", Total: n.total, Counts: map[string]uint64{}}
	for _, s := range campaign.States {
		full.Counts[string(s)] = million
	}
	full.Waves = []topics.WaveProgress{{Total: n.total, Counts: full.Counts}}
	for _, wide := range []int{1, 40, 80, 200} {
		line := waveLine(98, 99, n, 90*24*time.Hour, wide)
		if got := utf8.RuneCountInString(line); got > wide {
			t.Errorf("%d columns: a wave's line has %d: %s", wide, got, line)
		}
		var words bytes.Buffer
		a := &app{env: env{stderr: &words}}
		track := a.newTrack()
		track.live, track.width = true, func() int { return wide }
		track.at(full)
		for line := range strings.Lines(words.String()) {
			line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "\x1b[K")
			if got := utf8.RuneCountInString(line); got > wide {
				t.Errorf("%d columns: a line has %d: %s", wide, got, line)
			}
		}
	}
	const many = 20_000
	n = tally{total: 5 * many, confirmed: many, failed: many, silent: many, skipped: many, open: many}
	if line := waveLine(2, 3, n, time.Hour, 80); !strings.Contains(line, "skipped 20000") {
		t.Errorf("80 columns do not show every count: %s", line)
	}
	if line := waveLine(0, 3, tally{total: 10, confirmed: 10}, time.Second, 80); strings.Contains(line, "failed") || !strings.Contains(line, strings.Repeat("█", 15)) {
		t.Errorf("a quiet wave: %s", line)
	}
}

// TestExitCodes has an error of each kind that commands meet.
func TestExitCodes(t *testing.T) {
	problem := func(slug string, status int) error {
		return fmt.Errorf("campaign/get: %w", &topics.Problem{Type: slug, Status: status})
	}
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, exitOK}, {io.ErrUnexpectedEOF, exitFailure}, {usagef("wrong"), exitUsage},
		{fmt.Errorf("x: %w", config.ErrInvalid), exitUsage}, {fmt.Errorf("x: %w", ident.ErrInvalid), exitUsage},
		{problem("invalid-request", 422), exitUsage}, {problem("malformed-body", 400), exitUsage},
		{problem("campaign-not-found", 404), exitNotFound}, {problem("not-allowed", 403), exitDenied},
		{problem("wrong-phase", 409), exitConflict}, {problem("deadline-passed", 408), exitTimeout},
		{problem("manifest-untrusted", 422), exitVerify}, {problem("digest-mismatch", 422), exitVerify},
		{problem("internal", 500), exitFailure}, {problem("store-unavailable", 503), exitFailure}, {problem("quota", 429), exitFailure},
		{fmt.Errorf("x: %w", client.ErrDenied), exitDenied}, {fmt.Errorf("x: %w", client.ErrTimeout), exitTimeout},
		{fmt.Errorf("x: %w", client.ErrUnreachable), exitTimeout}, {fmt.Errorf("x: %w", firmware.ErrUntrusted), exitVerify},
		{&failure{code: exitCampaign, err: errors.New("x")}, exitCampaign},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
	for _, p := range topics.Problems { // no problem of the contract is without a code
		if code := exitCode(&topics.Problem{Type: p.Type, Status: p.Status}); code == exitFailure && p.Status < 413 {
			t.Errorf("%s (%d) has no code of its own", p.Type, p.Status)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "4096B": 4096, "512KiB": 512 << 10, "3MiB": 3 << 20} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "3 MiB", "3GB", "KiB", "9999999999999MiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestParseWaves(t *testing.T) {
	got, err := parseWaves([]string{"10", "2.5%", "100%"})
	if err != nil || len(got) != 3 || got[0].Count != 10 || got[1].Percent != 2.5 || got[2].Percent != 100 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"0", "-1", "0%", "101%", "NaN%", "x", "%", ""} {
		if got, err := parseWaves([]string{bad}); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

// TestPace: devices per minute over the last minute, and how long the rest takes at that rate.
func TestPace(t *testing.T) {
	start := time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC)
	at := func(seconds int, done uint64) topics.Progress {
		return topics.Progress{State: "active", Total: 1000, At: start.Add(time.Duration(seconds) * time.Second),
			Counts: map[string]uint64{"confirmed": done, "pending": 1000 - done}}
	}
	var c pace
	c.add(at(0, 0))
	if text := c.text(at(0, 0)); text != "" {
		t.Errorf("a rate of one point: %q", text)
	}
	c.add(at(10, 50))
	if text := c.text(at(10, 50)); text != "300 devices/min, about 3 min 10 s left" {
		t.Error(text)
	}
	for i := range 500 { // what is older than a minute does not count, and little is kept
		c.add(at(100+i, 60))
	}
	if len(c.points) > maxPace || c.rate() != 0 {
		t.Errorf("%d points, %v", len(c.points), c.rate())
	}
	c.add(at(600, 960))
	paused := at(600, 960)
	paused.State = "paused"
	if text := c.text(paused); text == "" || strings.Contains(text, "left") {
		t.Errorf("paused: %q", text)
	}
	for d, want := range map[time.Duration]string{42 * time.Second: "42 s", 90 * time.Second: "1 min 30 s", 26*time.Hour + 5*time.Minute: "26 h 5 min"} {
		if got := spanText(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
}

// TestTrackOnATerminal draws over its own lines, none of them wider than the terminal.
func TestTrackOnATerminal(t *testing.T) {
	var words bytes.Buffer
	a := &app{env: env{stderr: &words}}
	track := a.newTrack()
	track.live, track.width = true, func() int { return 80 }
	p := topics.Progress{State: "active", Total: 7, Counts: map[string]uint64{"confirmed": 4, "failed": 3}, Waves: make([]topics.WaveProgress, 2),
		Reasons: []topics.ReasonCount{{State: "failed", Reason: strings.Repeat("long", 40), Count: 2}, {State: "failed", Count: 1}}}
	track.at(p)
	first := words.String()
	words.Reset()
	track.at(p)
	if n := strings.Count(first, "\n"); n != 5 || !strings.HasPrefix(words.String(), fmt.Sprintf("\x1b[%dA", n)) {
		t.Errorf("first %q, then %q", first, words.String())
	}
	for line := range strings.Lines(first) {
		if n := len([]rune(strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[K"), "\n"))); n > 80 {
			t.Errorf("%d characters: %q", n, line)
		}
	}
	if !strings.Contains(first, "not updated: failed longlong") {
		t.Errorf("no reasons: %q", first)
	}
}
