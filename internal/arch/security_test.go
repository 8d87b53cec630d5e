package arch

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPageNamesTests holds docs/security.md against the tests: each row of its table names some, and all exist.
func TestSecurityPageNamesTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, f := range sources(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				tests[fn.Name.Name] = true
			}
		}
	}
	name := regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| threat") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		named := name.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(cells) != 3 || len(named) == 0 {
			t.Errorf("a row without a test: %s", line)
		}
		for _, n := range named {
			if !tests[n[1]] {
				t.Errorf("there is no test %s", n[1])
			}
		}
	}
	if rows < 20 {
		t.Fatalf("%d rows found: the search is wrong", rows)
	}
}
