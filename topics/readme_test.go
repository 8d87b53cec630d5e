package topics_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"fleetbridge/topics"
)

// TestReadmeTables holds the generated parts of the reference to the tables.
func TestReadmeTables(t *testing.T) {
	text := readDoc(t, "README.md")
	for _, part := range []struct {
		name string
		body string
	}{{"channels", channelTable()}, {"commands", commandTable()}, {"problems", problemTable()}} {
		begin, end := "<!-- "+part.name+" -->\n", "<!-- /"+part.name+" -->"
		head, rest, ok := strings.Cut(text, begin)
		_, tail, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("README.md has no part %s", part.name)
		}
		text = head + begin + part.body + end + tail
	}
	golden(t, filepath.Join(docs, "README.md"), text)
}

func roleList(list []topics.Role) string {
	if len(list) == 0 {
		return "fleetbridge"
	}
	var s []string
	for _, r := range list {
		s = append(s, string(r))
	}
	return strings.Join(s, ", ")
}

func channelTable() string {
	var b strings.Builder
	b.WriteString("| channel | topic | published by | read by | QoS | retained | bytes at most |\n|---|---|---|---|---|---|---|\n")
	for _, s := range topics.Channels {
		pattern := s.Pattern
		if s.Channel == topics.ChannelReply {
			pattern += "[/…]"
		}
		retained := "no"
		if s.Retained {
			retained = "yes"
		}
		readers := roleList(s.Subscribe)
		if s.Channel.Uplink() {
			readers = "fleetbridge, " + readers
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %d | %s | %d |\n", s.Channel, pattern, roleList(s.Publish), readers, s.QoS, retained, s.MaxBody)
	}
	b.WriteString("\n")
	for _, s := range topics.Channels {
		fmt.Fprintf(&b, "* **%s**: %s\n", s.Channel, s.Summary)
	}
	return b.String()
}

func commandTable() string {
	var b strings.Builder
	b.WriteString("| command | roles | key | request | reply | what it does |\n|---|---|---|---|---|---|\n")
	for _, c := range topics.Commands {
		key := ""
		if c.Keyed() {
			key = "yes"
		}
		fmt.Fprintf(&b, "| `%s/%s` | %s | %s | `%s` | `%s` | %s |\n", c.Noun, c.Verb, roleList(c.Roles), key,
			ruleName(reflect.TypeOf(c.Request)), ruleName(reflect.TypeOf(c.Reply)), c.Summary)
	}
	return b.String()
}

func problemTable() string {
	var b strings.Builder
	b.WriteString("| type | status | meaning | what to do |\n|---|---|---|---|\n")
	for _, p := range topics.Problems {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", p.Type, p.Status, p.Title, p.Fix)
	}
	return b.String()
}

// TestReadmeExamples decodes every example of the reference with the decoder of its message.
func TestReadmeExamples(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```(json|cbor) ([a-z-]+)\n(.*?)```").FindAllStringSubmatch(readDoc(t, "README.md"), -1)
	if all := strings.Count(readDoc(t, "README.md"), "\n```"); len(blocks) < 12 || all != 2*len(blocks) {
		t.Fatalf("%d examples, %d fences", len(blocks), all)
	}
	all := messages()
	seen := map[string]bool{}
	for i, m := range blocks {
		format, name, text := m[1], m[2], m[3]
		t.Run(fmt.Sprintf("%d-%s-%s", i, format, name), func(t *testing.T) {
			body := []byte(strings.TrimSpace(text))
			if format == "cbor" {
				var err error
				if body, err = hex.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
					t.Fatal(err)
				}
			}
			zero, ok := all[name]
			if !ok {
				t.Fatalf("no message %q", name)
			}
			v := reflect.New(reflect.TypeOf(zero))
			f, err := topics.Decode(body, v.Interface())
			if err != nil || f.String() != format {
				t.Fatalf("%v, %v", f, err)
			}
			if val, ok := v.Interface().(topics.Validator); ok {
				if err := val.Validate(); err != nil {
					t.Error(err)
				}
			}
			// Nothing in an example may be unknown: what was decoded must have all its members.
			if format == "json" {
				checkMembers(t, body, v.Elem().Interface())
			}
		})
		seen[name] = true
	}
	for _, s := range topics.Channels {
		if s.Body != nil && !seen[ruleName(reflect.TypeOf(s.Body))] {
			t.Errorf("README.md has no example of %s", s.Channel)
		}
	}
}

var memberName = regexp.MustCompile(`"([a-z_]+)":`)

func checkMembers(t *testing.T, body []byte, v any) {
	t.Helper()
	out, err := topics.Encode(v, topics.JSON)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range memberName.FindAllStringSubmatch(string(body), -1) {
		if m[1] != "request_id" && !strings.Contains(string(out), `"`+m[1]+`":`) {
			t.Errorf("member %q is lost: %s", m[1], out)
		}
	}
}

// TestDocsAreThere fails when a file of the contract has moved, since each of them is read by a test above.
func TestDocsAreThere(t *testing.T) {
	list, err := os.ReadDir(docs)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), "README.md asyncapi.yaml fleet.cddl vectors.json"; got != want {
		t.Errorf("docs/topics has %s, want %s", got, want)
	}
}
