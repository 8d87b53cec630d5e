package topics_test

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// messages are the zero values of all bodies by their name in fleet.cddl: the channels', and each command's.
func messages() map[string]any {
	out := map[string]any{"problem": topics.Problem{}}
	for _, s := range topics.Channels {
		if s.Body != nil {
			out[ruleName(reflect.TypeOf(s.Body))] = s.Body
		}
	}
	for _, c := range topics.Commands {
		out[ruleName(reflect.TypeOf(c.Request))] = c.Request
		out[ruleName(reflect.TypeOf(c.Reply))] = c.Reply
	}
	return out
}

// ruleName is CampaignCreate as campaign-create, and List[TenantView] as list-tenant-view.
func ruleName(t reflect.Type) string {
	name := t.Name()
	if i := strings.IndexByte(name, '['); i >= 0 {
		elem := strings.TrimSuffix(name[i+1:], "]")
		return "list-" + kebab(elem[strings.LastIndexByte(elem, '.')+1:])
	}
	return kebab(name)
}

func kebab(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

var (
	sampleTime   = time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC)
	sampleVendor = uuid.MustParse("fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe")
	sampleClass  = uuid.MustParse("1492af14-2569-5e48-bf42-9b2d51f2ab45")
	sampleDigest = ident.SumDigest([]byte("payload"))
	sampleSUIT   = ident.SumDigest([]byte("manifest"))
	sampleDevice = must(ident.ParseDevice("d-0001"))
)

// fill gives every member of *v, however deep, a value that is not its zero value and that survives both codecs.
func fill(v reflect.Value, name string) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = sampleTime
		return
	case *uuid.UUID:
		*p = sampleVendor
		return
	case *ident.Digest:
		*p = sampleDigest
		return
	case *topics.Duration:
		*p = topics.Duration(90 * time.Second)
		return
	case *[]byte:
		*p = []byte{1, 2, 3}
		return
	case interface{ UnmarshalText([]byte) error }:
		if err := p.UnmarshalText([]byte("id-" + strings.Trim(name, "_"))); err != nil {
			panic(err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), jsonName(v.Type().Field(i)))
		}
	case reflect.String:
		v.SetString("some " + name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(12.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name)
	case reflect.Map:
		val := reflect.New(v.Type().Elem()).Elem()
		fill(val, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), val)
	default:
		panic(fmt.Sprintf("fill: no value for %s %s", name, v.Type()))
	}
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// samples are readable, valid messages: the vectors of docs/topics and the seeds of the fuzzers.
func samples() []sample {
	pct := func(v float64) *float64 { return &v }
	newWords := "1.4.1 for the north"
	installed := []topics.Installed{{Component: "00", Digest: sampleDigest, Sequence: 1795557600, Version: "1.4.0"}}
	return []sample{
		{"hello", topics.Hello{Seq: 1, Vendor: sampleVendor, Class: sampleClass, Installed: installed, Boot: 3, MaxChunk: 4096,
			Labels: map[string]string{"site": "north", "hw": "b2"}, Algs: []int64{-7, -9}}},
		{"hello-least", topics.Hello{Seq: 1, Vendor: sampleVendor, Class: sampleClass}},
		{"report-received", topics.Report{Seq: 2, Manifest: sampleSUIT, State: topics.WordReceived}},
		{"report-downloading", topics.Report{Seq: 3, Manifest: sampleSUIT, State: topics.WordDownloading, Progress: 65536}},
		{"report-failed", topics.Report{Seq: 4, Manifest: sampleSUIT, State: topics.WordFailed, Reason: topics.ReasonFlashError, Detail: "sector 12"}},
		{"report-installed", topics.Report{Seq: 5, Manifest: sampleSUIT, State: topics.WordInstalled, Installed: installed, Boot: 4, Receipt: true}},
		{"report-unknown-word", topics.Report{Seq: 6, Manifest: sampleSUIT, State: "x-warming-up"}},
		{"receipt", topics.Receipt{Seq: 5, Verdict: topics.VerdictRecorded}},
		{"permit", topics.Permit{Manifest: sampleSUIT, State: topics.PermitGranted, ExpiresIn: 300}},
		{"fetch", topics.Fetch{Token: must(ident.ParseToken("a7")), Digest: sampleDigest, Size: 1024, First: 16, Count: 8, Bitmap: []byte{0b1010_0101}}},
		{"fetch-all", topics.Fetch{Token: must(ident.ParseToken("a8")), Digest: sampleDigest, Size: 4096, Count: 32}},
		{"problem", *topics.NewProblem(topics.ProblemCampaignNotFound, `no campaign "c9"`)},
		{"problem-fields", topics.Problem{Type: topics.ProblemInvalidRequest, Status: 422, RequestID: "17",
			Errors: []topics.FieldError{{Pointer: "/policy/waves/1", Detail: "a percent above 0 to 100, or a count from 1"}}}},
		{"none", topics.None{}},
		{"page", topics.Page{Limit: 50, Cursor: "d-0050"}},
		{"credential-add", topics.CredentialAdd{Role: topics.RoleViewer, Names: []ident.Name{must(ident.ParseName("dashboard"))}}},
		{"payload-append", topics.PayloadAppend{Digest: sampleDigest, Offset: 131072, Data: []byte("bytes")}},
		{"device-add", topics.DeviceAdd{Device: sampleDevice, Labels: map[string]string{"site": "north"}, Credential: true}},
		{"campaign-create", topics.CampaignCreate{Campaign: must(ident.ParseCampaign("spring")), Description: "1.4.0 for the north", Manifest: sampleSUIT,
			Selection: topics.Selection{Labels: map[string]string{"site": "north"}, Filter: `version != "2.5.0"`},
			Policy: topics.Policy{Waves: []topics.Wave{{Percent: 5}, {Percent: 25}, {Percent: 100}}, InFlight: 500, SuccessPercent: pct(95),
				FailurePercent: pct(0), MinSample: 10, Deadlines: topics.Deadlines{Offered: topics.Duration(24 * time.Hour)}, Within: topics.Duration(7 * 24 * time.Hour),
				Soak: topics.Duration(2 * time.Hour), Windows: []topics.Window{{Cron: "0 2 * * 1-5", Duration: topics.Duration(4 * time.Hour), Zone: "Europe/Berlin"}},
				Rate: topics.Rate{PerMinute: 50, Factor: 2, Every: 1000, Max: 300}}}},
		{"campaign-ref", topics.CampaignRef{Campaign: must(ident.ParseCampaign("spring")), IfRevision: 3}},
		{"campaign-update", topics.CampaignUpdate{Campaign: must(ident.ParseCampaign("spring")), Description: &newWords, IfRevision: 3,
			Policy: &topics.Policy{Waves: []topics.Wave{{Count: 50}, {Percent: 100}}}}},
		{"progress", topics.Progress{Campaign: must(ident.ParseCampaign("spring")), State: "active", Total: 200,
			Counts: map[string]uint64{"pending": 190, "downloading": 4, "confirmed": 5, "failed": 1}, Wave: 1,
			Waves: []topics.WaveProgress{{Total: 10, Counts: map[string]uint64{"downloading": 4, "confirmed": 5, "failed": 1}}}, Reports: 41, Revision: 3, At: sampleTime,
			Reasons: []topics.ReasonCount{{State: "failed", Reason: "flash-error", Count: 1}}}},
		{"event", topics.Event{Campaign: must(ident.ParseCampaign("spring")), Device: sampleDevice, From: "rebooting", To: "confirmed", Wave: 1, At: sampleTime}},
	}
}

type sample struct {
	name  string
	value any
}
