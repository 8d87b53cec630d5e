//go:build unix

package main

import "syscall"

// openFileLimit is the process's soft limit, which the runtime has raised to the hard one.
func openFileLimit() (uint64, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(l.Cur), true
}
