//go:build linux || darwin || freebsd

package badger

import "syscall"

// freeSpace asks for the bytes that an ordinary user may still write on dir's file system.
var freeSpace = func(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(max(st.Bavail, 0)) * uint64(st.Bsize), nil
}
