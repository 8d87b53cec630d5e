package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Record is one result: the object that -o json prints. Members that every record has are bench and case. One about a
// peer that is not installed has peer and missing instead of figures, one of a case that was disturbed has refused.
type Record map[string]any

// RecordOf turns a struct with JSON names into a record.
func RecordOf(v any) (Record, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("make record: %w", err)
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("make record: %w", err)
	}
	return r, nil
}

// Missing is the record of a case whose peer is not installed.
func Missing(bench, name, peer string) Record {
	return Record{"bench": bench, "case": name, "peer": peer, "missing": true}
}

// Refused is the record of a case that other processes disturbed.
func Refused(bench, name string, err error) Record {
	return Record{"bench": bench, "case": name, "refused": err.Error()}
}

// Text is a member as text, "" without it.
func (r Record) Text(key string) string {
	switch v := r[key].(type) {
	case string:
		return v
	case nil:
		return ""
	case float64: // as JSON has numbers: a million is no 1e+06
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// Number is a member as a number; NaN without it.
func (r Record) Number(key string) float64 {
	if v, ok := r[key].(float64); ok {
		return v
	}
	return math.NaN()
}

// Column is one column of a sheet.
type Column struct {
	Head string
	Cell func(Record) string
}

// Sheet says how the records of a bench become a table, on the terminal and in docs/performance.md.
type Sheet struct {
	Bench   string
	Columns []Column
}

// Text is a column that shows a member as it is.
func Text(head, key string) Column {
	return Column{head, func(r Record) string { return r.Text(key) }}
}

// Figure is a column that shows a number, and behind it the members key_min and key_max where they are there.
func Figure(head, key string) Column {
	return Column{head, func(r Record) string {
		s := number(r.Number(key))
		if low, high := number(r.Number(key+"_min")), number(r.Number(key+"_max")); low != "" && high != "" {
			s += " (" + low + "–" + high + ")"
		}
		return s
	}}
}

// Verdict is a column about a goal: the member of that name is the goal, the one named met says whether it was reached.
func Verdict(head, goal string) Column { return VerdictOf(head, goal, "met") }

// VerdictOf is Verdict where a record has several goals: the member named met says whether this one was reached.
func VerdictOf(head, goal, met string) Column {
	return Column{head, func(r Record) string {
		switch {
		case r.Text("missing") != "":
			return "missing"
		case r.Text("refused") != "":
			return "refused: too much else was running"
		case r[goal] == nil:
			return ""
		case r[met] == true:
			return number(r.Number(goal)) + " ✔"
		}
		return number(r.Number(goal)) + " ✖"
	}}
}

// number is v to three digits, "" for NaN.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Rows are the cells of the records of the sheet's bench.
func (s Sheet) Rows(records []Record) [][]string {
	var out [][]string
	for _, r := range records {
		if r.Text("bench") != s.Bench {
			continue
		}
		var row []string
		for _, c := range s.Columns {
			row = append(row, c.Cell(r))
		}
		out = append(out, row)
	}
	return out
}

// Heads are the names of the columns.
func (s Sheet) Heads() []string {
	var out []string
	for _, c := range s.Columns {
		out = append(out, c.Head)
	}
	return out
}

// Markdown is the table of records; "" if none is of the sheet's bench.
func (s Sheet) Markdown(records []Record) string {
	rows := s.Rows(records)
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(s.Heads())
	b.WriteString("|" + strings.Repeat("---|", len(s.Columns)) + "\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}
