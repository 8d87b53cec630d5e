package selector

import (
	"cmp"
	"slices"
)

// Nearest returns at most n of the candidates that differ from s in few letters, the nearest first.
func Nearest(s string, candidates []string, n int) []string {
	type near struct {
		text string
		far  int
	}
	var found []near
	for _, c := range candidates {
		if far := distance(s, c); far <= max(2, len(s)/3) && far < max(len(s), len(c)) {
			found = append(found, near{c, far})
		}
	}
	slices.SortFunc(found, func(a, b near) int { return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(a.text, b.text)) })
	var out []string
	for _, f := range found[:min(n, len(found))] {
		out = append(out, f.text)
	}
	return out
}

// distance counts the letters to insert, delete or replace between a and b (Levenshtein); long texts by their beginning.
func distance(a, b string) int {
	x, y := []rune(a[:min(len(a), 64)]), []rune(b[:min(len(b), 64)])
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			old := row[j+1]
			if x[i] == y[j] {
				row[j+1] = diagonal
			} else {
				row[j+1] = 1 + min(diagonal, old, row[j])
			}
			diagonal = old
		}
	}
	return row[len(y)]
}
