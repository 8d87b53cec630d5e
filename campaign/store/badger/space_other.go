//go:build !(linux || darwin || freebsd)

package badger

// freeSpace is unknown here: give Options.Free.
var freeSpace func(dir string) (uint64, error)
