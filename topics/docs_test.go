package topics_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"fleetbridge/topics"
)

const docs = "../docs/topics"

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(docs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// vector is one entry of vectors.json: a message in both of its forms.
type vector struct {
	Name    string          `json:"name"`
	Message string          `json:"message"`
	CBOR    string          `json:"cbor"`
	JSON    json.RawMessage `json:"json"`
}

// TestVectors holds vectors.json to the codec: both forms decode to the same message, and each encodes to itself.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	var list []vector
	if err := json.Unmarshal([]byte(readDoc(t, "vectors.json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(samples()) {
		t.Fatalf("%d vectors, %d samples: rewrite them with -update", len(list), len(samples()))
	}
	all := messages()
	for i, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			zero, ok := all[v.Message]
			if !ok {
				t.Fatalf("no message %q", v.Message)
			}
			b, err := hex.DecodeString(v.CBOR)
			if err != nil {
				t.Fatal(err)
			}
			fromCBOR, fromJSON := reflect.New(reflect.TypeOf(zero)), reflect.New(reflect.TypeOf(zero))
			if f, err := topics.Decode(b, fromCBOR.Interface()); err != nil || f != topics.CBOR {
				t.Fatalf("CBOR: %v, %v", f, err)
			}
			if f, err := topics.Decode(v.JSON, fromJSON.Interface()); err != nil || f != topics.JSON {
				t.Fatalf("JSON: %v, %v", f, err)
			}
			if diff := cmp.Diff(fromCBOR.Interface(), fromJSON.Interface(), deep); diff != "" {
				t.Errorf("(-CBOR +JSON):\n%s", diff)
			}
			if diff := cmp.Diff(samples()[i].value, fromCBOR.Elem().Interface(), deep); diff != "" {
				t.Errorf("(-sample +vector):\n%s", diff)
			}
			if again, err := topics.Encode(fromJSON.Elem().Interface(), topics.CBOR); err != nil || !bytes.Equal(again, b) {
				t.Errorf("encodes to %x, %v", again, err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, v.JSON); err != nil {
				t.Fatal(err)
			}
			if again, err := topics.Encode(fromCBOR.Elem().Interface(), topics.JSON); err != nil || !bytes.Equal(again, compact.Bytes()) {
				t.Errorf("encodes to %s, %v", again, err)
			}
		})
	}
}

func writeVectors(t *testing.T) {
	t.Helper()
	var list []vector
	for _, s := range samples() {
		c, err := topics.Encode(s.value, topics.CBOR)
		if err != nil {
			t.Fatal(err)
		}
		j, err := topics.Encode(s.value, topics.JSON)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, vector{s.name, ruleName(reflect.TypeOf(s.value)), hex.EncodeToString(c), j})
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(docs, "vectors.json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cddlMember is one member of a map, as fleet.cddl and as the Go types have it.
type cddlMember struct {
	Key, Name string
	Optional  bool
}

// cddlRule is a map of fleet.cddl.
type cddlRule struct {
	Members   []cddlMember
	RequestID bool
}

var memberLine = regexp.MustCompile(`^\s*(\?)?\s*(\d+) => .+, +; ([a-z_]+)(?:: .+)?$`)

// readCDDL reads the maps of fleet.cddl, and its list of commands.
func readCDDL(t *testing.T) (rules map[string]cddlRule, commands map[string]string) {
	t.Helper()
	rules, commands = map[string]cddlRule{}, map[string]string{}
	var name string
	commandLine := regexp.MustCompile(`^; ([a-z]+/[a-z]+): (\S+ -> \S+)$`)
	sc := bufio.NewScanner(strings.NewReader(readDoc(t, "fleet.cddl")))
	for sc.Scan() {
		line := sc.Text()
		if m := commandLine.FindStringSubmatch(line); m != nil {
			commands[m[1]] = m[2]
		}
		head, open := strings.CutSuffix(line, " = {")
		switch m := memberLine.FindStringSubmatch(line); {
		case name == "" && open:
			name = head
			rules[name] = cddlRule{}
		case name == "":
		case line == "}":
			name = ""
		case strings.TrimSpace(line) == "request-id,":
			rules[name] = cddlRule{rules[name].Members, true}
		case m != nil:
			r := rules[name]
			r.Members = append(r.Members, cddlMember{m[2], m[3], m[1] == "?"})
			rules[name] = r
		default:
			t.Fatalf("fleet.cddl, rule %s: can't read %q", name, line)
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return rules, commands
}

// isLeaf says whether a struct type is a value of its own on the wire.
func isLeaf(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[uuid.UUID]() ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]())
}

// structs adds t, and every message within it, to out by rule name.
func structs(t reflect.Type, out map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		structs(t.Elem(), out)
	case reflect.Struct:
		if isLeaf(t) || out[ruleName(t)] != nil {
			return
		}
		out[ruleName(t)] = t
		for i := range t.NumField() {
			structs(t.Field(i).Type, out)
		}
	}
}

// membersOf lists a struct's members by its tags, embedded ones included, in the order of their keys.
func membersOf(t *testing.T, typ reflect.Type) []cddlMember {
	t.Helper()
	var out []cddlMember
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			out = append(out, membersOf(t, f.Type)...)
			continue
		}
		jTag, cTag := f.Tag.Get("json"), f.Tag.Get("cbor")
		name, jOpt, _ := strings.Cut(jTag, ",")
		parts := strings.SplitN(cTag, ",", 3)
		if len(parts) < 2 || parts[1] != "keyasint" || name == "" {
			t.Fatalf("%s.%s: tags %q, %q", typ, f.Name, jTag, cTag)
		}
		cOpt := strings.Join(parts[2:], "")
		if jOpt != cOpt {
			t.Errorf("%s.%s: JSON says %q, CBOR says %q", typ, f.Name, jOpt, cOpt)
		}
		out = append(out, cddlMember{parts[0], name, cOpt != ""})
	}
	slices.SortFunc(out, func(a, b cddlMember) int {
		if d := len(a.Key) - len(b.Key); d != 0 {
			return d
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out
}

// TestCDDL compares fleet.cddl with the Go types, both ways: each rule, each member, each command.
func TestCDDL(t *testing.T) {
	rules, commands := readCDDL(t)
	types := map[string]reflect.Type{}
	for _, m := range messages() {
		structs(reflect.TypeOf(m), types)
	}
	if len(types) < 40 || len(rules) == 0 {
		t.Fatalf("%d types, %d rules", len(types), len(rules))
	}
	withID := map[string]bool{}
	for _, c := range topics.Commands {
		req, rep := ruleName(reflect.TypeOf(c.Request)), ruleName(reflect.TypeOf(c.Reply))
		withID[req], withID[rep] = true, true
		if got, want := commands[c.Noun+"/"+c.Verb], req+" -> "+rep; got != want {
			t.Errorf("command %s/%s: fleet.cddl has %q, registry has %q", c.Noun, c.Verb, got, want)
		}
		delete(commands, c.Noun+"/"+c.Verb)
	}
	for name := range commands {
		t.Errorf("fleet.cddl has command %s, the registry has not", name)
	}
	for name, typ := range types {
		r, ok := rules[name]
		if !ok {
			t.Errorf("fleet.cddl lacks %s", name)
			continue
		}
		if diff := cmp.Diff(r.Members, membersOf(t, typ)); diff != "" {
			t.Errorf("%s (-fleet.cddl +code):\n%s", name, diff)
		}
		if r.RequestID != withID[name] {
			t.Errorf("%s: request-id is %v in fleet.cddl, want %v", name, r.RequestID, withID[name])
		}
		seen := map[string]bool{}
		for _, m := range r.Members {
			if seen[m.Key] || seen[m.Name] {
				t.Errorf("%s: member %s or %s twice", name, m.Key, m.Name)
			}
			seen[m.Key], seen[m.Name] = true, true
		}
	}
	for name := range rules {
		if types[name] == nil {
			t.Errorf("fleet.cddl has %s, the code has not", name)
		}
	}
}

// TestWordsAreDocumented finds each word and reason in fleet.cddl and in the reference.
func TestWordsAreDocumented(t *testing.T) {
	words := []string{string(topics.WordReceived), string(topics.WordDeferred), string(topics.WordDownloading), string(topics.WordDownloaded),
		string(topics.WordInstalling), string(topics.WordRebooting), string(topics.WordInstalled), string(topics.WordFailed), string(topics.WordRejected)}
	reasons := []string{string(topics.ReasonSignatureInvalid), string(topics.ReasonUnsupportedManifest), string(topics.ReasonWrongVendor),
		string(topics.ReasonWrongClass), string(topics.ReasonVersionNotNewer), string(topics.ReasonPrecursorMismatch), string(topics.ReasonNoSpace),
		string(topics.ReasonBatteryLow), string(topics.ReasonUserDeclined), string(topics.ReasonDownloadTimeout), string(topics.ReasonDigestMismatch),
		string(topics.ReasonFlashError), string(topics.ReasonInstallError), string(topics.ReasonSelfTestFailed), string(topics.ReasonRolledBack)}
	verdicts := []string{string(topics.VerdictRecorded), string(topics.VerdictDuplicate), string(topics.VerdictStale), string(topics.VerdictUnknown)}
	cddl, readme := readDoc(t, "fleet.cddl"), readDoc(t, "README.md")
	for _, w := range slices.Concat(words, reasons, verdicts) {
		if !strings.Contains(cddl, `"`+w+`"`) {
			t.Errorf("fleet.cddl lacks %q", w)
		}
		if !strings.Contains(readme, "`"+w+"`") {
			t.Errorf("README.md lacks `%s`", w)
		}
	}
}
