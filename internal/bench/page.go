package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrPage is wrapped where a page lacks a pair of markers.
var ErrPage = errors.New("marker missing in the page")

// The markers between which a page holds what was measured; the text around them is written by people.
func markers(bench string) (begin, end string) {
	return "<!-- measured: " + bench + " -->\n", "<!-- end: " + bench + " -->\n"
}

// Fill puts the tables of records into a page, each between the markers of its bench, under a line that says where it was
// measured. The table of a bench without records stays as it is.
func Fill(page string, sheets []Sheet, records []Record) (string, error) {
	for _, s := range sheets {
		begin, end := markers(s.Bench)
		head, rest, ok := strings.Cut(page, begin)
		_, tail, ended := strings.Cut(rest, end)
		if !ok || !ended {
			return "", fmt.Errorf("%w: %s", ErrPage, strings.TrimSpace(begin))
		}
		table := s.Markdown(records)
		if table == "" {
			continue
		}
		page = head + begin + "\n" + table + "\n" + where(records, s.Bench) + "\n" + end + tail
	}
	return page, nil
}

// where is the line about the machine: that of the record of bench "machine" that came last before those of a bench.
func where(records []Record, bench string) string {
	var m Record
	for _, r := range records {
		switch r.Text("bench") {
		case MachineBench:
			m = r
		case bench:
			if m == nil {
				return ""
			}
			return fmt.Sprintf("%s, commit %s, %s, %s cores, Linux %s, %s.\n", m.Text("date"), m.Text("commit"), m.Text("cpu"), m.Text("cores"), m.Text("kernel"), m.Text("go"))
		}
	}
	return ""
}

// ReadRecords reads JSON objects, one after the other.
func ReadRecords(r io.Reader) ([]Record, error) {
	var out []Record
	for dec := json.NewDecoder(bufio.NewReader(r)); ; {
		var rec Record
		err := dec.Decode(&rec)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
		out = append(out, rec)
	}
}
