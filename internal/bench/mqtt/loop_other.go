//go:build !linux

package mqtt

import (
	"context"
	"time"
)

// Loop is a set of connections; there is none on this system.
type Loop struct{}

// NewLoop returns ErrUnsupported.
func NewLoop(int, time.Duration) (*Loop, error) { return nil, ErrUnsupported }

// Live is 0.
func (*Loop) Live() int { return 0 }

// Do does nothing.
func (*Loop) Do(func()) {}

// Dial returns a connection that does nothing.
func (*Loop) Dial(Login, Handler) *Conn { return &Conn{} }

// Run returns ErrUnsupported.
func (*Loop) Run(context.Context) error { return ErrUnsupported }

// Conn is a connection; there is none on this system.
type Conn struct{}

// Publish does nothing.
func (*Conn) Publish(string, []byte, byte) uint16 { return 0 }

// Retain does nothing.
func (*Conn) Retain(string, []byte) uint16 { return 0 }

// Subscribe does nothing.
func (*Conn) Subscribe(...string) uint16 { return 0 }

// Disconnect does nothing.
func (*Conn) Disconnect() {}

// Close does nothing.
func (*Conn) Close() {}
