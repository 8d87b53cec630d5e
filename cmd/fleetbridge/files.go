package main

// Files that are no client's: sockets that have not said CONNECT, the store's tables and logs, open payloads, listeners.
const reservedFiles = 1024

// clientLimit is how many clients fit under the process's limit of open files, at most want, and whether that is fewer.
// Without it, strangers' sockets could take the descriptors that the store needs for its next table.
func clientLimit(want int) (int, bool) {
	files, known := openFileLimit()
	if !known || files >= uint64(want)+reservedFiles {
		return want, false
	}
	if files < 2*reservedFiles {
		return int(files / 2), true
	}
	return int(files - reservedFiles), true
}
