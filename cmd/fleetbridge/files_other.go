//go:build !unix

package main

import "io/fs"

func openFileLimit() (uint64, bool) { return 0, false }

// othersRead knows nothing of access control lists.
func othersRead(fs.FileMode) bool { return false }
