package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"fleetbridge/ident"
)

// column is one column of a table: its head, and the cell of an item.
type column[T any] struct {
	head string
	cell func(T) string
}

// printList writes a list to stdout: a table, one object {"items": […]}, or an object a line.
func printList[T any](a *app, items iter.Seq2[T, error], columns ...column[T]) error {
	all := []T{}
	lines := json.NewEncoder(a.stdout)
	for item, err := range items {
		if err != nil {
			return err
		}
		if a.output == "jsonl" {
			if err := lines.Encode(item); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			continue
		}
		all = append(all, item)
	}
	switch a.output {
	case "jsonl":
		return nil
	case "json":
		return a.printJSON(map[string]any{"items": all})
	}
	w := plainTable()
	var head table.Row
	for _, c := range columns {
		head = append(head, c.head)
	}
	w.AppendHeader(head)
	for _, item := range all {
		var row table.Row
		for _, c := range columns {
			row = append(row, c.cell(item))
		}
		w.AppendRow(row)
	}
	return a.printText(w.Render())
}

// row is one line of a single object's table.
type row struct{ name, value string }

// printOne writes one object to stdout: its rows, those without a value left out, or JSON.
func (a *app) printOne(v any, rows ...row) error {
	if a.output != "table" {
		return a.printJSON(v)
	}
	w := plainTable()
	for _, r := range rows {
		if r.value != "" {
			w.AppendRow(table.Row{r.name, r.value})
		}
	}
	return a.printText(w.Render())
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	if a.output == "json" {
		enc.SetIndent("", "  ")
	}
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printText writes the lines of a rendered table without the blanks that pad them.
func (a *app) printText(s string) error {
	for line := range strings.Lines(s + "\n") {
		if _, err := fmt.Fprintln(a.stdout, strings.TrimRight(line, " \n")); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	return nil
}

// plainTable has columns and no lines: what cut, awk and eyes read.
func plainTable() table.Writer {
	w := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	w.SetStyle(style)
	return w
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// short is a digest that fits a table; -o json has it whole.
func short(d ident.Digest) string {
	if d.IsZero() {
		return ""
	}
	return "sha256:" + d.Hex()[:12] + "…"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const kib = 1 << 10
	switch {
	case n < kib:
		return fmt.Sprintf("%d B", n)
	case n < kib*kib:
		return fmt.Sprintf("%.4g KiB", float64(n)/kib)
	case n < kib*kib*kib:
		return fmt.Sprintf("%.4g MiB", float64(n)/(kib*kib))
	}
	return fmt.Sprintf("%.4g GiB", float64(n)/(kib*kib*kib))
}

// parseSize parses a size with an optional unit: 4096, 512KiB, 1MiB.
func parseSize(s string) (int64, error) {
	number, shift := strings.TrimSuffix(s, "B"), 0
	switch {
	case strings.HasSuffix(s, "KiB"):
		number, shift = strings.TrimSuffix(s, "KiB"), 10
	case strings.HasSuffix(s, "MiB"):
		number, shift = strings.TrimSuffix(s, "MiB"), 20
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > maxSize>>shift {
		return 0, usagef("size %q: want bytes, at most 1 GiB, such as 4096, 512KiB or 1MiB", s)
	}
	return n << shift, nil
}

// maxSize is the largest payload that a simulation makes, in memory.
const maxSize = 1 << 30
