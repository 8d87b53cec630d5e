package topics_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

var update = flag.Bool("update", false, "rewrite golden files and the generated parts of docs/topics")

func principal(tenant string, role topics.Role, name string) topics.Principal {
	return topics.Principal{Tenant: ident.MustTenant(tenant), Role: role, Name: must(ident.ParseName(name))}
}

// columns are the principals of the golden matrix, each in its own tenant.
var columns = []topics.Principal{
	principal("acme", topics.RoleDevice, "d1"),
	principal("acme", topics.RoleOperator, "op"),
	principal("acme", topics.RoleViewer, "eve"),
	principal("system", topics.RoleAdmin, "chief"),
}

// names are concrete topics of every channel: own and other device, client and tenant.
func names() []string {
	var out []string
	for _, s := range topics.Channels {
		for _, tenant := range []string{"acme", "evil", "system"} {
			r := strings.NewReplacer("{tenant}", tenant, "{device}", "d1", "{token}", "t1", "{index}", "0",
				"{noun}", "campaign", "{verb}", "start", "{client}", "op", "{campaign}", "c1")
			out = append(out, r.Replace(s.Pattern))
		}
		if strings.Contains(s.Pattern, "{device}") {
			out = append(out, strings.NewReplacer("{tenant}", "acme", "{device}", "d10", "{token}", "t1", "{index}", "0").Replace(s.Pattern))
		}
	}
	return append(out,
		"fleet/v1/acme/device/d1/chunk/t1/error",
		"fleet/v1/acme/command/campaign/get", "fleet/v1/acme/command/credential/list", "fleet/v1/acme/command/no/such",
		"fleet/v1/system/command/tenant/add",
		"fleet/v1/acme/reply/op/x", "fleet/v1/acme/reply/eve", "fleet/v1/acme/reply/chief", "fleet/v1/acme/reply/d1",
		"fleet/v1/system/reply/chief", "fleet/v1/system/reply/chief/x",
		"fleet/v1/acme/device/D1/hello", "fleet/v1/ACME/device/d1/hello", "fleet/v1/acme/device/d1/", "$SYS/broker/version",
	)
}

var filters = []string{
	"#", "+/#", "fleet/#", "fleet/v1/#", "fleet/v1/+/device/d1/manifest", "fleet/v1/acme", "fleet/v1/acme/#",
	"fleet/v1/acm/#", "fleet/v1/acme2/#", "fleet/v1/evil/#", "fleet/v1/system/#", "fleet/v1/acme/+/d1/hello",
	"fleet/v1/acme/device/#", "fleet/v1/acme/device/+/manifest", "fleet/v1/acme/device/d1/#", "fleet/v1/acme/device/d1/+",
	"fleet/v1/acme/device/d1/hello", "fleet/v1/acme/device/d1/manifest", "fleet/v1/acme/device/d1/report",
	"fleet/v1/acme/device/d1/receipt", "fleet/v1/acme/device/d1/fetch", "fleet/v1/acme/device/d1/permit",
	"fleet/v1/acme/device/d1/chunk", "fleet/v1/acme/device/d1/chunk/#", "fleet/v1/acme/device/d1/chunk/+/+",
	"fleet/v1/acme/device/d1/chunk/t1/+", "fleet/v1/acme/device/d1/chunk/t1/#", "fleet/v1/acme/device/d1/chunk/t1/0",
	"fleet/v1/acme/device/d1/chunk/t1/error", "fleet/v1/acme/device/d1/chunk/+", "fleet/v1/acme/device/d1/chunk/t1/0/#",
	"fleet/v1/acme/device/d10/manifest", "fleet/v1/acme/device/d10/chunk/#", "fleet/v1/acme/device/d/manifest",
	"fleet/v1/acme/command/#", "fleet/v1/acme/campaign/+/progress", "fleet/v1/acme/campaign/#",
	"fleet/v1/acme/reply/#", "fleet/v1/acme/reply/+", "fleet/v1/acme/reply/op", "fleet/v1/acme/reply/op/#",
	"fleet/v1/acme/reply/op/+", "fleet/v1/acme/reply/eve/#", "fleet/v1/acme/reply/d1",
	"fleet/v1/system/reply/chief", "fleet/v1/system/reply/chief/#", "fleet/v1/system/reply/other/#", "fleet/v1/system/command/#",
	"$share/g/fleet/v1/acme/#", "$SHARE/g/fleet/v1/acme/#", "$ShArE/g/fleet/v1/evil/#", "$share/g/#", "$SHARE/g/#",
	"$share/g/$share/g/fleet/v1/acme/#", "$share/g/fleet/v1/acme/device/d1/manifest", "$share/g/fleet/v1/acme/reply/op",
	"$share/g/fleet/v1/acme/reply/eve", "$share/+/fleet/v1/acme/#", "$share//fleet/v1/acme/#", "$share/g", "$share/g/",
	"$share/g/$SYS/#", "$SYS/#", "$queue/fleet/v1/acme/#", "$fleet/v1/acme/#",
	"fleet/v1/acme//#", "fleet/v1/acme/#/x", "fleet/v1/acme/dev+/x", "fleet/v1/acme/device#", "/fleet/v1/acme/#", "",
}

func verdict(err error) string {
	switch {
	case err == nil:
		return "yes"
	case errors.Is(err, topics.ErrDenied):
		return "no"
	case errors.Is(err, topics.ErrTopic):
		return "bad"
	}
	return "?? " + err.Error()
}

// TestAccessMatrix prints who may do what and compares it with a golden file that a person reviews.
func TestAccessMatrix(t *testing.T) {
	var b strings.Builder
	head := func(title string) {
		fmt.Fprintf(&b, "\n%-60s", title)
		for _, p := range columns {
			fmt.Fprintf(&b, " %-22s", p)
		}
		b.WriteString("\n")
	}
	b.WriteString("yes: allowed. no: a topic of the contract, not allowed. bad: not a topic of the contract.\n")
	head("publish / receive")
	for _, n := range names() {
		fmt.Fprintf(&b, "%-60s", n)
		for _, p := range columns {
			receive := "no"
			if topics.MayReceive(p, n) {
				receive = "yes"
			}
			fmt.Fprintf(&b, " %-22s", verdict(topics.MayPublish(p, n))+" / "+receive)
		}
		b.WriteString("\n")
	}
	head("subscribe")
	for _, f := range filters {
		fmt.Fprintf(&b, "%-60s", fmt.Sprintf("%q", f))
		for _, p := range columns {
			fmt.Fprintf(&b, " %-22s", verdict(topics.MaySubscribe(p, f)))
		}
		b.WriteString("\n")
	}
	golden(t, filepath.Join("testdata", "access.golden"), b.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs, rewrite it with -update if this is meant (-file +code):\n%s", path, diff)
	}
}

// TestAccessFollowsTheTable compares the functions with the channel table, own tenant, device and client.
func TestAccessFollowsTheTable(t *testing.T) {
	for _, s := range topics.Channels {
		for _, p := range columns {
			topic := strings.NewReplacer("{tenant}", p.Tenant.String(), "{device}", "d1", "{token}", "t1", "{index}", "0",
				"{noun}", "server", "{verb}", "info", "{client}", p.Name.String(), "{campaign}", "c1").Replace(s.Pattern)
			if got, want := topics.MayPublish(p, topic) == nil, slices.Contains(s.Publish, p.Role); got != want {
				t.Errorf("MayPublish(%s, %s) = %v, table says %v", p, topic, got, want)
			}
			if got, want := topics.MayReceive(p, topic), slices.Contains(s.Subscribe, p.Role); got != want {
				t.Errorf("MayReceive(%s, %s) = %v, table says %v", p, topic, got, want)
			}
			if got, want := topics.MaySubscribe(p, topic) == nil, slices.Contains(s.Subscribe, p.Role); got != want {
				t.Errorf("MaySubscribe(%s, %s) = %v, table says %v", p, topic, got, want)
			}
		}
		if s.Channel.Uplink() != (len(s.Publish) > 0) {
			t.Errorf("channel %s: Uplink() and Publish disagree", s.Channel)
		}
	}
}

// TestNoTenantReachesAnother tries every topic and filter of the matrix from a tenant that they don't name.
func TestNoTenantReachesAnother(t *testing.T) {
	for _, role := range []topics.Role{topics.RoleDevice, topics.RoleOperator, topics.RoleViewer} {
		p := principal("mallory", role, "d1")
		for _, n := range names() {
			if topics.MayPublish(p, n) == nil || topics.MayReceive(p, n) {
				t.Errorf("%s reaches %s", p, n)
			}
		}
		for _, f := range filters {
			if topics.MaySubscribe(p, f) == nil {
				t.Errorf("%s may subscribe to %q", p, f)
			}
		}
	}
}

// TestNobodyIsDenied holds for principals that no authentication makes: none of them may do anything.
func TestNobodyIsDenied(t *testing.T) {
	for _, p := range []topics.Principal{
		{},
		{Tenant: acme, Role: topics.RoleDevice},
		{Role: topics.RoleDevice, Name: must(ident.ParseName("d1"))},
		principal("acme", "", "op"),
		principal("acme", "chief", "op"),
		principal("acme", "Operator", "op"),
		principal("acme", topics.RoleAdmin, "op"),
		principal("system", topics.RoleOperator, "chief"),
		principal("system", topics.RoleDevice, "d1"),
	} {
		all := append(names(), "fleet/v1//device//hello", "fleet/v1/acme/device//hello", "fleet/v1//device/d1/hello")
		for _, n := range all {
			if topics.MayPublish(p, n) == nil || topics.MayReceive(p, n) {
				t.Errorf("%v reaches %s", p, n)
			}
		}
		for _, f := range append(filters, "fleet/v1//device//manifest") {
			if topics.MaySubscribe(p, f) == nil {
				t.Errorf("%v may subscribe to %q", p, f)
			}
		}
	}
}

func TestWillsAreRefused(t *testing.T) {
	for _, p := range columns {
		for _, n := range append(names(), "fleet/v1/acme/#") {
			if err := topics.MayWill(p, n); !errors.Is(err, topics.ErrDenied) && !errors.Is(err, topics.ErrTopic) {
				t.Errorf("MayWill(%s, %q) = %v", p, n, err)
			}
		}
	}
}

func TestHugeFiltersAreRefused(t *testing.T) {
	p := columns[1]
	for name, f := range map[string]string{
		"10k levels": "fleet/v1/acme" + strings.Repeat("/+", 10_000),
		"13 levels":  "fleet/v1/acme" + strings.Repeat("/+", 10),
		"1 MiB":      "fleet/v1/acme/" + strings.Repeat("a", 1<<20),
		"shared":     "$share/" + strings.Repeat("g", 240) + "/fleet/v1/acme/#",
		"NUL":        "fleet/v1/acme/\x00",
		"not UTF-8":  "fleet/v1/acme/\xff",
	} {
		if err := topics.MaySubscribe(p, f); !errors.Is(err, topics.ErrTopic) {
			t.Errorf("%s: got %v, want ErrTopic", name, err)
		}
	}
}

func TestDeviceAccessAllocatesNothing(t *testing.T) {
	p := columns[0]
	own := []string{topics.HelloTopic(acme, dev1), topics.ReportTopic(acme, dev1), topics.FetchTopic(acme, dev1)}
	manifest := topics.ManifestTopic(acme, dev1)
	n := testing.AllocsPerRun(100, func() {
		for _, topic := range own {
			if err := topics.MayPublish(p, topic); err != nil {
				t.Error(err)
			}
		}
		if err := topics.MaySubscribe(p, manifest); err != nil || !topics.MayReceive(p, manifest) {
			t.Error("manifest denied")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMaySubscribe looks for a filter that a device is granted and that matches a topic which it may not have.
func FuzzMaySubscribe(f *testing.F) {
	for _, s := range filters {
		f.Add(s)
	}
	all := names()
	f.Fuzz(func(t *testing.T, filter string) {
		rest, _ := topics.CutShare(filter)
		for _, p := range columns {
			if topics.MaySubscribe(p, filter) != nil {
				continue
			}
			for _, n := range all {
				foreign := !strings.HasPrefix(n, "fleet/v1/"+p.Tenant.String()+"/") || p.Role == topics.RoleDevice && !topics.MayReceive(p, n)
				if foreign && topics.Match(rest, n) {
					t.Fatalf("%s may subscribe to %q, which matches %s", p, filter, n)
				}
			}
		}
	})
}
