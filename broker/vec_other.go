//go:build !linux

package broker

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: only Linux has the vectored write that doesn't wait. Others write through package net.
func rawConn(net.Conn) syscall.RawConn { return nil }

type sysvec struct{}

var errNoRaw = errors.New("no raw connection")

func (*vec) try(syscall.RawConn) (int, error)  { return 0, errNoRaw }
func (*vec) wait(syscall.RawConn) (int, error) { return 0, errNoRaw }
