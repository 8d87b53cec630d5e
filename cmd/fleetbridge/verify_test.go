package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetbridge/firmware/cose"
)

// example is one of the draft's envelopes.
type example struct {
	Name     string `json:"name"`
	Envelope string `json:"envelope"`
}

func (e example) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(e.Envelope)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// draftExamples are the envelopes of appendix B of the draft (example 2 also without its severed members), and the file
// of the draft's key, in dir.
func draftExamples(t testing.TB, dir string) (examples []example, keyFile string) {
	t.Helper()
	vectors := filepath.Join("..", "..", "firmware", "testdata", "vectors")
	var f struct{ Vectors []example }
	readJSONFile(t, filepath.Join(vectors, "draft.json"), &f)
	if len(f.Vectors) != 7 {
		t.Fatalf("%d examples, want 7", len(f.Vectors))
	}
	var keys map[string]string
	readJSONFile(t, filepath.Join(vectors, "keys.json"), &keys)
	b, err := hex.DecodeString(keys["draft-p256"])
	if err != nil {
		t.Fatal(err)
	}
	key, err := cose.ParsePublicKey(b)
	if err != nil {
		t.Fatal(err)
	}
	keyFile = filepath.Join(dir, "draft.pub")
	writeTestFile(t, keyFile, key.PEM())
	return f.Vectors, keyFile
}

func readJSONFile(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func writeTestFile(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// runHere runs a command line in this process.
func runHere(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, words bytes.Buffer
	e := env{stdin: strings.NewReader(""), stdout: &out, stderr: &words, getenv: func(string) string { return "" }}
	code = run(t.Context(), e, args)
	return code, out.String(), words.String()
}

// TestVerifyDraftExamples: `manifest verify` ends with 0 on each of the draft's examples, and with 8 on each in which a
// bit of any byte differs. firmware.TestInspectDraft has all eight bits of every byte.
func TestVerifyDraftExamples(t *testing.T) {
	dir := t.TempDir()
	examples, key := draftExamples(t, dir)
	for _, e := range examples {
		good, file := e.bytes(t), filepath.Join(dir, e.Name+".suit")
		writeTestFile(t, file, good)
		code, out, words := runHere(t, "manifest", "verify", "--key", key, file)
		if code != exitOK || !strings.Contains(out, "ES256, no key identifier: verified by "+key) || !strings.Contains(out, "server    would refuse it: ") {
			t.Errorf("%s: exit code %d\n%s%s", e.Name, code, out, words)
		}
		for i := range good {
			flipped := slices.Clone(good)
			flipped[i] ^= 1 << (i % 8)
			writeTestFile(t, file, flipped)
			if code, out, words := runHere(t, "manifest", "verify", "--key", key, file); code != exitVerify || out != "" || !strings.HasPrefix(words, "error: ") {
				t.Errorf("%s, byte %d changed: exit code %d\n%s%s", e.Name, i, code, out, words)
			}
		}
	}
}

// TestVerifyBuilt is the same on the built program, with one bit in the middle of each example.
func TestVerifyBuilt(t *testing.T) {
	dir := t.TempDir()
	examples, key := draftExamples(t, dir)
	for _, e := range examples {
		b, file := e.bytes(t), filepath.Join(dir, e.Name+".suit")
		writeTestFile(t, file, b)
		if out, err := exec.Command(builtBinary(t), "manifest", "verify", "--key", key, file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", e.Name, err, out)
		}
		b[len(b)/2] ^= 1
		writeTestFile(t, file, b)
		cmd := exec.Command(builtBinary(t), "manifest", "verify", "--key", key, file)
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitVerify {
			t.Errorf("%s, one bit changed: %v\n%s", e.Name, err, out)
		}
	}
}
