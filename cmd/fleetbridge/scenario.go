package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/google/uuid"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// fleetSetup is a fleet and the one update that it is to get, set up through the public commands.
type fleetSetup struct {
	cl      *client.Client
	name    string // prefix of everything that is made: campaign, devices, key, model
	devices int
	seed    uint64
	mix     simulator.Mix
	size    int64
	paho    int  // every n-th device speaks MQTT 5 through paho.golang
	permits bool // devices ask before they install
	chunk   uint32
	window  uint32 // chunks of a fetch; 0 as chunk: what the simulator takes
	flash   flash

	vendor, class uuid.UUID
	anchor        firmware.Anchor
	manifest      topics.ManifestView
}

const (
	simVendor  = "fleetbridge.example"
	simVersion = "2.0.0"
	// batch is how many credentials one command makes.
	batch = topics.MaxCredentials
)

// publish makes an ephemeral key, trusts it, and uploads a payload drawn from the seed with its signed manifest.
func (s *fleetSetup) publish(ctx context.Context) error {
	key, err := s.trustKey(ctx)
	if err != nil {
		return err
	}
	s.manifest, err = s.release(ctx, key, simVersion, s.seed, uint64(time.Now().Unix()))
	return err
}

// trustKey makes the author's key, and a model of devices that trust it, as does the tenant.
func (s *fleetSetup) trustKey(ctx context.Context) (key cose.PrivateKey, err error) {
	s.vendor = firmware.VendorID(simVendor)
	s.class = firmware.ClassID(s.vendor, s.name)
	if key, err = cose.GeneratePrivateKey(cose.P256, rand.Reader); err != nil {
		return key, err
	}
	id, err := ident.ParseKey(s.name + "-key")
	if err != nil {
		return key, err
	}
	alg := cose.DefaultAlg(key.Public())
	if s.anchor, err = firmware.NewAnchor(id, key.Public(), alg, time.Now()); err != nil {
		return key, err
	}
	if err := s.cl.Do(ctx, "trust", "add", topics.TrustAdd{ID: id, Key: key.Public().PEM(), Alg: alg.String()}, nil); err != nil {
		return key, fmt.Errorf("add trust anchor: %w", err)
	}
	return key, nil
}

// release uploads a payload drawn from seed, and its signed manifest.
func (s *fleetSetup) release(ctx context.Context, key cose.PrivateKey, version string, seed, sequence uint64) (topics.ManifestView, error) {
	var v topics.ManifestView
	payload := seededBytes(seed, s.size)
	digest := ident.SumDigest(payload)
	begin := topics.PayloadBegin{Digest: digest, Size: s.size, Name: s.name + " " + version}
	if _, err := pushPayload(ctx, s.cl, bytes.NewReader(payload), begin, func(int64) {}); err != nil {
		return v, fmt.Errorf("upload payload: %w", err)
	}
	envelope, err := firmware.Create(firmware.Spec{Vendor: s.vendor, Class: s.class, Sequence: sequence,
		Image: digest, Size: s.size, Version: version})
	if err != nil {
		return v, err
	}
	if envelope, err = firmware.Sign(envelope, key, s.anchor.Alg, s.anchor.ID, rand.Reader); err != nil {
		return v, err
	}
	if err := s.cl.Do(ctx, "manifest", "create", topics.ManifestCreate{Envelope: envelope}, &v); err != nil {
		return v, fmt.Errorf("upload manifest: %w", err)
	}
	return v, nil
}

// seededBytes are n bytes that depend on the seed only.
func seededBytes(seed uint64, n int64) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	mathrand.NewChaCha8(key).Read(b) // never fails
	return b
}

// provision makes a credential for every device. Devices that never connect are registered as well: nothing else would
// tell the server that they are there.
func (s *fleetSetup) provision(ctx context.Context) ([]simulator.Identity, error) {
	out := make([]simulator.Identity, 0, s.devices)
	for from := 0; from < s.devices; from += batch {
		req := topics.CredentialAdd{Role: topics.RoleDevice}
		for i := from; i < min(from+batch, s.devices); i++ {
			n, err := ident.ParseName(fmt.Sprintf("%s-%05d", s.name, i))
			if err != nil {
				return nil, err
			}
			req.Names = append(req.Names, n)
		}
		var issued topics.CredentialIssued
		if err := s.cl.Do(ctx, "credential", "add", req, &issued); err != nil {
			return nil, provisionError(err)
		}
		if len(issued.Items) != len(req.Names) {
			return nil, fmt.Errorf("asked for %d credentials, got %d", len(req.Names), len(issued.Items))
		}
		for i, item := range issued.Items {
			id := simulator.Identity{Tenant: s.cl.Tenant(), User: item.User, Token: item.Token}
			var err error
			if id.Device, err = ident.ParseDevice(req.Names[i].String()); err != nil {
				return nil, err
			}
			if err := s.register(ctx, id.Device); err != nil {
				return nil, err
			}
			out = append(out, id)
		}
	}
	return out, nil
}

func provisionError(err error) error {
	var p *topics.Problem
	if errors.As(err, &p) && p.Type == topics.ProblemAlreadyExists {
		return &failure{code: exitConflict, err: fmt.Errorf("make credentials: %w", err),
			hint: "devices of an earlier run have these names: give this run another --name"}
	}
	return fmt.Errorf("make credentials: %w", err)
}

func (s *fleetSetup) register(ctx context.Context, d ident.Device) error {
	if simulator.Plan(s.seed, s.cl.Tenant().String()+"/"+d.String(), s.mix).Kind != simulator.Absent {
		return nil
	}
	if err := s.cl.Do(ctx, "device", "add", topics.DeviceAdd{Device: d, Vendor: s.vendor, Class: s.class}, nil); err != nil {
		return fmt.Errorf("register %s: %w", d, err)
	}
	return nil
}

// fleet makes the devices, switched off.
func (s *fleetSetup) fleet(server string, devices []simulator.Identity) (*simulator.Fleet, error) {
	return simulator.New(s.config(server, devices))
}

func (s *fleetSetup) config(server string, devices []simulator.Identity) simulator.Config {
	c := simulator.Config{
		Server: server, TLS: s.cl.TLS(), Devices: devices, Seed: s.seed, Faults: s.mix, PahoEvery: s.paho, Permits: s.permits,
		ChunkSize: s.chunk, Window: s.window,
		Model:  simulator.Model{Vendor: s.vendor, Class: s.class, Anchors: []firmware.Anchor{s.anchor}},
		Target: topics.Installed{Digest: s.manifest.Payload, Sequence: s.manifest.Sequence, Version: simVersion},
	}
	s.flash.into(&c)
	return c
}

// faults counts what will go wrong with how many devices.
func (s *fleetSetup) faults(devices []simulator.Identity) map[simulator.Kind]int {
	n := map[simulator.Kind]int{}
	for _, d := range devices {
		n[simulator.Plan(s.seed, d.Tenant.String()+"/"+d.Device.String(), s.mix).Kind]++
	}
	return n
}

// campaign creates the campaign and starts it.
func (s *fleetSetup) campaign(ctx context.Context, p topics.Policy) (ident.Campaign, error) {
	id, err := ident.ParseCampaign(s.name)
	if err != nil {
		return id, err
	}
	req := topics.CampaignCreate{Campaign: id, Manifest: s.manifest.Digest, Policy: p, Description: "update of " + s.name + " to " + simVersion}
	if err := s.cl.Do(ctx, "campaign", "create", req, nil); err != nil {
		return id, fmt.Errorf("create campaign: %w", err)
	}
	if err := s.cl.Do(ctx, "campaign", "start", topics.CampaignRef{Campaign: id}, nil); err != nil {
		return id, fmt.Errorf("start campaign: %w", err)
	}
	return id, nil
}

// waitReady waits until every device of a fleet in this process has been heard.
func waitReady(ctx context.Context, f *simulator.Fleet) error {
	select {
	case <-f.Ready():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(readyWithin):
		return notReady(f.Stats())
	}
}

// readyWithin is how long a fleet may take to connect.
const readyWithin = 2 * time.Minute

// simPolicy is a policy for devices that take seconds: what does not answer an offer soon is silent. The gate is low
// enough that a small first wave with one bad device does not end the campaign.
func simPolicy(waves []topics.Wave, silentAfter time.Duration) topics.Policy {
	success, failure := 60.0, 30.0
	rest := topics.Duration(2 * time.Minute)
	return topics.Policy{Waves: waves, SuccessPercent: &success, FailurePercent: &failure, Within: topics.Duration(time.Hour),
		Deadlines: topics.Deadlines{Offered: topics.Duration(silentAfter), Received: rest, Downloading: rest,
			Downloaded: rest, Installing: rest, Rebooting: rest}}
}
