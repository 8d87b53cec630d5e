package selector

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// semver is a semantic version (semver.org 2.0.0) without its build metadata, which orders nothing.
type semver struct {
	numbers [3]uint64
	pre     []string
}

// parseVersion reads a version: a leading v is passed over, a missing minor or patch is 0.
func parseVersion(s string) (semver, error) {
	var v semver
	bad := fmt.Errorf("%q is not a version: want 1.2.3 or 1.2.3-rc.1", clip(s))
	core, _, _ := strings.Cut(strings.TrimPrefix(s, "v"), "+")
	core, pre, has := strings.Cut(core, "-")
	if has {
		v.pre = strings.Split(pre, ".")
		for _, p := range v.pre {
			if p == "" || strings.Trim(p, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
				return v, bad
			}
		}
	}
	parts := strings.Split(core, ".")
	if len(parts) > len(v.numbers) {
		return v, bad
	}
	for i, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" {
			return v, bad
		}
		n, err := strconv.ParseUint(p, 10, 64)
		if err != nil {
			return v, bad
		}
		v.numbers[i] = n
	}
	return v, nil
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

// compare orders two versions by precedence (semver.org, clause 11).
func (v semver) compare(w semver) int {
	for i := range v.numbers {
		if c := cmp.Compare(v.numbers[i], w.numbers[i]); c != 0 {
			return c
		}
	}
	if len(v.pre) == 0 || len(w.pre) == 0 { // one without a pre-release is the newer
		return cmp.Compare(len(w.pre), len(v.pre))
	}
	for i := range min(len(v.pre), len(w.pre)) {
		if c := comparePre(v.pre[i], w.pre[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.pre), len(w.pre))
}

// comparePre orders two identifiers: numbers by value and before all others, the others by their bytes.
func comparePre(a, b string) int {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Compare(x, y)
	case errA == nil:
		return -1
	case errB == nil:
		return 1
	}
	return cmp.Compare(a, b)
}
