package topics_test

import (
	"errors"
	"strings"
	"testing"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// must unwraps a parse of a constant.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	acme = ident.MustTenant("acme")
	dev1 = must(ident.ParseDevice("d1"))
	c1   = must(ident.ParseCampaign("c1"))
	op   = must(ident.ParseName("op"))
	tok  = must(ident.ParseToken("t1"))
)

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 64)
	tests := []struct {
		topic string
		want  topics.Address
	}{
		{"fleet/v1/acme/device/d1/hello", topics.Address{Channel: topics.ChannelHello, Tenant: acme, Device: dev1}},
		{"fleet/v1/acme/device/d1/manifest", topics.Address{Channel: topics.ChannelManifest, Tenant: acme, Device: dev1}},
		{"fleet/v1/acme/device/d1/report", topics.Address{Channel: topics.ChannelReport, Tenant: acme, Device: dev1}},
		{"fleet/v1/acme/device/d1/receipt", topics.Address{Channel: topics.ChannelReceipt, Tenant: acme, Device: dev1}},
		{"fleet/v1/acme/device/d1/fetch", topics.Address{Channel: topics.ChannelFetch, Tenant: acme, Device: dev1}},
		{"fleet/v1/acme/device/d1/permit", topics.Address{Channel: topics.ChannelPermit, Tenant: acme, Device: dev1}},
		{"fleet/v1/acme/device/d1/chunk/t1/0", topics.Address{Channel: topics.ChannelChunk, Tenant: acme, Device: dev1, Token: tok}},
		{"fleet/v1/acme/device/d1/chunk/t1/4294967295", topics.Address{Channel: topics.ChannelChunk, Tenant: acme, Device: dev1, Token: tok, Index: 1<<32 - 1}},
		{"fleet/v1/acme/device/d1/chunk/t1/error", topics.Address{Channel: topics.ChannelChunk, Tenant: acme, Device: dev1, Token: tok, IsError: true}},
		{"fleet/v1/acme/command/campaign/start", topics.Address{Channel: topics.ChannelCommand, Tenant: acme, Noun: "campaign", Verb: "start"}},
		{"fleet/v1/acme/reply/op", topics.Address{Channel: topics.ChannelReply, Tenant: acme, Client: op}},
		{"fleet/v1/acme/reply/op/a/b/c", topics.Address{Channel: topics.ChannelReply, Tenant: acme, Client: op, Tail: "a/b/c"}},
		{"fleet/v1/acme/campaign/c1/progress", topics.Address{Channel: topics.ChannelProgress, Tenant: acme, Campaign: c1}},
		{"fleet/v1/acme/campaign/c1/event", topics.Address{Channel: topics.ChannelEvent, Tenant: acme, Campaign: c1}},
		{"fleet/v1/" + long + "/device/" + long + "/chunk/" + long + "/4294967295", topics.Address{Channel: topics.ChannelChunk,
			Tenant: ident.MustTenant(long), Device: must(ident.ParseDevice(long)), Token: must(ident.ParseToken(long)), Index: 1<<32 - 1}},
	}
	seen := map[topics.Channel]bool{}
	for _, tt := range tests {
		t.Run(tt.topic, func(t *testing.T) {
			got, err := topics.Parse(tt.topic)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if s := got.String(); s != tt.topic {
				t.Errorf("String() = %q", s)
			}
		})
		seen[tt.want.Channel] = true
	}
	for _, s := range topics.Channels {
		if !seen[s.Channel] {
			t.Errorf("channel %s has no case", s.Channel)
		}
	}
}

// badTopics are names that a hostile or careless client may use; no channel has them.
var badTopics = map[string]string{
	"empty":                  "",
	"slash":                  "/",
	"root":                   "fleet/v1",
	"leading slash":          "/fleet/v1/acme/device/d1/hello",
	"trailing slash":         "fleet/v1/acme/device/d1/hello/",
	"double slash":           "fleet/v1/acme//device/d1/hello",
	"empty tenant":           "fleet/v1//device/d1/hello",
	"empty device":           "fleet/v1/acme/device//hello",
	"other version":          "fleet/v2/acme/device/d1/hello",
	"upper case root":        "Fleet/v1/acme/device/d1/hello",
	"upper case kind":        "fleet/v1/acme/DEVICE/d1/hello",
	"upper case channel":     "fleet/v1/acme/device/d1/Hello",
	"unknown kind":           "fleet/v1/acme/group/g/hello",
	"unknown device channel": "fleet/v1/acme/device/d1/shell",
	"device alone":           "fleet/v1/acme/device/d1",
	"one level more":         "fleet/v1/acme/device/d1/hello/x",
	"plus in tenant":         "fleet/v1/+/device/d1/hello",
	"plus in device":         "fleet/v1/acme/device/+/hello",
	"hash":                   "fleet/v1/acme/device/#",
	"wildcard in id":         "fleet/v1/acme/device/d+1/hello",
	"dot dot":                "fleet/v1/acme/device/../hello",
	"NUL":                    "fleet/v1/acme/device/d\x001/hello",
	"space":                  "fleet/v1/acme/device/d 1/hello",
	"unicode id":             "fleet/v1/acme/device/dé/hello",
	"fullwidth":              "fleet/v1/ａcme/device/d1/hello",
	"invalid UTF-8":          "fleet/v1/acme/device/d\xff/hello",
	"$SYS":                   "$SYS/broker/version",
	"$share":                 "$share/g/fleet/v1/acme/device/d1/hello",
	"id of 65":               "fleet/v1/acme/device/" + strings.Repeat("x", 65) + "/hello",
	"10k levels":             strings.Repeat("a/", 10_000),
	"10k levels below root":  "fleet/v1/acme/reply/op" + strings.Repeat("/a", 10_000),
	"13 levels":              "fleet/v1/acme/reply/op" + strings.Repeat("/a", 8),
	"257 bytes":              "fleet/v1/acme/reply/op/" + strings.Repeat("a", 234),
	"reply tail of four":     "fleet/v1/acme/reply/op/a/b/c/d",
	"reply tail empty":       "fleet/v1/acme/reply/op/",
	"reply tail wildcard":    "fleet/v1/acme/reply/op/#",
	"chunk without index":    "fleet/v1/acme/device/d1/chunk/t1",
	"chunk empty index":      "fleet/v1/acme/device/d1/chunk/t1/",
	"chunk leading zero":     "fleet/v1/acme/device/d1/chunk/t1/01",
	"chunk plus sign":        "fleet/v1/acme/device/d1/chunk/t1/+1",
	"chunk negative":         "fleet/v1/acme/device/d1/chunk/t1/-1",
	"chunk of 33 bits":       "fleet/v1/acme/device/d1/chunk/t1/4294967296",
	"chunk underscore":       "fleet/v1/acme/device/d1/chunk/t1/1_0",
	"chunk level more":       "fleet/v1/acme/device/d1/chunk/t1/1/2",
	"chunk Error":            "fleet/v1/acme/device/d1/chunk/t1/Error",
	"command without verb":   "fleet/v1/acme/command/campaign",
	"command upper case":     "fleet/v1/acme/command/Campaign/start",
	"command level more":     "fleet/v1/acme/command/campaign/start/now",
	"command digit first":    "fleet/v1/acme/command/1/start",
	"campaign manifest":      "fleet/v1/acme/campaign/c1/manifest",
}

func TestParseRefuses(t *testing.T) {
	for name, topic := range badTopics {
		t.Run(name, func(t *testing.T) {
			a, err := topics.Parse(topic)
			if !errors.Is(err, topics.ErrTopic) {
				t.Fatalf("got %v, want ErrTopic", err)
			}
			if a != (topics.Address{}) {
				t.Errorf("an error came with %+v", a)
			}
		})
	}
}

func TestBuildersAreParsed(t *testing.T) {
	for topic, want := range map[string]topics.Channel{
		topics.HelloTopic(acme, dev1):                           topics.ChannelHello,
		topics.ManifestTopic(acme, dev1):                        topics.ChannelManifest,
		topics.ReportTopic(acme, dev1):                          topics.ChannelReport,
		topics.ReceiptTopic(acme, dev1):                         topics.ChannelReceipt,
		topics.FetchTopic(acme, dev1):                           topics.ChannelFetch,
		topics.PermitTopic(acme, dev1):                          topics.ChannelPermit,
		topics.ChunkTopic(acme, dev1, tok, 7):                   topics.ChannelChunk,
		topics.ChunkErrorTopic(acme, dev1, tok):                 topics.ChannelChunk,
		topics.CommandTopic(acme, "device", "add"):              topics.ChannelCommand,
		topics.ReplyTopic(acme, op):                             topics.ChannelReply,
		topics.ProgressTopic(acme, c1):                          topics.ChannelProgress,
		topics.EventTopic(acme, c1):                             topics.ChannelEvent,
		topics.ChunkPrefix(acme, dev1, tok) + "12":              topics.ChannelChunk,
		topics.ReplyTopic(acme, op) + "/" + "0190-some-request": topics.ChannelReply,
	} {
		a, err := topics.Parse(topic)
		if err != nil || a.Channel != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", topic, a.Channel, err, want)
		}
	}
	if s := (topics.Address{}).String(); s != "" {
		t.Errorf("no channel prints %q", s)
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, topic := range []string{topics.ReportTopic(acme, dev1), topics.FetchTopic(acme, dev1), topics.CommandTopic(acme, "a", "b")} {
		n := testing.AllocsPerRun(100, func() {
			if _, err := topics.Parse(topic); err != nil {
				t.Error(err)
			}
		})
		if n != 0 {
			t.Errorf("Parse(%q) allocates %v times", topic, n)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
		{"a/+", "a/b", true},
		{"a/+", "a/b/c", false},
		{"a/+", "a", false},
		{"+/b", "a/b", true},
		{"a/#", "a/b/c", true},
		{"a/#", "a", true},
		{"a/#", "ab", false},
		{"#", "a/b", true},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"a/+/c", "a//c", true},
		{"fleet/v1/acme/device/+/manifest", "fleet/v1/acme/device/d1/manifest", true},
		{"fleet/v1/acme/device/+/manifest", "fleet/v1/acme/device/d1/report", false},
	}
	for _, tt := range tests {
		if got := topics.Match(tt.filter, tt.topic); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.filter, tt.topic, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range topics.Channels {
		f.Add(s.Pattern)
		f.Add(strings.NewReplacer("{", "", "}", "", "index", "7").Replace(s.Pattern))
	}
	for _, topic := range badTopics {
		f.Add(topic)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		a, err := topics.Parse(topic)
		if err != nil {
			if !errors.Is(err, topics.ErrTopic) || a != (topics.Address{}) {
				t.Fatalf("Parse(%q) = %+v, %v", topic, a, err)
			}
			return
		}
		if a.String() != topic {
			t.Fatalf("Parse(%q).String() = %q", topic, a)
		}
		if strings.ContainsAny(topic, "+#\x00") || strings.Count(topic, "/") > 7 || len(topic) > topics.MaxTopic {
			t.Fatalf("Parse(%q) accepts what no broker should", topic)
		}
	})
}
