package simulator_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

const deviceDocs = "../docs/device/README.md"

func readDocs(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(deviceDocs)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var example = regexp.MustCompile("(?s)```json (\\w+)\n(.*?)\n```\n```hex (\\w+)\n(.*?)\n```")

// The example bytes of the device's page are what the codecs write, and say the same in CBOR and in JSON.
func TestDocumentedBytes(t *testing.T) {
	examples := example.FindAllStringSubmatch(readDocs(t), -1)
	if len(examples) < 7 {
		t.Fatalf("%d examples found", len(examples))
	}
	for _, e := range examples {
		cbor, err := hex.DecodeString(strings.ReplaceAll(e[4], "\n", ""))
		if err != nil || e[1] != e[3] {
			t.Errorf("%s and %s: %v", e[1], e[3], err)
			continue
		}
		var inJSON, inCBOR any
		var errs [2]error
		switch e[1] {
		case "hello":
			inJSON, _, errs[0] = topics.DecodeHello([]byte(e[2]))
			inCBOR, _, errs[1] = topics.DecodeHello(cbor)
		case "report":
			inJSON, _, errs[0] = topics.DecodeReport([]byte(e[2]))
			inCBOR, _, errs[1] = topics.DecodeReport(cbor)
		case "fetch":
			inJSON, _, errs[0] = topics.DecodeFetch([]byte(e[2]))
			inCBOR, _, errs[1] = topics.DecodeFetch(cbor)
		case "permit":
			inJSON, _, errs[0] = topics.DecodePermit([]byte(e[2]))
			inCBOR, _, errs[1] = topics.DecodePermit(cbor)
		case "receipt":
			inJSON, _, errs[0] = topics.DecodeReceipt([]byte(e[2]))
			inCBOR, _, errs[1] = topics.DecodeReceipt(cbor)
		default:
			t.Errorf("example of %q", e[1])
			continue
		}
		if errs[0] != nil || errs[1] != nil {
			t.Errorf("%s: %v, %v", e[1], errs[0], errs[1])
		}
		if d := cmp.Diff(inJSON, inCBOR, cmpopts.EquateComparable(ident.Token{})); d != "" {
			t.Errorf("%s: JSON and CBOR differ:\n%s", e[1], d)
		}
		if again, err := topics.Encode(inCBOR, topics.CBOR); err != nil || !bytes.Equal(again, cbor) {
			t.Errorf("%s: the documented bytes are not what is written: %x, %v", e[1], again, err)
		}
	}
}

// The page's table of faults is that of the code, outcome included.
func TestDocumentedFaults(t *testing.T) {
	docs := readDocs(t)
	for _, k := range simulator.Kinds {
		row := regexp.MustCompile("(?m)^\\| `" + string(k) + "` \\|.*\\| (\\w+)[^|]*\\|$").FindStringSubmatch(docs)
		if row == nil {
			t.Errorf("fault %s is not documented", k)
			continue
		}
		if want := (simulator.Fault{Kind: k}).Expect(); row[1] != string(want) {
			t.Errorf("fault %s is documented to end as %s, want %s", k, row[1], want)
		}
	}
}

// Every word and reason of the contract that a device may report is on the page.
func TestDocumentedWords(t *testing.T) {
	docs := readDocs(t)
	words := []topics.Word{topics.WordReceived, topics.WordDeferred, topics.WordDownloading, topics.WordDownloaded, topics.WordInstalling,
		topics.WordRebooting, topics.WordInstalled, topics.WordFailed, topics.WordRejected}
	for _, w := range words {
		if !strings.Contains(docs, "| `"+string(w)+"` |") {
			t.Errorf("state %s is not documented", w)
		}
	}
	reasons := []topics.Reason{topics.ReasonSignatureInvalid, topics.ReasonUnsupportedManifest, topics.ReasonWrongVendor,
		topics.ReasonWrongClass, topics.ReasonVersionNotNewer, topics.ReasonPrecursorMismatch, topics.ReasonNoSpace,
		topics.ReasonBatteryLow, topics.ReasonUserDeclined, topics.ReasonDownloadTimeout, topics.ReasonDigestMismatch,
		topics.ReasonFlashError, topics.ReasonInstallError, topics.ReasonSelfTestFailed, topics.ReasonRolledBack}
	for _, r := range reasons {
		if !strings.Contains(docs, "`"+string(r)+"`") {
			t.Errorf("reason %s is not documented", r)
		}
	}
}
