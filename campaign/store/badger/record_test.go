package badger

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// TestManifestRecordOfBeforeFetches: a manifest stored before manifests had fetches is one whose image is fetched.
func TestManifestRecordOfBeforeFetches(t *testing.T) {
	image := ident.SumDigest([]byte("image"))
	old := manifestRecord{Digest: digestBytes(image), Vendor: make([]byte, 16), Class: make([]byte, 16), Image: digestBytes(image), Size: 5, URI: "payload/x"}
	m, err := old.domain()
	if err != nil {
		t.Fatal(err)
	}
	want := []firmware.Fetch{{Role: firmware.RoleImage, Digest: image, Size: 5, URI: "payload/x"}}
	if diff := cmp.Diff(want, m.Fetches); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := manifestRecordOf(m).domain()
	if diff := cmp.Diff(m, again); diff != "" || err != nil {
		t.Errorf("written again (-want +got):\n%s%v", diff, err)
	}
}
