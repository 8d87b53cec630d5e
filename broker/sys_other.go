//go:build !linux

package broker

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: only on Linux sockets are read and written without waiting. Others go through package net.
func rawConn(net.Conn) syscall.RawConn { return nil }

type (
	sysvec    struct{}
	rawReader struct{}
)

var errNoRaw = errors.New("no raw connection")

func (*vec) try(syscall.RawConn) (int, error)        { return 0, errNoRaw }
func (*vec) wait(syscall.RawConn) (int, error)       { return 0, errNoRaw }
func (*reader) readRaw(syscall.RawConn) (int, error) { return 0, errNoRaw }
