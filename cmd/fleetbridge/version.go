package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

// version is the release; the linker may set it.
var version = "0.1.0-dev"

type versionView struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"` // the topics' version
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionView{Version: version, Protocol: topics.Version, Go: runtime.Version(), Commit: commit()}
			return a.printOne(v, row{"version", v.Version}, row{"protocol", protocolText(v.Protocol)}, row{"commit", v.Commit}, row{"go", v.Go})
		}}
}

func protocolText(v int) string { return fmt.Sprintf("fleet/v%d", v) }

func serverInfo(a *app) *cobra.Command {
	return &cobra.Command{Use: "info", Short: "Print the version, protocol and limits of the server", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			var v topics.ServerInfo
			if err := cl.Do(ctx, "server", "info", topics.None{}, &v); err != nil {
				return err
			}
			return a.printOne(v, row{"version", v.Version}, row{"protocol", protocolText(v.Protocol)},
				row{"max append", bytesText(v.MaxAppend)}, row{"max packet", bytesText(int64(v.MaxPacket))})
		})}
}

// commit is what the go command stamped into the binary, "" where it did not.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var rev, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	return rev + dirty
}
