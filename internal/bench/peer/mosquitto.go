package peer

import (
	"context"
	"fmt"
	"net"
	"os"

	"fleetbridge/internal/bench"
)

// mosquittoConf: nothing on disk, no statistics, no bound on what waits for a client, so that nothing is
// dropped; small packets leave at once.
const mosquittoConf = `%[1]slistener %[2]s %[3]s
%[4]s
persistence false
log_type none
sys_interval 0
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
set_tcp_nodelay true
`

// Mosquitto starts mosquitto, which lets everybody in, and returns it with its address. [ErrMissing] if it is not installed.
func Mosquitto(ctx context.Context, b *bench.Bench) (*bench.Proc, string, error) {
	return mosquitto(ctx, b, "allow_anonymous true")
}

// mosquitto starts mosquitto with lines of configuration that say who may connect.
func mosquitto(ctx context.Context, b *bench.Bench, who string) (*bench.Proc, string, error) {
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
	conf, err := write(dir, "mosquitto.conf", fmt.Sprintf(mosquittoConf, asRoot("user root"), port, host, who))
	if err != nil {
		return nil, "", err
	}
	p, err := b.Start(bench.Command{Name: "mosquitto", Path: path, Args: []string{"-c", conf}})
	if err != nil {
		return nil, "", err
	}
	return p, addr, p.Listening(ctx, addr)
}
