package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "fleetbridge"

// suites are the packages of contract suites.
var suites = []string{"campaign/store/storetest", "link/linktest"}

// file is one Go source of the module.
type file struct {
	path string // from the root of the module, with slashes
	pkg  string // folder; "" is the root
	test bool   // a _test.go file
	// suite is a contract suite: code for tests that other packages' tests run.
	suite bool
	set   *token.FileSet
	ast   *ast.File
}

func (f file) line(n ast.Node) int { return f.set.Position(n.Pos()).Line }

// imports returns the import paths of f.
func (f file) imports() []string {
	var out []string
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// root finds the module's folder above the test's own.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// walk calls fn for every regular file of the module, with its path from the root; nested modules and hidden folders
// are left out.
func walk(t *testing.T, fn func(rel, abs string)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			hidden := rel != "." && strings.HasPrefix(d.Name(), ".")
			if hidden || slices.Contains([]string{"bin", "tools"}, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			fn(rel, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, rel string, src []byte) file {
	t.Helper()
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, rel, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	pkg, _, found := cutLast(rel, "/")
	if !found {
		pkg = ""
	}
	return file{path: rel, pkg: pkg, test: strings.HasSuffix(rel, "_test.go"), suite: slices.Contains(suites, pkg), set: set, ast: tree}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// sources parses every Go file of the module.
func sources(t *testing.T) []file {
	t.Helper()
	var out []file
	walk(t, func(rel, abs string) {
		if !strings.HasSuffix(rel, ".go") || strings.Contains(rel, "/testdata/") {
			return
		}
		src, err := os.ReadFile(abs)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, parse(t, rel, src))
	})
	if len(out) == 0 {
		t.Fatal("no source found: the walk is wrong")
	}
	return out
}
