package main

import (
	"fmt"
	"strings"
	"time"
)

// simResult is what `sim run` measured.
type simResult struct {
	result
	// The campaign alone: from its start to its end.
	CampaignSeconds float64 `json:"campaign_s,omitempty"`
	DevicesPerSec   float64 `json:"devices_per_s,omitempty"`
	BytesPerSec     float64 `json:"bytes_per_s,omitempty"`
	ReportsPerSec   float64 `json:"reports_per_s,omitempty"`
	PubackP50       float64 `json:"puback_p50_ms"` // report to PUBACK, as devices saw it
	PubackP99       float64 `json:"puback_p99_ms"`
	ConnectSeconds  float64 `json:"connect_s"`
	Processes       int     `json:"processes"` // that shared the devices

	// What the simulator took; with --local the server, too, which is the same process then.
	Client *simUsage `json:"client"`
	// What the server took, with --server-pid.
	Server *simUsage `json:"server,omitempty"`

	local bool
}

// simUsage is what one side of a simulation took.
type simUsage struct {
	ConnectCPU  float64 `json:"connect_cpu_s"`     // while the fleet connected
	CampaignCPU float64 `json:"cpu_s"`             // from then to the end of the campaign
	CPUEach     float64 `json:"cpu_ms_per_device"` // of the campaign
	Bytes       int64   `json:"bytes_per_device"`  // of memory: growth while the fleet connected
	Peak        int64   `json:"peak_bytes"`        // of memory, the most of the whole run
}

func (r simResult) rows() []row {
	rows := []row{{"campaign", r.Campaign}, {"outcome", strings.TrimSpace(r.Outcome + " " + r.reason)}}
	if r.Campaign != "" {
		rows = append(rows,
			row{"devices", fmt.Sprintf("%d: %d confirmed, %d failed, %d silent, %d skipped%s", r.Devices, r.Confirmed, r.Failed, r.Silent, r.Skipped, withdrawnText(r.Withdrawn))},
			row{"took", fmt.Sprintf("%.1f s", r.CampaignSeconds)},
			row{"throughput", fmt.Sprintf("%.0f devices/s, %s/s, %.0f reports/s", r.DevicesPerSec, bytesText(int64(r.BytesPerSec)), r.ReportsPerSec)},
			row{"reports", fmt.Sprintf("%d acknowledged, %d recorded", r.Acknowledged, r.Recorded)},
			row{"report to PUBACK", fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", r.PubackP50, r.PubackP99)},
			row{"chunks", fmt.Sprintf("%d, %s, %d received twice", r.stats.Chunks, bytesText(r.ChunkBytes), r.stats.ChunksAgain)})
	}
	rows = append(rows, row{"connected in", fmt.Sprintf("%.1f s", r.ConnectSeconds)})
	client := "simulator"
	if r.Processes > 1 {
		client = fmt.Sprintf("%d simulators", r.Processes)
	}
	if r.local {
		client += " and server"
	}
	rows = append(rows, r.Client.rows(client)...)
	if r.Server != nil {
		rows = append(rows, r.Server.rows("server")...)
	}
	return rows
}

// rows are nothing where the system does not tell.
func (u *simUsage) rows(who string) []row {
	if u.Peak == 0 {
		return nil
	}
	cpu := fmt.Sprintf("%.2f s to connect", u.ConnectCPU)
	if u.CPUEach > 0 {
		cpu += fmt.Sprintf(", %.2f s in the campaign, %.3f ms per device", u.CampaignCPU, u.CPUEach)
	}
	memory := fmt.Sprintf("%s per connected device, peak %s in all", bytesText(u.Bytes), bytesText(u.Peak))
	return []row{{"memory, " + who, memory}, {"cpu, " + who, cpu}}
}

// seconds is a duration for people and JSON: to the millisecond.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
