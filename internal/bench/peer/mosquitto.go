package peer

import (
	"context"
	"fmt"
	"net"
	"os"

	"fleetbridge/internal/bench"
)

// mosquittoConf: nothing on disk, no authentication, no statistics, no bound on what waits for a client, so that nothing is
// dropped; small packets leave at once.
const mosquittoConf = `%[1]slistener %[2]s %[3]s
allow_anonymous true
persistence false
log_type none
sys_interval 0
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
set_tcp_nodelay true
`

// Mosquitto starts mosquitto, and returns it with its address. [ErrMissing] if it is not installed.
func Mosquitto(ctx context.Context, b *bench.Bench) (*bench.Proc, string, error) {
	path, err := find("mosquitto")
	if err != nil {
		return nil, "", err
	}
	addr, err := bench.FreeAddr()
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp(b.Dir, "mosquitto-")
	if err != nil {
		return nil, "", fmt.Errorf("make folder: %w", err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	conf, err := write(dir, "mosquitto.conf", fmt.Sprintf(mosquittoConf, asRoot("user root"), port, host))
	if err != nil {
		return nil, "", err
	}
	p, err := b.Start(bench.Command{Name: "mosquitto", Path: path, Args: []string{"-c", conf}})
	if err != nil {
		return nil, "", err
	}
	return p, addr, p.Listening(ctx, addr)
}
