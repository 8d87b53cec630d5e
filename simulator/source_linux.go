package simulator

import (
	"net"
	"net/netip"
	"syscall"
)

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT of ip(7).
const ipBindAddressNoPort = 24

// bindSource makes d connect from an address of 127.0.0.0/8, all of which Linux has. The port is chosen at connect, when the
// kernel may reuse one of another connection, not at bind, when it may not.
func bindSource(d *net.Dialer, from netip.Addr) {
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	d.Control = func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_IP, ipBindAddressNoPort, 1)
		}); e != nil {
			return e
		}
		return err
	}
}
