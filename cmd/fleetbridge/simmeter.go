package main

import (
	"os"

	"fleetbridge/internal/bench"
)

// simMeter measures both sides of a simulation: this process with those below it, and the server's. Where the system does
// not tell, all is zero.
type simMeter struct {
	client, server sideMeter
}

// sideMeter measures one side; pid 0 is nobody.
type sideMeter struct {
	pid               int
	before, connected bench.Usage
}

func newSimMeter(serverPID int) *simMeter {
	m := &simMeter{client: sideMeter{pid: os.Getpid()}, server: sideMeter{pid: serverPID}}
	m.client.before, m.server.before = m.client.look(), m.server.look()
	return m
}

func (m sideMeter) look() bench.Usage {
	if m.pid == 0 {
		return bench.Usage{}
	}
	u, err := bench.UsageOf(m.pid)
	if err != nil {
		return bench.Usage{}
	}
	return u
}

// connected says that the devices are, and that the campaign begins.
func (m *simMeter) connected() {
	m.client.connected, m.server.connected = m.client.look(), m.server.look()
}

// usage is what a side took for so many connected devices until now.
func (m sideMeter) usage(devices int, campaign bool) *simUsage {
	if m.pid == 0 {
		return nil
	}
	end := m.look()
	u := &simUsage{
		ConnectCPU: seconds(m.connected.CPU - m.before.CPU),
		Bytes:      max(0, m.connected.RSS-m.before.RSS) / int64(devices),
		Peak:       end.Peak,
	}
	if took := end.CPU - m.connected.CPU; campaign {
		u.CampaignCPU, u.CPUEach = seconds(took), milliseconds(took)/float64(devices)
	}
	return u
}
