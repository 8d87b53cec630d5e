package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/delta"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// TestMatrix makes an update in every way that an author has, with every algorithm, and offers it to devices of every
// capability: each installs it or turns it down as the rule of ends says, and the server knows it with the reason.
func TestMatrix(t *testing.T) {
	x := newMatrix(t)
	cells := 0
	for _, o := range options {
		for _, alg := range algorithms {
			x.update(t, o, alg)
			cells += len(capabilities)
		}
	}
	x.play(t)
	judged := 0
	for _, c := range x.cells {
		c.judge(t)
		judged++
	}
	if want := 12 * 4 * 5; cells != want || judged != want {
		t.Fatalf("%d cells judged of %d, want %d", judged, cells, want)
	}
}

// matrix is one server with an update, a campaign and a class for each option and algorithm; and in each class one device
// for each capability.
type matrix struct {
	cl        *client.Client
	server    string
	old, next []byte
	author    map[cose.Kind]cose.PrivateKey
	anchors   map[cose.Alg]firmware.Anchor
	shared    []byte
	device    *ecdh.PrivateKey
	ids       []simulator.Identity
	campaigns []ident.Campaign
	cells     []*cell
}

// cell is one device.
type cell struct {
	name   string
	device ident.Device
	fleet  *simulator.Fleet
	update authored
	want   ending
	have   topics.AssignmentView
}

// authored is what an author has made.
type authored struct {
	spec       firmware.Spec
	ciphertext []byte
	delta      []byte
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	srv, op, err := openDemo(t.Context(), filepath.Join(t.TempDir(), "home"))
	x := &matrix{server: op.Server, old: seededBytes(1, 20_000), author: map[cose.Kind]cose.PrivateKey{},
		anchors: map[cose.Alg]firmware.Anchor{}, shared: seededBytes(3, 16)}
	x.check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	x.next = slices.Clone(x.old)
	copy(x.next[10_000:], seededBytes(2, 300))
	x.cl, err = client.Dial(t.Context(), op)
	x.check(t, err)
	t.Cleanup(x.cl.Close)
	x.device, err = ecdh.P256().GenerateKey(rand.Reader)
	x.check(t, err)
	x.trust(t)
	x.upload(t, x.next)
	s := &fleetSetup{cl: x.cl, name: "cell", devices: len(options) * len(algorithms) * len(capabilities)}
	x.ids, err = s.provision(t.Context())
	x.check(t, err)
	return x
}

func (x *matrix) check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (x *matrix) do(t *testing.T, noun, verb string, req any) {
	t.Helper()
	if err := x.cl.Do(t.Context(), noun, verb, req, nil); err != nil {
		t.Fatalf("%s %s: %v", noun, verb, err)
	}
}

// trust makes an anchor for each algorithm; two algorithms share a key.
func (x *matrix) trust(t *testing.T) {
	t.Helper()
	for _, alg := range algorithms {
		key, ok := x.author[alg.Kind()]
		if !ok {
			var err error
			key, err = cose.GeneratePrivateKey(alg.Kind(), rand.Reader)
			x.check(t, err)
			x.author[alg.Kind()] = key
		}
		id, err := ident.ParseKey("author-" + alg.String())
		x.check(t, err)
		x.anchors[alg], err = firmware.NewAnchor(id, key.Public(), alg, time.Now())
		x.check(t, err)
		x.do(t, "trust", "add", topics.TrustAdd{ID: id, Key: key.Public().PEM(), Alg: alg.String()})
	}
}

func (x *matrix) upload(t *testing.T, b []byte) {
	t.Helper()
	_, err := pushPayload(t.Context(), x.cl, bytes.NewReader(b), topics.PayloadBegin{Digest: ident.SumDigest(b), Size: int64(len(b))}, func(int64) {})
	x.check(t, err)
}

// update makes, signs and uploads one update, drafts its campaign, and makes its devices.
func (x *matrix) update(t *testing.T, o option, alg cose.Alg) {
	t.Helper()
	n := len(x.campaigns)
	vendor := firmware.VendorID("matrix.example")
	u := authored{spec: firmware.Spec{Vendor: vendor, Class: firmware.ClassID(vendor, fmt.Sprint(n)), Sequence: uint64(time.Now().Unix()),
		Image: ident.SumDigest(x.next), Size: int64(len(x.next))}}
	x.shape(t, &u, o)
	envelope, err := firmware.Create(u.spec)
	x.check(t, err)
	envelope = x.sign(t, envelope, alg)
	if o == optTwo {
		envelope = x.sign(t, envelope, another(alg))
	}
	var m topics.ManifestView
	if err := x.cl.Do(t.Context(), "manifest", "create", topics.ManifestCreate{Envelope: envelope}, &m); err != nil {
		t.Fatalf("%s, %s: %v", o, alg, err)
	}
	id, err := ident.ParseCampaign(fmt.Sprintf("update-%d", n))
	x.check(t, err)
	all := 100.0
	x.do(t, "campaign", "create", topics.CampaignCreate{Campaign: id, Manifest: m.Digest, Policy: topics.Policy{FailurePercent: &all}})
	x.campaigns = append(x.campaigns, id)
	for _, c := range capabilities {
		identity := x.ids[len(x.cells)]
		x.cells = append(x.cells, &cell{name: fmt.Sprintf("%s; %s; %s", o, alg, c), device: identity.Device,
			fleet: x.fleet(t, identity, u.spec.Class, alg, c), update: u, want: ends(o, c)})
	}
}

func (x *matrix) sign(t *testing.T, envelope []byte, alg cose.Alg) []byte {
	t.Helper()
	b, err := firmware.Sign(envelope, x.author[alg.Kind()], alg, x.anchors[alg].ID, rand.Reader)
	x.check(t, err)
	return b
}

// shape gives u the shape of o.
func (x *matrix) shape(t *testing.T, u *authored, o option) {
	t.Helper()
	switch o {
	case optText:
		u.spec.Version, u.spec.Description, u.spec.VendorDomain = "2.0.0", "what is new", "matrix.example"
	case optHTTPS:
		u.spec.URI = "https://fw.example/next.bin"
	case optIntegrated:
		u.spec.Integrated = x.next
	case optDelta:
		x.delta(t, u, x.old)
	case optOtherDelta:
		x.delta(t, u, seededBytes(4, 20_000))
	case optWrapGCM, optSecret:
		x.encrypt(t, u, encrypt.A128GCM, false)
	case optWrapCTR:
		x.encrypt(t, u, encrypt.A128CTR, false)
	case optAgreeGCM:
		x.encrypt(t, u, encrypt.A128GCM, true)
	case optAgreeCTR:
		x.encrypt(t, u, encrypt.A128CTR, true)
	}
	if o == optSecret {
		u.spec.Integrated = u.ciphertext
	}
}

func (x *matrix) delta(t *testing.T, u *authored, from []byte) {
	t.Helper()
	var err error
	u.delta, err = delta.Make(from, x.next)
	x.check(t, err)
	x.upload(t, u.delta)
	u.spec.Deltas = []firmware.Delta{{From: ident.SumDigest(from), FromSize: int64(len(from)),
		Payload: ident.SumDigest(u.delta), Size: int64(len(u.delta))}}
}

func (x *matrix) encrypt(t *testing.T, u *authored, content encrypt.Content, agree bool) {
	t.Helper()
	to, err := encrypt.SharedKey([]byte("site"), x.shared)
	if agree {
		to, err = encrypt.PublicKey([]byte("device"), x.device.PublicKey())
	}
	x.check(t, err)
	var out bytes.Buffer
	info, err := encrypt.Encrypt(&out, bytes.NewReader(x.next), content, []encrypt.Recipient{to}, rand.Reader)
	x.check(t, err)
	u.ciphertext = out.Bytes()
	u.spec.Encrypted = &firmware.Encrypted{Info: info, Payload: ident.SumDigest(u.ciphertext), Size: int64(len(u.ciphertext))}
	x.upload(t, u.ciphertext)
}

// fleet is one device, switched off.
func (x *matrix) fleet(t *testing.T, id simulator.Identity, class uuid.UUID, alg cose.Alg, c capability) *simulator.Fleet {
	t.Helper()
	shared, err := encrypt.DeviceSharedKey([]byte("site"), x.shared)
	x.check(t, err)
	private, err := encrypt.DevicePrivateKey([]byte("device"), x.device)
	x.check(t, err)
	moment := time.Millisecond
	config := simulator.Config{Server: x.server, Devices: []simulator.Identity{id},
		Model: simulator.Model{Vendor: firmware.VendorID("matrix.example"), Class: class, Terse: c == saysNothing,
			Anchors: []firmware.Anchor{x.anchors[alg]}, Keys: []encrypt.Key{shared, private}},
		Image: topics.Installed{Digest: ident.SumDigest(x.old), Sequence: 1}, Images: [][]byte{x.old},
		Timing: simulator.Timing{Spread: moment, Install: moment, Reboot: moment}}
	switch c {
	case saysAnother:
		config.Model.Anchors = []firmware.Anchor{x.anchors[another(alg)]}
	case lacksKey:
		config.Model.Keys = nil
	case lacksOld:
		config.Images = nil
	}
	f, err := simulator.New(config)
	x.check(t, err)
	return f
}

// play gives the devices power, runs all campaigns to their ends, and reads what became of each device.
func (x *matrix) play(t *testing.T) {
	t.Helper()
	ctx, cut := context.WithTimeout(t.Context(), 2*time.Minute)
	var power sync.WaitGroup
	defer power.Wait()
	defer cut()
	for _, c := range x.cells {
		power.Go(func() { _ = c.fleet.Run(ctx) }) // it refuses only a second Run
	}
	for _, c := range x.cells {
		x.check(t, waitReady(ctx, c.fleet))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, id := range x.campaigns {
		g.Go(func() error {
			if err := x.cl.Do(ctx, "campaign", "start", topics.CampaignRef{Campaign: id}, nil); err != nil {
				return err
			}
			_, err := await(ctx, x.cl, id, ended(func(topics.Progress) bool { return false }), 0)
			if !errors.Is(err, errCampaign) { // that it ended is all that is asked
				return err
			}
			return nil
		})
	}
	x.check(t, g.Wait())
	views := map[ident.Device]topics.AssignmentView{}
	for _, id := range x.campaigns {
		for a := range assignments(t, &fleetSetup{cl: x.cl}, id) {
			views[a.Device] = a
		}
	}
	for _, c := range x.cells {
		c.have = views[c.device]
	}
}

// judge compares a cell with the rule: at the server, at the device, and in the bytes between.
func (c *cell) judge(t *testing.T) {
	t.Helper()
	if c.have.State != c.want.state || c.have.Reason != c.want.reason {
		t.Errorf("%s: %s %s (%s), want %s %s", c.name, c.have.State, c.have.Reason, c.have.Detail, c.want.state, c.want.reason)
	}
	if runs := c.fleet.Ledger()[0].Installed.Digest == c.update.spec.Image; runs != (c.want.state == "confirmed") {
		t.Errorf("%s: the device runs the image: %t", c.name, runs)
	}
	want := map[fetched]int64{fetchesImage: c.update.spec.Size, fetchesDelta: int64(len(c.update.delta)),
		fetchesCiphertext: int64(len(c.update.ciphertext))}[c.want.fetched]
	if got := c.fleet.Stats().ChunkBytes; got != want {
		t.Errorf("%s: %d bytes fetched, want those of %s: %d", c.name, got, c.want.fetched, want)
	}
}
