package arch

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pains is how many rows docs/traceability.md has.
const pains = 12

// TestTraceability holds docs/traceability.md to the code: each row's file exists and holds the name, each test exists and
// bears the number of its pain, and no such test is left out.
func TestTraceability(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "traceability.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, f := range sources(t) {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				tests[fn.Name.Name] = true
			}
		}
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.Contains(cells[4], "`") {
			continue
		}
		rows++
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[1] != fmt.Sprint(rows) {
			t.Errorf("row %d has the number %s", rows, cells[1])
		}
		if !strings.HasPrefix(cells[5], fmt.Sprintf("TestPain%02d", rows)) || !tests[cells[5]] {
			t.Errorf("pain %d: there is no test %s", rows, cells[5])
		}
		delete(tests, cells[5])
		if err := holds(root(t), cells[4]); err != nil {
			t.Errorf("pain %d: %v", rows, err)
		}
	}
	if rows != pains {
		t.Errorf("%d rows, want %d", rows, pains)
	}
	for name := range tests {
		if strings.HasPrefix(name, "TestPain") {
			t.Errorf("docs/traceability.md does not have %s", name)
		}
	}
}

// holds checks a cell like "`campaign/judge.go` gate".
func holds(root, cell string) error {
	file, name, _ := strings.Cut(strings.TrimPrefix(cell, "`"), "` ")
	src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err == nil && (name == "" || !strings.Contains(string(src), name)) {
		err = fmt.Errorf("%s has no %s", file, name)
	}
	return err
}
