package topics_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// obj is a YAML mapping in order: key, value, key, value.
type obj []any

func (o obj) with(key string, v any) obj { return append(o, key, v) }

func yamlNode(v any) *yaml.Node {
	switch v := v.(type) {
	case obj:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, c := range v {
			n.Content = append(n.Content, yamlNode(c))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, c := range v {
			n.Content = append(n.Content, yamlNode(c))
		}
		return n
	}
	var n yaml.Node
	if err := n.Encode(v); err != nil {
		panic(err)
	}
	return &n
}

func ref(path string) obj { return obj{"$ref", "#/" + path} }

// camel is campaign/start as CampaignStart.
func camel(words ...string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

var placeholder = regexp.MustCompile(`\{([a-z]+)\}`)

func parameters(pattern string) obj {
	var out obj
	for _, m := range placeholder.FindAllStringSubmatch(pattern, -1) {
		out = out.with(m[1], ref("components/parameters/"+m[1]))
	}
	return out
}

func roleWords(list []topics.Role) []any {
	out := []any{}
	for _, r := range list {
		out = append(out, string(r))
	}
	return out
}

// asyncAPI builds the AsyncAPI document from the tables. The view is the server's: it receives what clients publish.
func asyncAPI() obj {
	var channels, operations obj
	types := map[string]reflect.Type{}
	message := map[string]obj{}
	var order []string
	addMessage := func(name string, m obj) {
		if message[name] == nil {
			message[name] = m
			order = append(order, name)
		}
	}
	for _, s := range topics.Channels {
		if s.Channel == topics.ChannelCommand {
			continue // one channel per command, below
		}
		name, body := string(s.Channel), rawBody(s.Channel)
		if s.Body != nil {
			structs(reflect.TypeOf(s.Body), types)
			body = obj{"contentType", "application/cbor", "payload", ref("components/schemas/" + ruleName(reflect.TypeOf(s.Body)))}
		}
		addMessage(name, append(obj{"name", name, "summary", s.Summary}, body...))
		channels = channels.with(name, obj{"address", s.Pattern, "summary", s.Summary, "parameters", parameters(s.Pattern),
			"messages", obj{name, ref("components/messages/" + name)},
			"x-fleetbridge", obj{"publish", roleWords(s.Publish), "subscribe", roleWords(s.Subscribe), "retained", s.Retained, "maxBody", s.MaxBody}})
		action := "send"
		if s.Channel.Uplink() {
			action = "receive"
		}
		operations = operations.with(action+camel(name), operation(action, name, s.Summary, s.QoS, s.Retained))
	}
	channels, operations = addCommands(channels, operations, types, addMessage)
	var msgs, schemas obj
	for _, n := range order {
		msgs = msgs.with(n, message[n])
	}
	names := []string{}
	for n := range types {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		schemas = schemas.with(n, structSchema(types[n]))
	}
	return document(channels, operations, msgs, schemas)
}

func rawBody(c topics.Channel) obj {
	switch c {
	case topics.ChannelManifest:
		return obj{"contentType", "application/suit-envelope+cose", "payload", obj{"type", "string", "format", "binary"}}
	case topics.ChannelReply:
		return obj{"contentType", "application/cbor", "payload", ref("components/schemas/problem"),
			"description", "The reply of the command, see its operation; or a problem."}
	}
	return obj{"contentType", "application/octet-stream", "payload", obj{"type", "string", "format", "binary"}}
}

func operation(action, channel, summary string, qos byte, retain bool) obj {
	return obj{"action", action, "channel", ref("channels/" + channel), "summary", summary,
		"bindings", obj{"mqtt", obj{"qos", int(qos), "retain", retain, "bindingVersion", "0.2.0"}}}
}

// addCommands adds a channel and an operation for each command, and the reply channel whose address is the request's.
func addCommands(channels, operations obj, types map[string]reflect.Type, addMessage func(string, obj)) (obj, obj) {
	spec := topics.Channels[slices.IndexFunc(topics.Channels, func(s topics.ChannelSpec) bool { return s.Channel == topics.ChannelCommand })]
	var replies obj
	seen := map[string]bool{}
	addReply := func(name string) {
		if !seen[name] {
			seen[name] = true
			replies = replies.with(name, ref("components/messages/"+name))
		}
	}
	structs(reflect.TypeFor[topics.Problem](), types)
	addMessage("problem", bodyMessage("problem", "problem", "What went wrong, and how to mend it."))
	for _, c := range topics.Commands {
		structs(reflect.TypeOf(c.Request), types)
		structs(reflect.TypeOf(c.Reply), types)
		name := "command" + camel(c.Noun, c.Verb)
		req, rep := ruleName(reflect.TypeOf(c.Request)), ruleName(reflect.TypeOf(c.Reply))
		addMessage(name, bodyMessage(name, req, c.Summary).with("headers", ref("components/schemas/requestHeaders")).
			with("correlationId", ref("components/correlationIds/correlationData")))
		reply := "reply-" + rep
		addMessage(reply, bodyMessage(reply, rep, ""))
		addReply(reply)
		address := strings.NewReplacer("{noun}", c.Noun, "{verb}", c.Verb).Replace(spec.Pattern)
		channels = channels.with(name, obj{"address", address, "summary", c.Summary, "parameters", parameters(address),
			"messages", obj{name, ref("components/messages/" + name)},
			"x-fleetbridge", obj{"publish", roleWords(c.Roles), "mutates", c.Mutates}})
		op := operation("receive", name, c.Summary, spec.QoS, false).with("reply", obj{
			"address", obj{"location", "$message.header#/responseTopic"}, "channel", ref("channels/commandReply"),
			"messages", []any{ref("channels/commandReply/messages/" + reply), ref("channels/commandReply/messages/problem")}})
		operations = operations.with("receive"+camel(c.Noun, c.Verb), op)
	}
	addReply("problem")
	channels = channels.with("commandReply", obj{"address", nil,
		"summary", "Where a request's Response Topic says; without one, the sender's reply topic.", "messages", replies})
	return channels, operations
}

func bodyMessage(name, schema, summary string) obj {
	m := obj{"name", name}
	if summary != "" {
		m = m.with("summary", summary)
	}
	return append(m, "contentType", "application/cbor", "payload", ref("components/schemas/"+schema))
}

func document(channels, operations, msgs, schemas obj) obj {
	id := func(what string) obj { return obj{"description", what + ", [A-Za-z0-9][A-Za-z0-9._:-]{0,63}."} }
	schemas = schemas.with("requestHeaders", obj{"type", "object", "description", "MQTT 5 properties of a request.",
		"properties", obj{
			"responseTopic", obj{"type", "string", "description", "Response Topic: fleet/v1/{tenant}/reply/{client}, or up to 3 levels below it."},
			"correlationData", obj{"type", "string", "description", "Correlation Data, returned as it came."},
			"contentType", obj{"type", "string", "description", "Content Type; absent: told by the first byte."},
			"idempotency-key", obj{"type", "string", "description", "User property: the same key and body get the same reply."}}})
	return obj{"asyncapi", "3.0.0",
		"info", obj{"title", "fleetbridge topics", "version", "1",
			"description", "The topics of fleetbridge, version 1, from the server's side: it receives what clients publish. " +
				"Bodies are CBOR as in fleet.cddl, or JSON with the same members; the schemas here are of the JSON form. " +
				"Written by `go test ./topics -update` from the channel table and the command registry.",
			"license", obj{"name", "Apache-2.0"}},
		"defaultContentType", "application/cbor",
		"channels", channels, "operations", operations,
		"components", obj{
			"parameters", obj{"tenant", id("A tenant, the one of the connection's credential"), "device", id("A device"),
				"campaign", id("A campaign"), "client", id("The name of the credential that sent the request"), "token", id("What a fetch chose as its token"),
				"index", obj{"description", "The chunk's number, decimal, from 0; or `error`."}},
			"correlationIds", obj{"correlationData", obj{"location", "$message.header#/correlationData"}},
			"messages", msgs, "schemas", schemas}}
}

// structSchema is the JSON schema of a message.
func structSchema(t reflect.Type) obj {
	var props obj
	required := []any{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous {
				walk(f.Type)
				continue
			}
			props = props.with(jsonName(f), valueSchema(f.Type))
			if !strings.Contains(f.Tag.Get("json"), ",omit") {
				required = append(required, jsonName(f))
			}
		}
	}
	walk(t)
	out := obj{"type", "object"}
	if len(props) > 0 {
		out = out.with("properties", props)
	}
	if len(required) > 0 {
		out = out.with("required", required)
	}
	return out
}

func valueSchema(t reflect.Type) obj {
	switch t {
	case reflect.TypeFor[time.Time]():
		return obj{"type", "string", "format", "date-time"}
	case reflect.TypeFor[uuid.UUID]():
		return obj{"type", "string", "format", "uuid"}
	case reflect.TypeFor[ident.Digest]():
		return obj{"type", "string", "pattern", "^sha256:[0-9a-f]{64}$"}
	case reflect.TypeFor[topics.Duration]():
		return obj{"type", "string", "examples", []any{"90s", "72h"}}
	case reflect.TypeFor[[]byte]():
		return obj{"type", "string", "contentEncoding", "base64"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return obj{"type", "boolean"}
	case reflect.Int, reflect.Int64:
		return obj{"type", "integer"}
	case reflect.Uint32, reflect.Uint64:
		return obj{"type", "integer", "minimum", 0}
	case reflect.Float64:
		return obj{"type", "number"}
	case reflect.String:
		return obj{"type", "string"}
	case reflect.Pointer:
		return valueSchema(t.Elem())
	case reflect.Slice:
		return obj{"type", "array", "items", valueSchema(t.Elem())}
	case reflect.Map:
		return obj{"type", "object", "additionalProperties", valueSchema(t.Elem())}
	}
	if isLeaf(t) {
		return obj{"type", "string", "pattern", "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"}
	}
	return ref("components/schemas/" + ruleName(t))
}

// TestAsyncAPIIsCurrent compares the committed document with the tables, byte for byte.
func TestAsyncAPIIsCurrent(t *testing.T) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(yamlNode(asyncAPI())); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join(docs, "asyncapi.yaml"), b.String())
}

// TestAsyncAPI reads the committed document as a stranger would, and compares it with the tables both ways.
func TestAsyncAPI(t *testing.T) {
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(readDoc(t, "asyncapi.yaml")), &doc); err != nil {
		t.Fatal(err)
	}
	refs := 0
	checkRefs(t, doc, doc, &refs)
	if refs < 100 {
		t.Errorf("%d references", refs)
	}
	want := map[string]string{} // address: action, QoS, retain
	for _, s := range topics.Channels {
		action := "send"
		if s.Channel.Uplink() {
			action = "receive"
		}
		if s.Channel != topics.ChannelCommand {
			want[s.Pattern] = fmt.Sprint(action, s.QoS, s.Retained)
			continue
		}
		for _, c := range topics.Commands {
			want[strings.NewReplacer("{noun}", c.Noun, "{verb}", c.Verb).Replace(s.Pattern)] = fmt.Sprint(action, s.QoS, s.Retained)
		}
	}
	channels := doc["channels"].(map[string]any)
	for name, op := range doc["operations"].(map[string]any) {
		op := op.(map[string]any)
		channel := op["channel"].(map[string]any)["$ref"].(string)
		address := channels[strings.TrimPrefix(channel, "#/channels/")].(map[string]any)["address"].(string)
		mqtt := op["bindings"].(map[string]any)["mqtt"].(map[string]any)
		if got := fmt.Sprint(op["action"], mqtt["qos"], mqtt["retain"]); got != want[address] {
			t.Errorf("operation %s on %s is %q, tables say %q", name, address, got, want[address])
		}
		delete(want, address)
	}
	for address := range want {
		t.Errorf("no operation on %s", address)
	}
}

// checkRefs resolves every $ref of the document within itself.
func checkRefs(t *testing.T, doc map[string]any, v any, n *int) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, c := range v {
			checkRefs(t, doc, c, n)
		}
	case map[string]any:
		if r, ok := v["$ref"].(string); ok {
			*n++
			var at any = doc
			for part := range strings.SplitSeq(strings.TrimPrefix(r, "#/"), "/") {
				m, _ := at.(map[string]any)
				at = m[part]
			}
			if at == nil {
				t.Errorf("%s leads nowhere", r)
			}
		}
		for _, c := range v {
			checkRefs(t, doc, c, n)
		}
	}
}
