package simulator

import (
	"net"
	"net/netip"
)

// perSource is how many devices connect from one loopback address. The system has some 28,000 ports for connections from
// one address to one server, and a device that reboots leaves its old port taken for a while.
const perSource = 16_000

// loopbackSource is the address from which device i connects to server; zero leaves it to the system. Only servers on
// 127.0.0.0/8 are so near that all of a fleet's connections have one source.
func loopbackSource(server string, i int) netip.Addr {
	to, err := netip.ParseAddr(server)
	n := i / perSource
	if err != nil || !to.Is4() || !to.IsLoopback() || n == 0 || n >= 250 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + n)})
}

// dialer is how device i reaches the server. MQTT's keep-alive watches the connection; TCP's own would wake both ends of
// every idle one each 15 s.
func (c Config) dialer(server string, i int) *net.Dialer {
	d := &net.Dialer{KeepAlive: -1}
	if from := loopbackSource(server, i); from.IsValid() {
		bindSource(d, from)
	}
	return d
}
