//go:build failpoint

package failpoint

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Enabled says whether this build has failpoints.
const Enabled = true

// The variables of the environment that drive failpoints.
const (
	// Env is PLACE#N: the process ends itself when it gets to PLACE for the N-th time.
	Env = "FLEETBRIDGE_FAILPOINT"
	// LogEnv names a file to which every place is appended, one a line, as the process gets there.
	LogEnv = "FLEETBRIDGE_FAILPOINT_LOG"
)

var state = struct {
	sync.Mutex
	place string
	left  int
	log   *os.File
}{}

func init() {
	place, n, _ := strings.Cut(os.Getenv(Env), "#")
	left, err := strconv.Atoi(cmp.Or(n, "1"))
	if err != nil || left < 1 {
		die("%s: want PLACE#N, not %q", Env, os.Getenv(Env))
	}
	state.place, state.left = place, left
	if name := os.Getenv(LogEnv); name != "" {
		if state.log, err = os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			die("open log of failpoints: %v", err)
		}
	}
}

func die(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(3)
}

// At says that the process has got to point, in the situation that detail names; "" for none. The place that Env can name
// is the two with @ between.
func At(point, detail string) {
	if detail != "" {
		point += "@" + detail
	}
	state.Lock()
	defer state.Unlock()
	if state.log != nil {
		if _, err := fmt.Fprintln(state.log, point); err != nil {
			die("write log of failpoints: %v", err)
		}
	}
	if point != state.place {
		return
	}
	if state.left--; state.left > 0 {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		die("end at failpoint: %v", err)
	}
	select {} // with the lock held: nothing that would pass a failpoint goes on
}
