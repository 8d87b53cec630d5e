package bridge

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func TestHandlersAreTheRegistry(t *testing.T) {
	if len(topics.Commands) == 0 {
		t.Fatal("the registry is empty")
	}
	for _, s := range topics.Commands {
		if handlers[[2]string{s.Noun, s.Verb}] == nil {
			t.Errorf("%s/%s has no handler", s.Noun, s.Verb)
		}
	}
	for k := range handlers {
		if _, ok := topics.LookupCommand(k[0], k[1]); !ok {
			t.Errorf("%s/%s is not in the registry", k[0], k[1])
		}
	}
}

func TestProblemTableIsInTheContract(t *testing.T) {
	for _, row := range problemTable {
		if _, ok := topics.LookupProblem(row.slug); !ok {
			t.Errorf("%v: %q is no problem of the contract", row.err, row.slug)
		}
	}
	for kind, slug := range notFoundSlugs {
		p := problemOf(fmt.Errorf("wrapped: %w", &campaign.NotFoundError{Kind: kind, ID: "x"}))
		if p.Type != slug || p.Status != 404 {
			t.Errorf("%s: %+v", kind, p)
		}
	}
	if p := problemOf(errors.New("secret path /var/lib")); p.Type != topics.ProblemInternal || p.Detail != "" {
		t.Errorf("an unknown error tells %+v", p)
	}
}

// sentinels are the exported errors of the layers below that can reach a command or a fetch. cose's and suit's own are
// classified by firmware, except cose's on keys, which trust/add points at.
var sentinels = map[string]error{
	"campaign.ErrNotFound": campaign.ErrNotFound,
	"campaign.ErrExists":   campaign.ErrExists,
	"campaign.ErrConflict": campaign.ErrConflict,
	"campaign.ErrPhase":    campaign.ErrPhase, "campaign.ErrQuota": campaign.ErrQuota,
	"campaign.ErrClosed":      campaign.ErrClosed,
	"campaign.ErrUnavailable": campaign.ErrUnavailable,
	"campaign.ErrPlanChanged": campaign.ErrPlanChanged, "campaign.ErrOwnCampaign": campaign.ErrOwnCampaign,
	"firmware.ErrMalformed": firmware.ErrMalformed, "firmware.ErrUnsupported": firmware.ErrUnsupported,
	"firmware.ErrUntrusted": firmware.ErrUntrusted, "firmware.ErrDigestMismatch": firmware.ErrDigestMismatch,
	"firmware.ErrOffset": firmware.ErrOffset, "firmware.ErrOverlap": firmware.ErrOverlap, "campaign.ErrInUse": campaign.ErrInUse, "campaign.ErrNeeded": campaign.ErrNeeded, "firmware.ErrNoUpload": firmware.ErrNoUpload,
	"firmware.ErrRevoked": firmware.ErrRevoked, "firmware.ErrSignature": firmware.ErrSignature, "firmware.ErrUntimely": firmware.ErrUntimely,
	"firmware.ErrGrant": firmware.ErrGrant, "firmware.ErrAhead": firmware.ErrAhead, "firmware.ErrURI": firmware.ErrURI,
	"firmware.ErrUnknown": firmware.ErrUnknown, "firmware.ErrSevered": firmware.ErrSevered,
	"firmware.ErrNoPayload": firmware.ErrNoPayload, "firmware.ErrTooLarge": firmware.ErrTooLarge, "firmware.ErrQuota": firmware.ErrQuota, "firmware.ErrNoRoom": firmware.ErrNoRoom,
	"firmware.ErrSigned":  firmware.ErrSigned,
	"ident.ErrInvalid":    ident.ErrInvalid,
	"topics.ErrDenied":    topics.ErrDenied,
	"topics.ErrTopic":     topics.ErrTopic,
	"topics.ErrMalformed": topics.ErrMalformed, "topics.ErrUnknownRole": topics.ErrUnknownRole,
}

func TestEverySentinelHasAProblem(t *testing.T) {
	for _, pkg := range []string{"campaign", "firmware", "ident", "topics"} {
		found := exportedErrors(t, "../"+pkg)
		if len(found) == 0 {
			t.Errorf("no sentinel was found in %s", pkg)
		}
		for _, name := range found {
			if sentinels[pkg+"."+name] == nil {
				t.Errorf("%s.%s is not in the list of sentinels", pkg, name)
			}
		}
	}
	for name, err := range sentinels {
		if name == "campaign.ErrNotFound" {
			continue // alone it says nothing; its kinds are in notFoundSlugs
		}
		if p := problemOf(fmt.Errorf("wrapped: %w", err)); p.Type == topics.ProblemInternal {
			t.Errorf("%s has no row in the problem table", name)
		}
	}
}

// exportedErrors lists the package-level variables Err… of the sources in dir.
func exportedErrors(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok {
				for _, id := range v.Names {
					if strings.HasPrefix(id.Name, "Err") {
						names = append(names, id.Name)
					}
				}
			}
			_, inside := n.(*ast.FuncDecl)
			return !inside
		})
	}
	return names
}

// fill sets every member of a struct to something that is not its zero value.
func fill(v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		return
	case *ident.Tenant:
		*at, _ = ident.ParseTenant("t") // a constant that parses
		return
	case *ident.Device:
		*at, _ = ident.ParseDevice("d")
		return
	case *ident.Campaign:
		*at, _ = ident.ParseCampaign("c")
		return
	case *ident.Name:
		*at, _ = ident.ParseName("n")
		return
	case *ident.Key:
		*at, _ = ident.ParseKey("k")
		return
	case *map[campaign.State]time.Duration:
		*at = campaign.PolicyDefaults().Deadlines
		return
	case *cose.Alg:
		*at = cose.ESP256
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(k)
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.String:
		v.SetString("word")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic("fill: " + v.Type().String())
	}
}

func filled[T any]() T {
	var v T
	fill(reflect.ValueOf(&v).Elem())
	return v
}

// empty lists the members of a struct, its nested ones included, that hold the zero value.
func empty(path string, v reflect.Value) []string {
	if v.IsZero() {
		return []string{path}
	}
	if v.Kind() != reflect.Struct || v.Type().PkgPath() == "time" || strings.HasSuffix(v.Type().PkgPath(), "/ident") {
		return nil
	}
	var out []string
	for i := range v.NumField() {
		out = append(out, empty(path+"."+v.Type().Field(i).Name, v.Field(i))...)
	}
	return out
}

// TestConversionsAreTotal: from a source whose every member is set, every member of what it is converted to is set,
// except those that have another origin.
func TestConversionsAreTotal(t *testing.T) {
	now := time.Now()
	counts := campaign.Counts{}
	counts.Add(0, campaign.Confirmed, 3)
	counts.Reports = 9
	counts.AddReason(campaign.Failed, "flash-error", 1)
	counts.Add(0, campaign.Skipped, 1)
	counts.Add(0, campaign.Failed, 1)
	tenant, _ := ident.ParseTenant("t") // a constant that parses
	for name, c := range map[string]struct {
		out   any
		other []string
	}{
		"hello":      {helloOf(filled[topics.Hello]()), nil},
		"report":     {reportOf(filled[topics.Report](), topics.JSON), nil},
		"policy":     {policyOf(filled[topics.Policy]()), nil},
		"change":     {changeOf(filled[topics.CampaignUpdate]()), []string{".By"}},
		"selection":  {selectionOf(filled[topics.Selection]()), nil},
		"campaign":   {campaignView(filled[campaign.Campaign](), counts, now), nil},
		"progress":   {progressOf(filled[campaign.Campaign](), counts, now), nil},
		"event":      {eventOf(filled[campaign.Transition]()), nil},
		"assignment": {assignmentView(filled[campaign.Campaign](), filled[campaign.Assignment]()), nil},
		"device":     {deviceView(filled[campaign.Device](), filled[campaign.Work](), true), []string{".User", ".Token"}}, // secrets: from device/add only
		"manifest":   {manifestView(filled[firmware.Manifest]()), nil},
		"payload":    {payloadView(filled[firmware.Payload]()), nil},
		"anchor":     {anchorView(filled[firmware.Anchor]()), nil},
		"tenant":     {tenantView(filled[campaign.Tenant]()), nil},
		"credential": {credentialView(tenant, filled[campaign.Credential]()), nil},
	} {
		for _, path := range empty("", reflect.ValueOf(c.out)) {
			if !slices.Contains(c.other, path) {
				t.Errorf("%s: member %s is not converted", name, path)
			}
		}
	}
}

func TestPolicyRoundTrip(t *testing.T) {
	want := filled[topics.Policy]()
	if diff := cmp.Diff(want, policyView(policyOf(want))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p, err := policyOf(topics.Policy{}).Complete()
	if err != nil {
		t.Fatal(err)
	}
	d, err := campaign.PolicyDefaults().Complete()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, p, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("an absent policy is not the default (-want +got):\n%s", diff)
	}
	zero := 0.0
	if p := policyOf(topics.Policy{FailurePercent: &zero}); p.FailurePercent != 0 || p.SuccessPercent != campaign.DefaultSuccessPercent {
		t.Errorf("an explicit 0 is lost: %+v", p)
	}
}

func TestTurnsAreFair(t *testing.T) {
	q := newTurns()
	now := time.Now()
	a, b := ident.MustTenant("a"), ident.MustTenant("b")
	id := func(s string) ident.Campaign { c, _ := ident.ParseCampaign(s); return c } // constants that parse
	for i := range 10 {
		q.want(job{a, id(fmt.Sprintf("c%d", i))}, now)
	}
	q.want(job{b, id("c")}, now)
	q.want(job{b, id("later")}, now.Add(time.Minute))
	var tenants []ident.Tenant
	for range 11 {
		j, ok, _ := q.take(now)
		if !ok {
			t.Fatal("a job that is due is not given out")
		}
		tenants = append(tenants, j.tenant)
	}
	if i := slices.Index(tenants, b); i > 1 {
		t.Errorf("tenant b waited for %d jobs of tenant a", i)
	}
	if _, ok, wait := q.take(now); ok || wait != time.Minute {
		t.Errorf("with one job due in a minute: ok %v, wait %v", ok, wait)
	}
	q.want(job{b, id("later")}, now.Add(time.Hour)) // an earlier wish stands
	if _, _, wait := q.take(now); wait != time.Minute {
		t.Errorf("wait %v", wait)
	}
	if _, ok, _ := q.take(now.Add(time.Minute)); !ok {
		t.Error("the job is not given out when it is due")
	}
	if _, ok, wait := q.take(now); ok || wait >= 0 {
		t.Errorf("without a job: ok %v, wait %v", ok, wait)
	}
}

func TestProgressIsCoalesced(t *testing.T) {
	p := newProgress()
	now := time.Now()
	c, _ := ident.ParseCampaign("c") // a constant that parses
	j := job{ident.MustTenant("a"), c}
	p.mark(j)
	if due, _ := p.take(now); len(due) != 1 {
		t.Fatal("the first news is not told at once")
	}
	p.mark(j)
	p.mark(j)
	if due, wait := p.take(now.Add(progressEvery / 4)); len(due) != 0 || wait != progressEvery*3/4 {
		t.Errorf("news within the second: %v due, wait %v", due, wait)
	}
	if due, _ := p.take(now.Add(progressEvery)); len(due) != 1 {
		t.Error("the last news is not told")
	}
	if due, wait := p.take(now.Add(3 * progressEvery)); len(due) != 0 || wait >= 0 || len(p.marks) != 0 {
		t.Errorf("without news: %v due, wait %v, %d marks", due, wait, len(p.marks))
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for i := range 128 {
		if end := bucketEnd(i); i > 0 && i < 127 && bucketOf(end) != i+1 && end > 4*time.Microsecond {
			t.Errorf("bucket %d ends at %v, which is in bucket %d", i, end, bucketOf(end))
		}
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := h.quantile(q); got < want || float64(got) > 1.26*float64(want) {
			t.Errorf("quantile %v is %v, want %v or a little more", q, got, want)
		}
	}
	h.add(0)
	h.add(-time.Second)
	h.add(1 << 62)
}
