//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package firmware

import (
	"math"
	"os"
	"syscall"
)

// mapFile maps the first size bytes of a file for reading; nil where that fails: address space may be short, and ReadAt does
// the same for more.
func mapFile(f *os.File, size int64) (mapped []byte) {
	if size == 0 || size > math.MaxInt {
		return nil
	}
	c, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	err = c.Control(func(fd uintptr) {
		mapped, _ = syscall.Mmap(int(fd), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	})
	if err != nil {
		return nil
	}
	return mapped
}

// unmapFile ends a mapping. It fails for what is none only.
func unmapFile(mapped []byte) {
	if mapped != nil {
		_ = syscall.Munmap(mapped)
	}
}
