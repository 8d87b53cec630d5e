//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// openFileLimit is the process's soft limit, which the runtime has raised to the hard one.
func openFileLimit() (uint64, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(l.Cur), true
}

// othersRead reports whether a file can be read by others than its owner. What is no file, such as the pipe of a
// program that keeps the secret, has no others.
func othersRead(m fs.FileMode) bool { return m.IsRegular() && m.Perm()&0o077 != 0 }
