package arch

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// rule is what one package may import of this module, besides itself.
type rule struct {
	imports []string
	// tests lists what its tests may import on top.
	tests []string
	// pure packages are rules over values: no I/O, no log, no randomness, no clock.
	pure bool
}

// law lists every package. Arrows point down only, and one layer's packages do not know each other.
var law = map[string]rule{
	"ident":            {pure: true},
	"topics":           {imports: []string{"ident"}, pure: true},
	"firmware/cose":    {imports: []string{"ident"}, pure: true},
	"firmware/suit":    {imports: []string{"ident", "firmware/cose"}, pure: true},
	"firmware/encrypt": {imports: []string{"ident"}, pure: true},
	"firmware":         {imports: []string{"ident", "firmware/suit", "firmware/cose", "firmware/encrypt", "internal/failpoint"}},
	"firmware/delta":   {imports: []string{"ident"}, pure: true},
	"link":             {imports: []string{"topics", "ident"}, pure: true},
	"link/linktest":    {imports: []string{"link", "topics", "ident"}},
	"campaign": {
		imports: []string{"ident", "firmware", "firmware/suit", "firmware/cose", "campaign/selector"},
		tests:   []string{"campaign/store/badger", "campaign/store/storetest"},
		pure:    true,
	},
	"campaign/selector": {imports: []string{"ident"}, pure: true},
	"campaign/store/badger": {
		imports: []string{"campaign", "firmware", "firmware/suit", "firmware/cose", "ident", "internal/failpoint"},
		tests:   []string{"campaign/store/storetest"},
	},
	"campaign/store/storetest": {
		imports: []string{"campaign", "firmware", "firmware/suit", "firmware/cose", "ident"},
		tests:   []string{"campaign/store/badger"},
	},
	"broker": {
		imports: []string{"link", "topics", "ident", "internal/mapped"},
		tests:   []string{"link/linktest"},
	},
	"bridge/egress": {imports: []string{"ident"}, pure: true},
	"bridge": {
		imports: []string{"bridge/egress", "internal/mapped", "link", "campaign", "campaign/selector", "firmware", "firmware/suit", "firmware/cose", "topics", "ident", "internal/failpoint"},
		tests:   []string{"campaign/store/badger", "campaign/store/storetest"},
	},
	"simulator/lean":             {imports: []string{"topics", "ident"}},
	"simulator":                  {imports: []string{"simulator/lean", "topics", "firmware", "firmware/suit", "firmware/cose", "firmware/delta", "firmware/encrypt", "ident"}},
	"simulator/scenario":         {imports: []string{"simulator", "topics", "ident", "internal/spec"}},
	"internal/client":            {imports: []string{"topics", "ident"}, tests: []string{"broker", "link"}},
	"internal/config":            {},
	"internal/failpoint":         {},
	"internal/mapped":            {},
	"internal/spec":              {},
	"internal/httpapi":           {imports: []string{"link", "topics", "ident"}},
	"internal/bench":             {},
	"internal/bench/mqtt":        {},
	"internal/bench/load":        {imports: []string{"internal/bench", "internal/bench/mqtt", "topics", "ident"}},
	"internal/bench/groupcommit": {imports: []string{"internal/bench"}},
	"internal/bench/peer":        {imports: []string{"internal/bench", "internal/bench/mqtt", "ident"}},
	"internal/arch":              {},
	"cmd/fleetbridge":            {imports: everything},
}

// everything stands for all packages: only the wiring has it.
var everything = []string{"*"}

// exclusive says which packages' sources may import a module; "tests" means any test, "any" every package.
var exclusive = map[string][]string{
	"github.com/mochi-mqtt/server/v2":     {"broker"},
	"github.com/dgraph-io/badger/v4":      {"campaign/store/badger", "internal/bench/groupcommit"},
	"github.com/veraison/go-cose":         {"firmware/cose"},
	"github.com/fxamacker/cbor/v2":        {"topics", "firmware/suit", "firmware/cose", "firmware/encrypt", "campaign/store/badger", "tests"},
	"github.com/expr-lang/expr":           {"campaign/selector"},
	"github.com/eclipse/paho.golang":      {"internal/client", "simulator", "tests"},
	"github.com/coder/websocket":          {"broker", "internal/client", "tests"},
	"github.com/pelletier/go-toml/v2":     {"internal/config", "internal/spec"},
	"github.com/spf13/cobra":              {"cmd/fleetbridge"},
	"github.com/spf13/pflag":              {"cmd/fleetbridge"},
	"github.com/jedib0t/go-pretty/v6":     {"cmd/fleetbridge"},
	"golang.org/x/term":                   {"cmd/fleetbridge"},
	"github.com/adhocore/gronx":           {"campaign"},
	"github.com/RoaringBitmap/roaring/v2": {"campaign/store/badger"},
	"github.com/klauspost/compress":       {"firmware/delta", "tests"},
	"golang.org/x/sync":                   {"any"},
	"github.com/google/uuid":              {"any"},
	"github.com/google/go-cmp":            {"tests"},
	"github.com/rogpeppe/go-internal":     {"tests"},
	"pgregory.net/rapid":                  {"tests"},
	"go.yaml.in/yaml/v3":                  {"tests"},
}

// impure lists what a pure package may not import; an entry covers what is below it.
var impure = []string{"net", "os", "log", "crypto/rand", "math/rand", "syscall", "io/ioutil"}

// clocks are the functions of package time that read or wait for the clock.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}

func TestImportLaw(t *testing.T) {
	files := sources(t)
	for _, p := range breaches(files) {
		t.Error(p)
	}
	seen := map[string]bool{}
	for _, f := range files {
		seen[f.pkg] = true
	}
	for _, pkg := range slices.Sorted(maps.Keys(law)) {
		if !seen[pkg] {
			t.Errorf("%s: the law lists it, but there is no such package", pkg)
		}
	}
}

// breaches returns what files do against the law, in words.
func breaches(files []file) []string {
	var out []string
	for _, f := range files {
		r, listed := law[f.pkg]
		if !listed {
			out = append(out, fmt.Sprintf("%s: package %q is not in the law", f.path, f.pkg))
			continue
		}
		for _, imp := range f.imports() {
			if why := forbidden(f, r, imp); why != "" {
				out = append(out, fmt.Sprintf("%s: import %q: %s", f.path, imp, why))
			}
		}
		if r.pure && !f.test {
			out = append(out, clockCalls(f)...)
		}
	}
	return out
}

// forbidden says why f may not import imp, "" if it may.
func forbidden(f file, r rule, imp string) string {
	own, isOwn := strings.CutPrefix(imp, module+"/")
	switch {
	case isOwn:
		allowed := slices.Contains(r.imports, own) || slices.Equal(r.imports, everything) || own == f.pkg ||
			f.test && slices.Contains(r.tests, own)
		if !allowed || strings.HasPrefix(own, "cmd/") {
			return "an arrow that does not point down"
		}
	case strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
		return foreign(f, imp)
	case r.pure && !f.test && slices.ContainsFunc(impure, func(p string) bool { return within(imp, p) }):
		return "not in a pure package"
	}
	return ""
}

// foreign judges an import from another module.
func foreign(f file, imp string) string {
	for mod, who := range exclusive {
		if !within(imp, mod) {
			continue
		}
		if slices.Contains(who, "any") || slices.Contains(who, f.pkg) || (f.test || f.suite) && slices.Contains(who, "tests") {
			return ""
		}
		return "only for " + strings.Join(who, ", ")
	}
	return "a module that the law does not list"
}

func within(path, top string) bool { return path == top || strings.HasPrefix(path, top+"/") }

// clockCalls finds the uses of the clock in f.
func clockCalls(f file) []string {
	var out []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, sel.Sel.Name) {
			out = append(out, fmt.Sprintf("%s:%d: time.%s in a pure package", f.path, f.line(n), sel.Sel.Name))
		}
		return true
	})
	return out
}

// TestLawBites feeds the law sources that break it: each must be reported, and the good one not.
func TestLawBites(t *testing.T) {
	tests := []struct{ name, path, src, want string }{
		{"good", "campaign/x.go", `import "fleetbridge/ident"`, ""},
		{"upward", "campaign/x.go", `import "fleetbridge/bridge"`, "does not point down"},
		{"sideways", "topics/x.go", `import "fleetbridge/campaign"`, "does not point down"},
		{"simulator is an outsider", "simulator/x.go", `import "fleetbridge/link"`, "does not point down"},
		{"the bridge knows no broker", "bridge/x.go", `import "fleetbridge/broker"`, "does not point down"},
		{"nothing imports cmd", "bridge/x.go", `import "fleetbridge/cmd/fleetbridge"`, "does not point down"},
		{"unlisted package", "util/x.go", ``, "not in the law"},
		{"second importer", "bridge/x.go", `import "github.com/mochi-mqtt/server/v2/packets"`, "only for broker"},
		{"unlisted module", "bridge/x.go", `import "example.org/left/pad"`, "does not list"},
		{"network in a pure package", "topics/x.go", `import "net/netip"`, "not in a pure package"},
		{"files in a pure package", "firmware/suit/x.go", `import "os"`, "not in a pure package"},
		{"log in a pure package", "campaign/x.go", `import "log/slog"`, "not in a pure package"},
		{"chance in a pure package", "firmware/cose/x.go", `import "crypto/rand"`, "not in a pure package"},
		{"clock in a pure package", "campaign/x.go", "import \"time\"\nvar t = time.Now()", "time.Now"},
		{"test library in a source", "topics/x.go", `import "github.com/google/go-cmp/cmp"`, "only for tests"},
		{"test library in a contract suite", "link/linktest/x.go", `import "github.com/google/go-cmp/cmp"`, ""},
		{"implementation in a contract suite", "campaign/store/storetest/x.go", `import "fleetbridge/campaign/store/badger"`, "does not point down"},
		{"test library in a test", "topics/x_test.go", `import "github.com/google/go-cmp/cmp"`, ""},
		{"files in a pure package's test", "topics/x_test.go", `import "os"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(breaches([]file{parse(t, tt.path, []byte("package x\n"+tt.src+"\n"))}), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want something with %q", got, tt.want)
			}
		})
	}
}
