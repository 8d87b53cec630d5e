package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetbridge/internal/config"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

const referenceFile = "../../docs/cli.md"

// TestReference holds docs/cli.md against the commands, flags, settings and exit codes that there are.
func TestReference(t *testing.T) {
	want := reference(t)
	if *update {
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/cli.md is not what the code says; go test ./cmd/fleetbridge -run TestReference -update writes it\n%s", d)
	}
}

const referenceHead = `# The command line

One binary is the server, the client and the simulator. The client half is an MQTT client of the public commands and
nothing else: whatever it does, a backend service can do.

* Data goes to stdout, words to stderr. ` + "`-o json`" + ` prints an object, lists as ` + "`{\"items\": […]}`" + `; ` + "`-o jsonl`" + ` an object a line,
  with the members that the commands' replies have. A refusal of the server is then its RFC 9457 problem, on stderr.
* Progress moves on a terminal only; elsewhere it is plain lines. Colour needs a terminal, and NO_COLOR turns it off.
* A command that was under way when the connection was lost is sent again, under the same idempotency key.
* ` + "`campaign watch`, `demo` and `sim run`" + ` count ` + "`rejected` and `reverted` as failed, and `deregistered`" + ` as skipped.

This page is checked against the program by a test.
`

func reference(t *testing.T) string {
	root := newRoot(&app{env: env{getenv: func(string) string { return "" }}})
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## Flags of every command\n\n")
	writeFlags(&b, root.PersistentFlags())
	n := 0
	writeCommands(&b, root, &n)
	if n < 30 {
		t.Fatalf("%d commands found: the walk is wrong", n)
	}
	b.WriteString("\n## Settings of serve\n\nA flag goes before a variable, a variable before the file, the file before the default. Unknown keys are errors.\n\n")
	b.WriteString("| key in the file | variable | flag | default | |\n|---|---|---|---|---|\n")
	for _, s := range config.Settings {
		def := s.Value(config.Defaults())
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | `--%s` | %s | %s |\n", s.Key, s.Env(), s.Flag(), def, s.Usage)
	}
	b.WriteString("| `http.origins` | | | | hosts of web pages that may open a WebSocket, besides the server's own |\n")
	b.WriteString("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	writeExitCodes(t, &b)
	return b.String()
}

func writeCommands(b *strings.Builder, c *cobra.Command, n *int) {
	for _, sub := range c.Commands() {
		if sub.Name() == "help" || sub.Name() == "completion" || sub.Hidden {
			continue
		}
		*n++
		level := strings.Repeat("#", strings.Count(sub.CommandPath(), " ")+1)
		fmt.Fprintf(b, "\n%s %s\n\n%s.\n", level, sub.CommandPath(), sub.Short)
		if sub.HasSubCommands() {
			writeCommands(b, sub, n)
			continue
		}
		fmt.Fprintf(b, "\n```text\n%s\n```\n", strings.TrimSuffix(sub.UseLine(), " [flags]"))
		if sub.LocalNonPersistentFlags().HasFlags() {
			b.WriteString("\n")
			writeFlags(b, sub.LocalNonPersistentFlags())
		}
	}
}

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		def := ""
		switch f.DefValue {
		case "", "[]", "0", "0s", "false", "-1":
		default:
			def = " (`" + f.DefValue + "`)"
		}
		fmt.Fprintf(b, "* `%s` %s%s\n", name, f.Usage, def)
	})
}

// writeExitCodes reads the constants and their comments from the source.
func writeExitCodes(t *testing.T, b *strings.Builder) {
	tree, err := parser.ParseFile(token.NewFileSet(), "exit.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(tree, func(node ast.Node) bool {
		s, ok := node.(*ast.ValueSpec)
		if !ok || len(s.Names) != 1 || !strings.HasPrefix(s.Names[0].Name, "exit") || len(s.Values) != 1 {
			return true
		}
		value, ok := s.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		n++
		fmt.Fprintf(b, "| %s | %s |\n", value.Value, strings.TrimSpace(s.Comment.Text()))
		return true
	})
	if n < 10 {
		t.Fatalf("%d exit codes found: the search is wrong", n)
	}
}
