//go:build !failpoint

package failpoint

// Enabled says whether this build has failpoints.
const Enabled = false

// At does nothing in this build.
func At(string, string) {}
