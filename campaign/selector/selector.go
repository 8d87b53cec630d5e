// Package selector is the language in which devices are selected: a small subset of expr (github.com/expr-lang/expr)
// over what the registry knows of one device. docs/selector.md is its reference.
//
// A filter is at most MaxText bytes, has no loop and calls nothing, so its cost is bounded by its length. It is checked
// whole when it is compiled; what can fail later is only a version that is none, and that means "not selected".
//
// The package is pure and the only importer of expr. A Filter may be used from any goroutine.
package selector

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"github.com/google/uuid"

	"fleetbridge/ident"
)

// Bounds of a filter.
const (
	MaxText    = 4 << 10 // bytes
	MaxNodes   = 1000    // of the syntax tree
	MaxPattern = 256     // bytes of a regular expression
	maxMemory  = 10_000  // of one evaluation, as expr counts
)

// Image is what a component of a device holds.
type Image struct {
	Component string
	Digest    ident.Digest
	Version   string
}

// Device is what a filter sees of a device.
type Device struct {
	ID        ident.Device
	Vendor    uuid.UUID
	Class     uuid.UUID
	Component string // whose version and digest are `version` and `digest`
	Installed []Image
	Boot      uint64
	LastSeen  time.Time // zero: never
	Labels    map[string]string
	Facts     map[string]string
	Groups    []string
}

// Filter is a compiled filter.
type Filter struct {
	program  *vm.Program
	machines sync.Pool
	uses     map[string]bool
	labels   map[string]string
	groups   []string
	mentions []Mention
}

// Mention is a value that a filter compares a label, a fact or another text with.
type Mention struct {
	Field string // as written: labels.ring
	Value string
}

// Error says what of a filter can't be taken, and where. Line and Column count from 1.
type Error struct {
	Line, Column int
	Message      string
	Snippet      string // the line, and under it a caret; "" if there is none
}

// Error is the message with its place, and the line with a caret under it.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (line %d, column %d)%s", e.Message, e.Line, e.Column, e.Snippet)
}

// env is a device in the terms of expr. Members that a filter does not use stay empty.
type env struct {
	ID        string            `expr:"id"`
	Vendor    string            `expr:"vendor"`
	Class     string            `expr:"class"`
	Version   string            `expr:"version"`
	Versions  map[string]string `expr:"versions"`
	Digest    string            `expr:"digest"`
	Installed map[string]string `expr:"installed"`
	Boot      int               `expr:"boot"`
	LastSeen  int               `expr:"last_seen"` // nanoseconds since 1970
	Now       int               `expr:"now"`
	Labels    map[string]string `expr:"labels"`
	Facts     map[string]string `expr:"facts"`
	Groups    []string          `expr:"groups"`
}

// Compile checks and compiles a filter: an expression, or the short form `name=value,name in (a,b)`. The error is an
// *Error.
func Compile(text string) (*Filter, error) {
	switch {
	case len(text) > MaxText:
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the filter has %d bytes, at most %d", len(text), MaxText)}
	case !utf8.ValidString(text):
		return nil, &Error{Line: 1, Column: 1, Message: "the filter is not UTF-8"}
	}
	f, err := compile(text)
	if err == nil {
		return f, nil
	}
	if long, ok := translate(text); ok && len(long) <= 2*MaxText {
		return compile(long)
	}
	return nil, err
}

func compile(text string) (*Filter, error) {
	f, err := check(text)
	if err != nil {
		return nil, err
	}
	f.program, err = expr.Compile(text,
		expr.Env(env{}), expr.AsBool(), expr.DisableAllBuiltins(), expr.MaxNodes(MaxNodes), expr.Patch(rewriter{}),
		expr.Function(compareName, compareCall, compareVersions))
	if err != nil {
		return nil, errorOf(err)
	}
	return f, nil
}

// errorOf makes an error of expr ours.
func errorOf(err error) *Error {
	if fe, ok := errors.AsType[*file.Error](err); ok {
		return &Error{Line: max(fe.Line, 1), Column: fe.Column + 1, Message: fe.Message, Snippet: fe.Snippet}
	}
	return &Error{Line: 1, Column: 1, Message: err.Error()}
}

// Match says whether d is selected at now. With an error it is not, and the error says why.
func (f *Filter) Match(d Device, now time.Time) (bool, error) {
	m, ok := f.machines.Get().(*vm.VM)
	if !ok {
		m = &vm.VM{MemoryBudget: maxMemory}
	}
	defer f.machines.Put(m)
	out, err := m.Run(f.program, f.env(d, now))
	if err != nil {
		if fe, ok := errors.AsType[*file.Error](err); ok {
			return false, errors.New(fe.Message)
		}
		return false, err
	}
	yes, ok := out.(bool)
	if !ok {
		return false, fmt.Errorf("the filter gave a %T", out)
	}
	return yes, nil
}

// env fills in what the filter uses.
func (f *Filter) env(d Device, now time.Time) *env {
	e := &env{Boot: int(min(d.Boot, math.MaxInt)), Now: nanos(now), LastSeen: nanos(d.LastSeen), Labels: d.Labels, Facts: d.Facts, Groups: d.Groups}
	if f.uses["id"] {
		e.ID = d.ID.String()
	}
	if f.uses["vendor"] {
		e.Vendor = d.Vendor.String()
	}
	if f.uses["class"] {
		e.Class = d.Class.String()
	}
	if f.uses["versions"] {
		e.Versions = make(map[string]string, len(d.Installed))
	}
	if f.uses["installed"] {
		e.Installed = make(map[string]string, len(d.Installed))
	}
	for _, i := range d.Installed {
		if e.Versions != nil {
			e.Versions[i.Component] = i.Version
		}
		if e.Installed != nil {
			e.Installed[i.Component] = i.Digest.String()
		}
		if i.Component == d.Component {
			e.Version = i.Version
			if f.uses["digest"] {
				e.Digest = i.Digest.String()
			}
		}
	}
	return e
}

// nanos is t in nanoseconds since 1970; the zero time, and what is too far away, is at the end of the range. The lower
// end leaves room for a duration to be taken away.
func nanos(t time.Time) int {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return int(t.UnixNano())
}

// Labels are labels that every selected device carries with these values: an index may narrow by them.
func (f *Filter) Labels() map[string]string { return f.labels }

// Groups are groups that every selected device is in.
func (f *Filter) Groups() []string { return f.groups }

// Mentions are the values that the filter compares texts with, in the order in which they are written; at most 16.
func (f *Filter) Mentions() []Mention { return f.mentions }
