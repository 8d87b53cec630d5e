package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// randomFile is a file of n bytes that are the same in every run, and its digest.
func randomFile(t *testing.T, n int64) (string, ident.Digest) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "payload.bin")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{7}), n)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	d, _, err := digestFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, d
}

// peakMemory is the most memory in bytes that a process had resident; 0 where the system does not tell.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	fields := strings.Fields(rest)
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// maxResident is what a server may take while payloads go in and out, whatever their size.
const maxResident = 200 << 20

func checkMemory(t *testing.T, pid int, when string) {
	t.Helper()
	n := peakMemory(t, pid)
	t.Logf("%s: the server had at most %d MiB resident", when, n>>20)
	if n > maxResident {
		t.Errorf("%s: the server had %d MiB resident, at most %d", when, n>>20, maxResident>>20)
	}
}

// TestUploadInterruptedTenTimes uploads 200 MiB over MQTT. Five times the client is killed and five times the server, each
// time when more bytes are there; in the end the payload is whole, and nothing was sent from the start again.
func TestUploadInterruptedTenTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const size, blows = 200 << 20, 10
	path, d := randomFile(t, size)
	v := newVictim(t)
	v.start()
	stands := func() int64 {
		name := filepath.Join(v.home, "data", "payloads", "acme", d.Hex()+"."+strconv.Itoa(size)+".part")
		info, err := os.Stat(name)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	push := func() *exec.Cmd {
		cmd := exec.Command(builtBinary(t), "payload", "push", path, "--context", filepath.Join(v.home, "operator.toml"), "--timeout", "1m")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	client := push()
	t.Cleanup(func() {
		if client.ProcessState == nil {
			_, _ = client.Process.Kill(), client.Wait() // a test that failed leaves no process
		}
	})
	last := int64(0)
	for blow := range int64(blows) {
		for deadline := time.Now().Add(time.Minute); stands() < (blow+1)*size/(blows+1); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("blow %d: the upload stands at %d\n%s", blow, stands(), v.out.String())
			}
		}
		if blow%2 == 0 {
			if err := client.Process.Kill(); err != nil {
				t.Fatalf("the client had ended by itself: %v", err)
			}
			_ = client.Wait() // it was killed, which we know
			client = push()
		} else {
			checkMemory(t, v.cmd.Process.Pid, "before its death")
			v.kill()
			v.start()
		}
		if at := stands(); at < last {
			t.Fatalf("blow %d: the upload went back from %d to %d", blow, last, at)
		} else {
			last = at
		}
	}
	if err := client.Wait(); err != nil {
		t.Fatalf("the last client: %v\n%s", err, v.out.String())
	}
	checkMemory(t, v.cmd.Process.Pid, "at the end")
	stored, n, err := digestFile(filepath.Join(v.home, "data", "payloads", "acme", d.Hex()))
	if err != nil || stored != d || n != size {
		t.Errorf("the payload on the disk has %s and %d bytes, %v", stored, n, err)
	}
	var list topics.List[topics.PayloadView]
	if err := v.dial().Do(t.Context(), "payload", "list", topics.Page{}, &list); err != nil || len(list.Items) != 1 || list.Items[0].Digest != d {
		t.Errorf("payloads %+v, %v", list.Items, err)
	}
}

// newWeb is a victim with an HTTP listener, and curl as its operator.
func newWeb(t *testing.T) (v *victim, url string, curl func(args ...string) (status int, body string)) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	v = newVictim(t)
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FLEETBRIDGE_HTTP_LISTEN", addr)
	v.start()
	token := readToken(t, filepath.Join(v.home, "operator.toml"))
	curl = func(args ...string) (int, string) {
		t.Helper()
		out, err := exec.Command("curl", append([]string{"-sS", "-u", "acme/operator:" + token, "-w", "\n%{http_code}"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v\n%s", err, out)
		}
		i := bytes.LastIndexByte(out, '\n')
		status, err := strconv.Atoi(string(out[i+1:]))
		if err != nil {
			t.Fatal(err)
		}
		return status, string(out[:i])
	}
	return v, "http://" + addr, curl
}

// TestUploadAsDocumented runs the example of docs/operations.md: a pipeline that has curl and nothing else.
func TestUploadAsDocumented(t *testing.T) {
	v, url, _ := newWeb(t)
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var script string
	for block := range strings.SplitSeq(string(b), "```sh\n") {
		if text, _, _ := strings.Cut(block, "```"); strings.Contains(text, "--upload-file") {
			script = text
		}
	}
	path, d := randomFile(t, 100_000)
	for from, to := range map[string]string{"lamp-2.5.0.bin": path, "https://fleet.example:8080": url, "acme/ci": "acme/operator"} {
		if !strings.Contains(script, from) {
			t.Fatalf("the example does not say %s:\n%s", from, script)
		}
		script = strings.ReplaceAll(script, from, to)
	}
	cmd := exec.Command("sh", "-e", "-c", script)
	cmd.Env = append(os.Environ(), "TOKEN="+readToken(t, filepath.Join(v.home, "operator.toml")))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), d.String()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestUploadByCurl uploads in parts and whole, and reads back.
func TestUploadByCurl(t *testing.T) {
	v, url, curl := newWeb(t)
	path, d := randomFile(t, 3<<20+17)
	target := url + "/payload/" + d.Hex()
	if status, body := curl("-I", target); status != 404 {
		t.Errorf("HEAD before: %d %s", status, body)
	}
	// An upload that broke off after 1 MiB, and goes on from there as curl does it.
	head := filepath.Join(t.TempDir(), "head.bin")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(head, b[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	if status, body := curl("-T", head, "-H", "Content-Range: bytes 0-1048575/"+strconv.Itoa(len(b)), target); status != 202 {
		t.Errorf("first part: %d %s", status, body)
	}
	if status, body := curl("-I", target); status != 404 || !strings.Contains(body, "Upload-Offset: 1048576") {
		t.Errorf("HEAD: %d %s", status, body)
	}
	for _, want := range []int{201, 200} {
		args := []string{"--upload-file", path, target}
		if want == 201 {
			args = append([]string{"-C", "1048576"}, args...)
		}
		if status, body := curl(args...); status != want || !strings.Contains(body, d.String()) {
			t.Errorf("PUT: %d %s, want %d", status, body, want)
		}
	}
	back := filepath.Join(t.TempDir(), "back.bin")
	if status, _ := curl("-o", back, target); status != 200 {
		t.Errorf("GET: %d", status)
	}
	if got, _, err := digestFile(back); err != nil || got != d {
		t.Errorf("what came back has %s, %v", got, err)
	}
	if status, body := curl("-r", "0-3", target); status != 206 || body != string(b[:4]) {
		t.Errorf("range: %d %q", status, body)
	}
	if status, body := curl("-u", "acme/operator:guess", target); status != 401 || !strings.Contains(body, topics.ProblemUnauthenticated) {
		t.Errorf("wrong token: %d %s", status, body)
	}
	var list topics.List[topics.PayloadView]
	if err := v.dial().Do(t.Context(), "payload", "list", topics.Page{}, &list); err != nil || len(list.Items) != 1 || list.Items[0].Size != int64(len(b)) {
		t.Errorf("payloads %+v, %v", list.Items, err)
	}
}

// TestLargePayloadTakesNoMemory has 256 MiB go in and out over HTTP.
func TestLargePayloadTakesNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	v, url, curl := newWeb(t)
	path, d := randomFile(t, 256<<20)
	began := time.Now()
	if status, body := curl("-T", path, url+"/payload/"+d.Hex()); status != 201 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	t.Logf("PUT of 256 MiB in %s", time.Since(began).Round(time.Millisecond))
	checkMemory(t, v.cmd.Process.Pid, "after PUT")
	began = time.Now()
	if status, _ := curl("-o", os.DevNull, url+"/payload/"+d.Hex()); status != 200 {
		t.Errorf("GET: %d", status)
	}
	t.Logf("GET of 256 MiB in %s", time.Since(began).Round(time.Millisecond))
	checkMemory(t, v.cmd.Process.Pid, "after GET")
}

func readToken(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if k, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.TrimSpace(k) == "token" {
			return strings.Trim(strings.TrimSpace(value), `'"`)
		}
	}
	t.Fatalf("%s has no token", path)
	return ""
}
