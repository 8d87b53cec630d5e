//go:build !linux

package simulator

import (
	"net"
	"net/netip"
)

// bindSource does nothing where 127.0.0.2 and its like are not there by themselves.
func bindSource(*net.Dialer, netip.Addr) {}
