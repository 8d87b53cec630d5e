package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"fleetbridge/internal/config"
)

func serveCommand(a *app) *cobra.Command {
	var file, profile string
	c := &cobra.Command{Use: "serve", Short: "Run the server: MQTT broker, campaign bridge and store in one process", Args: cobra.NoArgs}
	c.Flags().StringVar(&file, "config", "", "configuration file (env FLEETBRIDGE_CONFIG; default "+defaultConfig+" if it is there)")
	c.Flags().StringVar(&profile, "profile", "", "for benches: SIGUSR1 begins a CPU profile, the next ends it and writes PREFIX.N.cpu and PREFIX.N.heap")
	c.Flags().Lookup("profile").Hidden = true
	given := map[string]*string{}
	for _, set := range config.Settings {
		value, usage := set.Value(config.Defaults()), set.Usage+" (env "+set.Env()+")"
		given[set.Key] = &value
		if set.IsBool() {
			c.Flags().Var((*truth)(&value), set.Flag(), usage)
			c.Flags().Lookup(set.Flag()).NoOptDefVal = "true"
		} else {
			c.Flags().StringVar(&value, set.Flag(), value, usage)
		}
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		conf, err := a.serveConfig(file, func(s config.Setting) (string, bool) {
			return *given[s.Key], cmd.Flags().Changed(s.Flag())
		})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		if profile != "" {
			go profiles(ctx, profile, func(err error) { a.say("warning: %v", err) })
		}
		return a.serve(ctx, conf)
	}
	return c
}

// truth is the text of a setting that its flag shows as a bool: the setting parses it.
type truth string

func (t *truth) Set(s string) error { *t = truth(s); return nil }
func (t *truth) String() string     { return string(*t) }
func (t *truth) Type() string       { return "bool" }

// defaultConfig is read when no flag and no variable names another, if it is there.
const defaultConfig = "fleetbridge/fleetbridge.toml"

// serveConfig lays flags over environment over file over defaults.
func (a *app) serveConfig(file string, flag func(config.Setting) (string, bool)) (config.Serve, error) {
	c := config.Defaults()
	if file == "" {
		file = a.getenv("FLEETBRIDGE_CONFIG")
	}
	named := file != ""
	if !named {
		file = defaultConfig
	}
	read, err := config.ReadServe(file, c)
	switch {
	case err == nil:
		c = read
	case named || !errors.Is(err, os.ErrNotExist):
		return c, &failure{code: exitUsage, err: err}
	}
	if err := config.ApplyEnv(&c, a.getenv); err != nil {
		return c, err
	}
	for _, s := range config.Settings {
		if v, changed := flag(s); changed {
			if err := s.Set(&c, v); err != nil {
				return c, fmt.Errorf("--%s: %w", s.Flag(), err)
			}
		}
	}
	return c, c.Check()
}

// serve runs a server until a signal; a second one ends the process at once.
func (a *app) serve(ctx context.Context, c config.Serve) error {
	s, err := openServer(c, a.logger(c.Log))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	a.say("%s serving %s%s", a.mark("✔", true), s.mqttURL(), prefix("   ", s.httpURL()))
	if c.Insecure {
		a.say("warning: --insecure: tokens cross the network in clear where there is no TLS")
	}
	for stopping := false; ; stopping = true {
		select {
		case err := <-ended:
			return err
		case <-a.interrupts:
			if stopping {
				return &failure{code: exitInterrupted, err: errors.New("stopped at once by a second signal; the store recovers at the next start")}
			}
			a.say("stopping; again to stop at once")
			cancel()
		}
	}
}

func prefix(p, s string) string {
	if s == "" {
		return ""
	}
	return p + s
}

func (a *app) logger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Check has refused any other word
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.stderr, o))
}
