package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The budget: what a reader can hold in mind at once.
const (
	maxFileLines     = 400
	maxTestFileLines = 800
	maxFuncLines     = 60
	maxMethods       = 5
)

// longFuncs and wideInterfaces name what may be over the budget, with the reason.
var (
	longFuncs      = map[string]string{}
	wideInterfaces = map[string]string{
		"campaign.Reader": "the store's transaction: one method per kind of record",
		"campaign.Tx":     "the store's transaction: one method per kind of record",
	}
)

func TestBudget(t *testing.T) {
	for _, f := range sources(t) {
		for _, p := range overBudget(f) {
			t.Error(p)
		}
	}
}

// overBudget returns what of f is too large, in words.
func overBudget(f file) []string {
	var out []string
	limit := maxFileLines
	if f.test || f.suite {
		limit = maxTestFileLines
	}
	if n := f.set.Position(f.ast.FileEnd).Line - 1; n > limit {
		out = append(out, fmt.Sprintf("%s: %d lines, at most %d", f.path, n, limit))
	}
	if f.test || f.suite {
		return out
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			name := f.ast.Name.Name + "." + n.Name.Name
			if lines := span(f, n); lines > maxFuncLines && longFuncs[name] == "" {
				out = append(out, fmt.Sprintf("%s:%d: func %s has %d lines, at most %d", f.path, f.line(n), name, lines, maxFuncLines))
			}
		case *ast.TypeSpec:
			name := f.ast.Name.Name + "." + n.Name.Name
			if it, ok := n.Type.(*ast.InterfaceType); ok && it.Methods.NumFields() > maxMethods && wideInterfaces[name] == "" {
				out = append(out, fmt.Sprintf("%s:%d: interface %s has %d methods, at most %d", f.path, f.line(n), name, it.Methods.NumFields(), maxMethods))
			}
		}
		return true
	})
	return out
}

func span(f file, n ast.Node) int {
	return f.set.Position(n.End()).Line - f.set.Position(n.Pos()).Line + 1
}

func TestExportedNamesAreDocumented(t *testing.T) {
	files := sources(t)
	contract := map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		contract[f.pkg] = contract[f.pkg] || f.ast.Doc.Text() != ""
		for _, p := range undocumented(f) {
			t.Error(p)
		}
	}
	for pkg, ok := range contract {
		if !ok {
			t.Errorf("%s: no package comment", pkg)
		}
	}
}

// undocumented lists the exported top-level names and methods of f that have no comment of their own or of their group.
func undocumented(f file) []string {
	var out []string
	report := func(n ast.Node, name string) {
		out = append(out, fmt.Sprintf("%s:%d: exported %s has no comment", f.path, f.line(n), name))
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && ofExported(d) && d.Doc.Text() == "" {
				report(d, d.Name.Name)
			}
		case *ast.GenDecl:
			if d.Tok == token.IMPORT || d.Doc.Text() != "" {
				continue
			}
			for _, s := range d.Specs {
				for _, name := range bareNames(s) {
					report(s, name)
				}
			}
		}
	}
	return out
}

// bareNames returns the exported names of a spec without a comment.
func bareNames(s ast.Spec) []string {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc.Text()+s.Comment.Text() == "" {
			return []string{s.Name.Name}
		}
	case *ast.ValueSpec:
		if s.Doc.Text()+s.Comment.Text() != "" {
			return nil
		}
		var out []string
		for _, n := range s.Names {
			if n.IsExported() {
				out = append(out, n.Name)
			}
		}
		return out
	}
	return nil
}

// ofExported reports whether d is a function, or a method of an exported type.
func ofExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// mayPanic says which functions may: those called must…, for constants in the source that every test meets.
func mayPanic(name string) bool { return strings.HasPrefix(strings.ToLower(name), "must") }

// TestNoSuddenDeath finds panic, os.Exit and log.Fatal outside main, and outside the package that is about sudden death and
// that no release holds.
func TestNoSuddenDeath(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || f.suite || f.pkg == "internal/failpoint" {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || mayPanic(fn.Name.Name) || f.ast.Name.Name == "main" && fn.Name.Name == "main" {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && deadly(call) {
					t.Errorf("%s:%d: %s ends the process", f.path, f.line(call), fn.Name.Name)
				}
				return true
			})
		}
	}
}

func deadly(call *ast.CallExpr) bool {
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		return fn.Name == "panic"
	case *ast.SelectorExpr:
		x, ok := fn.X.(*ast.Ident)
		return ok && (x.Name == "os" && fn.Sel.Name == "Exit" || x.Name == "log" && strings.HasPrefix(fn.Sel.Name, "Fatal"))
	}
	return false
}

// unwanted are texts that no file of the module holds: paths of one machine, and things left for later.
var unwanted = regexp.MustCompile(`(^|[^\w.])/(` + `work|root|home/\w+)/|/tmp/` + `plan|\bTO` + `DO\b|\bFIX` + `ME\b|proxy\.go` + `lang`)

func TestNoLeftovers(t *testing.T) {
	n := 0
	walk(t, func(rel, abs string) {
		if strings.Contains(rel, "/testdata/fuzz/") || !text(rel) {
			return
		}
		n++
		src, err := os.ReadFile(abs)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(src), "\n") {
			if m := unwanted.FindString(line); m != "" {
				t.Errorf("%s:%d: has %q", rel, i+1, strings.TrimSpace(m))
			}
		}
	})
	if n == 0 {
		t.Fatal("no file looked at")
	}
}

func text(rel string) bool {
	for _, ext := range []string{".go", ".md", ".yaml", ".yml", ".toml", ".cddl", ".json", ".txtar", "Makefile"} {
		if strings.HasSuffix(rel, ext) {
			return true
		}
	}
	return false
}

// TestBudgetBites gives the checks sources that break them.
func TestBudgetBites(t *testing.T) {
	long := "package x\nfunc f() {\n" + strings.Repeat("\t_ = 1\n", maxFuncLines) + "}\n"
	wide := "package x\ntype I interface{ A(); B(); C(); D(); E(); F() }\n"
	tall := "package x\n" + strings.Repeat("// line\n", maxFileLines+1)
	for name, src := range map[string]string{"func": long, "interface": wide, "lines": tall} {
		if got := strings.Join(overBudget(parse(t, "x/x.go", []byte(src))), "\n"); !strings.Contains(got, name) {
			t.Errorf("%s over the budget: got %q", name, got)
		}
	}
	bare := "package x\ntype T struct{}\nfunc (*T) M() {}\nfunc F() {}\nconst C = 1\n"
	if got := undocumented(parse(t, "x/x.go", []byte(bare))); len(got) != 4 {
		t.Errorf("4 bare names, got %q", got)
	}
}
