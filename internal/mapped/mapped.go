// Package mapped copies bytes that lie in a mapped file. Such bytes are read from the disk when they are touched, and where
// that fails, or the file was cut off meanwhile, the system sends a signal that ends the process. Here it is an error.
//
// Whoever only hands such bytes to a system call needs none of this: the system answers EFAULT.
package mapped

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrFault is wrapped where bytes of a mapping could not be read.
var ErrFault = errors.New("mapped bytes can't be read")

// Append appends each of parts to dst. After an error, which wraps ErrFault, dst is as it was.
func Append(dst []byte, parts ...[]byte) (out []byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of this goroutine only
	defer func() {
		if p := recover(); p != nil { // nothing below fails in another way
			out, err = dst, fmt.Errorf("%w: %v", ErrFault, p)
		}
	}()
	out = dst
	for _, p := range parts {
		out = append(out, p...)
	}
	return out, nil
}
