package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release; the linker may set it.
var version = "0.1.0-dev"

type versionView struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"` // the topics' version
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
}

// protocol is the second level of every topic.
const protocol = 1

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionView{Version: version, Protocol: protocol, Go: runtime.Version(), Commit: commit()}
			return a.printOne(v, row{"version", v.Version}, row{"protocol", "fleet/v1"}, row{"commit", v.Commit}, row{"go", v.Go})
		}}
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
