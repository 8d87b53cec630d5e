package selector

import (
	"regexp"
	"strconv"
	"strings"
)

// shortTerm is one term of the short form: name=value, name!=value, name in (a,b), name notin (a,b). With spaces around
// = or !=, or with ==, it is an expression with a mistake.
var shortTerm = regexp.MustCompile(`^\s*([A-Za-z0-9_./-]+)(?:(=|!=)([A-Za-z0-9_.:-]*)|\s+(in|notin)\s*\(([A-Za-z0-9_.:,\s-]*)\))\s*(?:,|$)`)

// translate turns the short form into an expression: names are labels, unless they are fields that hold a text, or begin
// with labels. or facts.
func translate(s string) (string, bool) {
	var terms []string
	if strings.TrimSpace(s) == "" || strings.HasSuffix(strings.TrimSpace(s), ",") {
		return "", false
	}
	for s != "" {
		m := shortTerm.FindStringSubmatch(s)
		if m == nil {
			return "", false
		}
		s = s[len(m[0]):]
		left := shortField(m[1])
		switch op := m[2] + m[4]; op {
		case "=":
			terms = append(terms, left+" == "+strconv.Quote(m[3]))
		case "!=":
			terms = append(terms, left+" != "+strconv.Quote(m[3]))
		default:
			var values []string
			for v := range strings.SplitSeq(m[5], ",") {
				values = append(values, strconv.Quote(strings.TrimSpace(v)))
			}
			term := left + " in [" + strings.Join(values, ", ") + "]"
			if op == "notin" {
				term = "not (" + term + ")"
			}
			terms = append(terms, term)
		}
	}
	return strings.Join(terms, " && "), true
}

func shortField(name string) string {
	if fields[name] == text {
		return name
	}
	for _, t := range []string{"labels", "facts"} {
		if rest, ok := strings.CutPrefix(name, t+"."); ok {
			return t + "[" + strconv.Quote(rest) + "]"
		}
	}
	return "labels[" + strconv.Quote(name) + "]"
}
