package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const smallClientDir = "../../docs/device/client"

// TestSmallClientReadme runs the commands of the small client's README, exactly those.
func TestSmallClientReadme(t *testing.T) {
	needTools(t, "bash", "cc", "openssl")
	text, err := os.ReadFile(filepath.Join(smallClientDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := consoleLines(string(text), "Try it")
	if len(lines) < 15 {
		t.Fatalf("%d commands in the section: the extraction is wrong", len(lines))
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs(smallClientDir)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command("bash", "-c", "set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n"+strings.Join(lines, "\n")+"\n")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PORT="+port, "CLIENT="+source, "PATH="+filepath.Dir(builtBinary(t))+":"+os.Getenv("PATH"))
	cmd.WaitDelay = 5 * time.Second
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }) // hangs are seen as failures
	defer timer.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func buildSmallClient(t *testing.T) string {
	t.Helper()
	needTools(t, "cc", "openssl")
	sources, err := filepath.Glob(filepath.Join(smallClientDir, "*.c"))
	if err != nil || len(sources) < 5 {
		t.Fatalf("%d sources, %v", len(sources), err)
	}
	bin := filepath.Join(t.TempDir(), "client")
	args := append([]string{"-std=c11", "-Os", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wstack-usage=512", "-o", bin}, sources...)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// smallScene is a server with one campaign, and the C client as its only device.
type smallScene struct {
	t          *testing.T
	server     *victim
	bin, flash string
	device     struct{ Token, Vendor, Class string }
	author     string // file of the public key that the device trusts
}

// newSmallScene starts the campaign of a payload; the device trusts its author, or somebody else.
func newSmallScene(t *testing.T, payload []byte, foreign bool) *smallScene {
	t.Helper()
	s := &smallScene{t: t, server: newVictim(t), bin: buildSmallClient(t), flash: t.TempDir()}
	s.server.start()
	file := func(name string) string { return filepath.Join(s.server.home, name) }
	if err := os.WriteFile(file("image"), payload, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"author", "stranger"} {
		s.fb(nil, "key", "generate", file(name+".pem"))
		if err := os.WriteFile(file(name+".pub"), s.fb(nil, "key", "public", file(name+".pem")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.author = file("author.pub")
	if foreign {
		s.author = file("stranger.pub")
	}
	s.fb(nil, "manifest", "create", file("image"), "--vendor", "acme.example", "--class", "th-2", "--version", "2.0.0")
	s.fb(nil, "manifest", "sign", file("image.suit"), "--key", file("author.pem"), "--id", "author", "--alg", "ES256")
	s.fb(nil, "trust", "add", "author", file("author.pub"), "--alg", "ES256")
	s.fb(nil, "payload", "push", file("image"))
	var manifest struct{ Digest string }
	s.fb(&manifest, "manifest", "push", file("image.suit"))
	s.fb(&s.device, "device", "add", "dev-1", "--vendor", "acme.example", "--class", "th-2")
	s.fb(nil, "campaign", "create", "small", "--manifest", manifest.Digest, "--device", "dev-1", "--failure", "100")
	s.fb(nil, "campaign", "start", "small")
	return s
}

// fb runs the built binary as the operator and decodes what it prints into v, if that is not nil.
func (s *smallScene) fb(v any, args ...string) []byte {
	s.t.Helper()
	cmd := exec.Command(builtBinary(s.t), append(args, "--context", filepath.Join(s.server.home, "operator.toml"), "-o", "json")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil && v != nil {
		err = json.Unmarshal(out, v)
	}
	if err != nil {
		s.t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// powerOn lets the device live until the function that it returns takes its power.
func (s *smallScene) powerOn() (off func()) {
	s.t.Helper()
	host, port, _ := strings.Cut(s.server.addr, ":")
	cmd := exec.Command(s.bin, host, port, "acme/dev-1", s.device.Token, s.device.Vendor, s.device.Class, s.author)
	cmd.Dir = s.flash
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // it says that it was killed, which we know
	return func() {
		s.t.Helper()
		select {
		case <-ended:
			s.t.Fatalf("the device ended by itself: %s\n%s", cmd.ProcessState, out.Bytes())
		default:
		}
		_ = cmd.Process.Kill() // it may have ended just now
		<-ended
	}
}

// awaitSlot waits until the device has stored so much of the payload.
func (s *smallScene) awaitSlot(size int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if info, err := os.Stat(filepath.Join(s.flash, "slot")); err == nil && info.Size() >= size {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("no %d bytes in the slot\n%s", size, s.server.out.String())
		}
	}
}

// outcome waits for the end of the campaign, and returns the device's state and reason.
func (s *smallScene) outcome() string {
	s.t.Helper()
	wait := exec.Command(builtBinary(s.t), "campaign", "wait", "small", "--for", "stopped", "--timeout", "60s",
		"--context", filepath.Join(s.server.home, "operator.toml"))
	if out, err := wait.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	var list struct {
		Items []struct{ State, Reason string }
	}
	s.fb(&list, "campaign", "devices", "small")
	if len(list.Items) != 1 {
		s.t.Fatalf("%d devices", len(list.Items))
	}
	return strings.TrimSpace(list.Items[0].State + " " + list.Items[0].Reason)
}

func smallPayload() []byte {
	payload := make([]byte, 300_001) // the last chunk is short
	_, _ = rand.NewChaCha8([32]byte{7}).Read(payload)
	return payload
}

// TestSmallClientLosesPower takes the device's power five times and the server's once while the payload is on its way: it
// goes on where it was, and proves the image.
func TestSmallClientLosesPower(t *testing.T) {
	payload := smallPayload()
	s := newSmallScene(t, payload, false)
	for i := int64(1); i <= 5; i++ {
		off := s.powerOn()
		s.awaitSlot(i * 40_000)
		if i == 3 {
			s.server.kill()
			s.server.start()
			s.awaitSlot(i*40_000 + 20_000)
		}
		off()
	}
	off := s.powerOn()
	defer off()
	if got := s.outcome(); got != "confirmed" {
		t.Errorf("the device is %q, want confirmed", got)
	}
	image, err := os.ReadFile(filepath.Join(s.flash, "image"))
	if err != nil || !bytes.Equal(image, payload) {
		t.Errorf("the device runs another image than was signed (%v)", err)
	}
}

// TestSmallClientTrustsItsAuthorOnly: a good signature by the wrong key is none.
func TestSmallClientTrustsItsAuthorOnly(t *testing.T) {
	s := newSmallScene(t, smallPayload(), true)
	off := s.powerOn()
	defer off()
	if got := s.outcome(); got != "rejected signature-invalid" {
		t.Errorf("the device is %q, want rejected signature-invalid", got)
	}
	if _, err := os.Stat(filepath.Join(s.flash, "slot")); err == nil {
		t.Error("it fetched the payload all the same")
	}
}

// TestSmallClientReadsBack changes a stored byte while the power is off: what was verified on arrival is not what would be
// installed.
func TestSmallClientReadsBack(t *testing.T) {
	s := newSmallScene(t, smallPayload(), false)
	off := s.powerOn()
	s.awaitSlot(100_000)
	off()
	slot, err := os.OpenFile(filepath.Join(s.flash, "slot"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := slot.ReadAt(b, 5000); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := slot.WriteAt(b, 5000); err != nil {
		t.Fatal(err)
	}
	if err := slot.Close(); err != nil {
		t.Fatal(err)
	}
	off = s.powerOn()
	defer off()
	if got := s.outcome(); got != "failed digest-mismatch" {
		t.Errorf("the device is %q, want failed digest-mismatch", got)
	}
	if _, err := os.Stat(filepath.Join(s.flash, "image")); err == nil {
		t.Error("it installed the image all the same")
	}
}
