package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// meter shows how far something of a known size is: a bar on a terminal, a line every ten seconds elsewhere. It writes
// to stderr only, and nothing under --quiet. Not for concurrent use.
type meter struct {
	w     io.Writer // nil under --quiet
	live  bool
	what  string
	total int64
	last  time.Time
	ended bool
}

const (
	meterEvery = 100 * time.Millisecond
	lineEvery  = 10 * time.Second
)

func (a *app) newMeter(what string, total int64) *meter {
	m := &meter{what: what, total: total, live: terminal(a.stderr), last: time.Now()}
	if !a.quiet {
		m.w = a.stderr
	}
	return m
}

// at says that n bytes are done.
func (m *meter) at(n int64) {
	every := lineEvery
	if m.live {
		every = meterEvery
	}
	if m.w == nil || m.ended || time.Since(m.last) < every && n < m.total {
		return
	}
	m.last = time.Now()
	text := fmt.Sprintf("%s %s %3.0f %%  %s of %s", m.what, bar(uint64(n), uint64(m.total), 24), percent(uint64(n), uint64(m.total)), bytesText(n), bytesText(m.total))
	if m.live {
		fmt.Fprintf(m.w, "\r\x1b[K%s", cut(text, width(m.w)))
	} else if n < m.total {
		fmt.Fprintln(m.w, text)
	}
}

// end leaves the bar where it is and goes to the next line. It may be called again.
func (m *meter) end() {
	if m.w != nil && m.live && !m.ended {
		fmt.Fprintln(m.w)
	}
	m.ended = true
}

// bar draws n of total in width cells.
func bar(n, total uint64, width int) string {
	full := width
	if total > 0 {
		full = int(min(n, total) * uint64(width) / total)
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

func percent(n, total uint64) float64 {
	if total == 0 {
		return 100
	}
	return 100 * float64(n) / float64(total)
}
