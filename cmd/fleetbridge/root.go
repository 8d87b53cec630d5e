package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
)

// app is one run of the program: its world and its global flags.
type app struct {
	env
	contextFile string
	output      string
	timeout     time.Duration
	quiet       bool
	noColor     bool

	// started says that arguments and flags were good: an error before that is one of usage.
	started bool
}

// defaultContext is used when no flag and no variable names another, if it is there.
const defaultContext = "fleetbridge/operator.toml"

// run executes one command line and returns its exit code.
func run(ctx context.Context, e env, args []string) int {
	a := &app{env: e}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !a.started {
		err = &failure{code: exitUsage, err: err, hint: "`fleetbridge help` lists the commands, --help a command's flags"}
	}
	a.printError(err)
	return exitCode(err)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "fleetbridge",
		Short: "Update fleets of devices over MQTT",
		Long: "fleetbridge updates fleets of devices that speak only MQTT: it puts signed manifests on their topics, serves\n" +
			"payloads in chunks, and records every acknowledgement before it is answered.\n\n" +
			"See it work:   fleetbridge demo\nRun a server:  fleetbridge init && fleetbridge serve",
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkGlobals(c.Annotations[formatAnnotation]); err != nil {
				return err
			}
			if err := noNegativeTimes(c); err != nil {
				return err
			}
			a.started = true
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.contextFile, "context", "", "context file: server, user and token (env FLEETBRIDGE_CONTEXT; default "+defaultContext+")")
	f.StringVarP(&a.output, "output", "o", "table", "table, json or jsonl")
	f.DurationVar(&a.timeout, "timeout", client.DefaultTimeout, "how long a command waits for its reply")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing on stderr but errors")
	f.BoolVar(&a.noColor, "no-color", false, "no colour (also with NO_COLOR set)")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		versionCommand(a), initCommand(a), serveCommand(a), demoCommand(a),
		tenantCommand(a), credentialCommand(a), trustCommand(a), keyCommand(a), manifestCommand(a), payloadCommand(a),
		deviceCommand(a), selectorCommand(a), campaignCommand(a), simCommand(a), serverCommand(a), quotaCommand(a), benchCommand(a),
	)
	polish(root)
	a.complete(root)
	return root
}

// noNegativeTimes refuses them for every flag that is a duration.
func noNegativeTimes(c *cobra.Command) error {
	var err error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "duration" && strings.HasPrefix(f.Value.String(), "-") {
			err = usagef("--%s %s: a time can't be negative", f.Name, f.Value)
		}
	})
	return err
}

// polish gives every command below c errors that name the argument that is missing, and hides the defaults that stand
// for "not given".
func polish(c *cobra.Command) {
	for _, sub := range c.Commands() {
		polish(sub)
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.DefValue == "-1" {
			f.DefValue = "0"
		}
	})
	needed := arguments(c.Use)
	check := c.Args
	if check == nil || len(needed) == 0 {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		_, path, _ := strings.Cut(c.CommandPath(), " ")
		switch {
		case err == nil:
			return nil
		case len(args) < len(needed):
			return fmt.Errorf("%s needs %s", path, strings.Join(needed[len(args):], " and "))
		}
		return fmt.Errorf("%s takes %s, not %d arguments", path, strings.Join(needed, " and "), len(args))
	}
}

// arguments are the words of a use line that must be given: those before the first flag or optional word.
func arguments(use string) []string {
	words := strings.Fields(use)[1:]
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") || strings.HasPrefix(w, "[") }); i >= 0 {
		words = words[:i]
	}
	return words
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(commands...)
	return c
}

// formatAnnotation of a command names an output format that it knows besides those of all.
const formatAnnotation = "format"

func (a *app) checkGlobals(more string) error {
	switch a.output {
	case "table", "json", "jsonl":
	case more:
	default:
		wrong := a.output
		a.output = "table"
		return fmt.Errorf("--output %q: table, json or jsonl", wrong)
	}
	if a.timeout <= 0 {
		return fmt.Errorf("--timeout %v: must be above 0", a.timeout)
	}
	return nil
}

// connect dials the server of the context.
func (a *app) connect(ctx context.Context) (*client.Client, error) {
	c, err := a.readContext()
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, c)
}

func (a *app) readContext() (client.Context, error) {
	path := a.contextFile
	if path == "" {
		path = a.getenv("FLEETBRIDGE_CONTEXT")
	}
	if path == "" {
		path = defaultContext
	}
	c, err := config.ReadContext(path)
	if errors.Is(err, os.ErrNotExist) {
		return client.Context{}, &failure{code: exitUsage, err: err,
			hint: "`fleetbridge init` makes one; --context or FLEETBRIDGE_CONTEXT names another"}
	}
	if err != nil {
		return client.Context{}, err
	}
	return client.Context{Server: c.Server, User: c.User, Token: string(c.Token), CA: c.CA, Timeout: a.timeout}, nil
}

// withClient is the body of a command that needs a server.
func (a *app) withClient(fn func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.untilInterrupted(cmd.Context())
		defer cancel()
		c, err := a.connect(ctx)
		if err != nil {
			return orInterrupted(ctx, err)
		}
		defer c.Close()
		return orInterrupted(ctx, fn(ctx, c, args))
	}
}

// orInterrupted is err, or the interruption that caused it.
func orInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, errCampaign) {
		return ctx.Err()
	}
	return err
}

// untilInterrupted is ctx, ended by the first signal.
func (a *app) untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.interrupts:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// say writes a line of words to stderr, unless --quiet.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// terminal reports whether w is one, so that something may move on it.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// defaultWidth is how many columns a terminal is taken to have that does not say.
const defaultWidth = 80

// width is how many columns a line on w may have.
func width(w any) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return defaultWidth
}

// mark is a word or sign in colour, where colour is wanted; the sign alone says the same.
func (a *app) mark(sign string, good bool) string {
	if a.noColor || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" || !terminal(a.stderr) {
		return sign
	}
	colour := "31"
	if good {
		colour = "32"
	}
	return "\x1b[" + colour + "m" + sign + "\x1b[0m"
}

// pairs parses k=v arguments.
func pairs(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usagef("--%s %q: want name=value", flag, s)
		}
		out[k] = v
	}
	return out, nil
}
