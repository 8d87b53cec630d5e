package suit

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// This file says what stands where in an envelope, for Describe. A shape that an item does not have is shown plainly.

// envelope shows an envelope, or returns nil where the two members that make one are missing.
func (w *walker) envelope(b []byte) *Item {
	body := b
	major, tag, rest, ok := head(b)
	if tagged := ok && major == majorTag && tag == tagEnvelope; tagged {
		body = rest
	}
	w.envelopeMembers, w.components = map[string][]byte{}, nil
	w.members(body, func(key string) (string, read) {
		return "", func(_ *walker, value []byte) *Item {
			w.envelopeMembers[key] = value
			return &Item{}
		}
	})
	if w.envelopeMembers["2"] == nil || w.envelopeMembers["3"] == nil {
		return nil
	}
	inside := w.members(body, w.envelopeMember)
	if len(body) == len(b) {
		inside.Name, inside.Note = "SUIT_Envelope", "tag 107 is missing"
		return inside
	}
	return &Item{Name: "SUIT_Envelope", Value: strconv.Itoa(tagEnvelope), kind: kindTag, Items: []*Item{inside}}
}

func (w *walker) envelopeMember(key string) (string, read) {
	switch key {
	case "2":
		return "authentication-wrapper", wrapped(authentication)
	case "3":
		return "manifest", wrapped(manifest)
	case "23":
		return "text", wrapped(text)
	}
	if name := severable[key]; name != "" {
		return name, wrapped(sequence)
	}
	if strings.HasPrefix(key, `"`) {
		return "integrated-payload", integrated
	}
	return "", plain
}

// severable are the members that the manifest may hold as a digest, by key; those of suit-trust-domains (15, 18) too.
var severable = map[string]string{"15": "dependency-resolution", "16": "payload-fetch", "18": "candidate-verification", "20": "install"}

func integrated(w *walker, b []byte) *Item {
	i := plain(w, b)
	if major, _, content, ok := head(b); ok && major == majorBytes {
		i.Summary = fmt.Sprintf("%d bytes, %s", len(content), ident.SumDigest(content))
	}
	return i
}

// authentication shows [digest, *block] (section 8.3).
func authentication(w *walker, b []byte) *Item {
	return w.array(b, func(n int) (string, read) {
		if n == 0 {
			return "digest", wrapped(digest("3"))
		}
		return "signature block " + strconv.Itoa(n-1), wrapped(coseMessage)
	})
}

func manifest(w *walker, b []byte) *Item {
	return w.members(b, func(key string) (string, read) {
		if name := severable[key]; name != "" {
			return name, orDigest(key, wrapped(sequence))
		}
		switch key {
		case "1":
			return "manifest-version", plain
		case "2":
			return "manifest-sequence-number", sequenceNumber
		case "3":
			return "common", wrapped(common)
		case "4":
			return "reference-uri", plain
		case "5":
			return "manifest-component-id", component
		case "6":
			return "set-version", wrapped(plain)
		case "7":
			return "validate", wrapped(sequence)
		case "8":
			return "load", wrapped(sequence)
		case "9":
			return "invoke", wrapped(sequence)
		case "14":
			return "coswid", orDigest(key, wrapped(plain))
		case "23":
			return "text", orDigest(key, wrapped(text))
		case "24":
			return "uninstall", wrapped(sequence)
		}
		return "", plain
	})
}

// orDigest shows a severable member, which is a digest if it is severed (section 5.5).
func orDigest(key string, here read) read {
	return func(w *walker, b []byte) *Item {
		if major, _, _, ok := head(b); ok && major == majorArray {
			return digest(key)(w, b)
		}
		return here(w, b)
	}
}

// sequenceNumber also shows the time that a number of UTC seconds stands for.
func sequenceNumber(w *walker, b []byte) *Item {
	i := plain(w, b)
	if major, n, _, ok := head(b); ok && major == majorUint && n > 1<<30 && n < 1<<33 {
		i.Note = "as UTC seconds " + time.Unix(int64(n), 0).UTC().Format(time.RFC3339)
	}
	return i
}

func common(w *walker, b []byte) *Item {
	return w.members(b, func(key string) (string, read) {
		switch key {
		case "1":
			return "dependencies", plain
		case "2":
			return "components", components
		case "4":
			return "shared-sequence", wrapped(sequence)
		}
		return "", plain
	})
}

func components(w *walker, b []byte) *Item {
	i := w.array(b, func(n int) (string, read) { return "component " + strconv.Itoa(n), component })
	w.components = nil
	for _, c := range i.Items {
		w.components = append(w.components, c.Summary)
	}
	return i
}

// component shows a component identifier; its summary is as ComponentID writes it.
func component(w *walker, b []byte) *Item {
	i := plain(w, b)
	var parts []string
	for _, part := range i.Items {
		parts = append(parts, part.hex())
	}
	i.Summary = strings.Join(parts, "/")
	return i
}

// hex are the digits of a byte string.
func (i *Item) hex() string { return strings.TrimSuffix(strings.TrimPrefix(i.Value, "h'"), "'") }

// sequence shows a command sequence (section 8.4.9 and 8.4.10).
func sequence(w *walker, b []byte) *Item {
	major, count, rest, ok := head(b)
	if !ok || major != majorArray || count%2 != 0 {
		return plain(w, b)
	}
	i := &Item{kind: kindSequence}
	for range count / 2 {
		var op, argument []byte
		op, rest = first(rest)
		argument, rest = first(rest)
		name, show := command(op)
		c := show(w, argument)
		c.Name, c.Key = name, plain(w, op).Value
		i.Items = append(i.Items, c)
	}
	return i
}

// elsewhere are the commands of suit-trust-domains and of suit-update-management that Decode does not know.
var elsewhere = map[Op]opSpec{
	7:  {"condition-dependency-integrity", argPolicy, false},
	8:  {"condition-is-dependency", argPolicy, false},
	11: {"directive-process-dependency", argPolicy, false},
	19: {"directive-set-parameters", argParameters, false},
	33: {"directive-unlink", argPolicy, false},
	34: {"directive-override-multiple", 0, false},
	35: {"directive-copy-params", 0, false},
}

func command(op []byte) (string, read) {
	major, arg, _, ok := head(op)
	if !ok || major != majorUint || arg > 255 {
		return "", plain
	}
	spec, known := ops[Op(arg)]
	if !known {
		spec = elsewhere[Op(arg)]
	}
	switch spec.arg {
	case argPolicy:
		return spec.name, policy
	case argIndex:
		return spec.name, index
	case argSequence:
		return spec.name, wrapped(sequence)
	case argCases:
		return spec.name, cases
	case argParameters:
		return spec.name, parameterMap
	}
	return spec.name, plain
}

// policy shows a reporting policy: which results leave a record, and which of those with system information.
func policy(w *walker, b []byte) *Item {
	i := plain(w, b)
	major, bits, _, ok := head(b)
	if !ok || major != majorUint || bits > 15 {
		return i
	}
	which := [...]string{"nothing", "success", "failure", "success and failure"}
	i.Note = "record " + which[bits&3]
	if with := bits >> 2; with == bits&3 && with != 0 {
		i.Note += ", with system information"
	} else if with != 0 {
		i.Note += ", system information on " + which[with]
	}
	return i
}

func index(w *walker, b []byte) *Item {
	major, n, _, ok := head(b)
	if ok && major == majorArray {
		return w.array(b, func(int) (string, read) { return "", index })
	}
	i := plain(w, b)
	switch {
	case i.Value == "true":
		i.Note = "every component"
	case ok && major == majorUint && n < uint64(len(w.components)):
		i.Note = "component " + w.components[n]
	}
	return i
}

func cases(w *walker, b []byte) *Item {
	return w.array(b, func(n int) (string, read) {
		return "case " + strconv.Itoa(n), func(w *walker, b []byte) *Item {
			i := wrapped(sequence)(w, b)
			if i.Value == "null" {
				i.Note = "or none of them"
			}
			return i
		}
	})
}

func parameterMap(w *walker, b []byte) *Item {
	return w.members(b, func(key string) (string, read) {
		n, err := strconv.ParseInt(key, 10, 64)
		spec, known := parameters[ParameterID(n)]
		if err != nil || !known {
			return map[string]string{"29": "wait-info", "30": "component-metadata"}[key], plain
		}
		return spec.name, parameter(ParameterID(n), spec.form)
	})
}

func parameter(id ParameterID, f form) read {
	const useBefore, encryptionInfo ParameterID = 4, 19
	switch {
	case id == useBefore:
		return sequenceNumber
	case id == encryptionInfo:
		return wrapped(coseMessage)
	case id == ParamImageSize:
		return func(w *walker, b []byte) *Item {
			i := plain(w, b)
			i.Summary = i.Value + " bytes"
			return i
		}
	case id == ParamSourceComponent:
		return index
	}
	switch f {
	case formUUID:
		return identifier
	case formDigest:
		return wrapped(digest(""))
	case formVersion:
		return wrapped(comparison)
	}
	return plain
}

func comparison(w *walker, b []byte) *Item {
	words := map[string]string{"1": "greater than", "2": "at least", "3": "equal to", "4": "at most", "5": "less than"}
	return w.array(b, func(n int) (string, read) {
		if n > 0 {
			return "numbers", plain
		}
		return "comparison", func(w *walker, b []byte) *Item {
			i := plain(w, b)
			i.Note = words[i.Value]
			return i
		}
	})
}

// identifier shows a UUID, and the name that it was made of where the manifest's text has it.
func identifier(w *walker, b []byte) *Item {
	i := plain(w, b)
	raw, err := hex.DecodeString(i.hex())
	if err != nil || len(raw) != 16 {
		return i
	}
	i.Note = uuid.UUID(raw).String()
	if name := w.nameOf(uuid.UUID(raw)); name != "" {
		i.Note += " (" + name + ")"
	}
	i.Summary = i.Note
	return i
}

// nameOf is the domain or the model that an identifier is the UUIDv5 of, "" if it is of none that the text has.
func (w *walker) nameOf(id uuid.UUID) string {
	for _, d := range w.domains {
		vendor := uuid.NewSHA1(uuid.NameSpaceDNS, []byte(d))
		if vendor == id {
			return strconv.Quote(d)
		}
		for _, m := range w.models {
			if uuid.NewSHA1(vendor, []byte(m)) == id {
				return strconv.Quote(m) + " of " + strconv.Quote(d)
			}
		}
	}
	return ""
}

// text shows SUIT_Text_Map (section 8.4.4).
func text(w *walker, b []byte) *Item {
	return w.members(b, func(string) (string, read) { return "language", languageText })
}
