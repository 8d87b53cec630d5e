package selector

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/google/uuid"
)

// kind is the type of a part of a filter.
type kind string

const (
	boolean kind = "a condition"
	text    kind = "a text"
	number  kind = "a number"
	moment  kind = "a time"
	version kind = "a version"
	table   kind = "a table"
	list    kind = "a list"
)

// fields are the names that a filter may use.
var fields = map[string]kind{
	"id": text, "vendor": text, "class": text, "version": text, "versions": table, "digest": text, "installed": table,
	"boot": number, "last_seen": moment, "labels": table, "facts": table, "groups": list,
}

// maxMentions bounds Filter.Mentions.
const maxMentions = 16

// checker holds a syntax tree to the subset. Only what it names is allowed.
type checker struct {
	f   *Filter
	err *file.Error
}

// check parses a filter and says what it uses. The error is an *Error.
func check(src string) (*Filter, error) {
	config := conf.CreateNew()
	config.MaxNodes = MaxNodes
	clear(config.Builtins)
	tree, err := parser.ParseWithConfig(src, config)
	if err != nil {
		return nil, errorOf(err)
	}
	c := &checker{f: &Filter{uses: map[string]bool{}, labels: map[string]string{}}}
	c.want(tree.Node, boolean)
	if c.err != nil {
		return nil, errorOf(c.err.Bind(tree.Source))
	}
	c.narrow(tree.Node)
	return c.f, nil
}

// fail notes the first error.
func (c *checker) fail(n ast.Node, format string, args ...any) {
	if c.err == nil {
		c.err = &file.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
	}
}

// want fails unless n is of kind k.
func (c *checker) want(n ast.Node, k kind) {
	if have := c.kind(n); have != k {
		c.fail(n, "%s where %s is wanted", have, k)
	}
}

// kind is the type of n. With an error it may be anything.
func (c *checker) kind(n ast.Node) kind {
	switch n := n.(type) {
	case *ast.BoolNode:
		return boolean
	case *ast.StringNode:
		return text
	case *ast.IntegerNode:
		return number
	case *ast.IdentifierNode:
		return c.name(n)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		c.binary(n)
		return boolean
	case *ast.CallNode:
		return c.call(n)
	case *ast.BuiltinNode:
		c.fail(n, noFunction)
		return boolean
	case *ast.ArrayNode:
		for _, e := range n.Nodes {
			if _, ok := e.(*ast.StringNode); !ok {
				c.fail(e, "a list holds texts only")
			}
		}
		return list
	}
	c.fail(n, "not a part of this language")
	return boolean
}

func (c *checker) name(n *ast.IdentifierNode) kind {
	k, ok := fields[n.Value]
	if !ok {
		hint := "names are " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
		if near := Nearest(n.Value, slices.Sorted(maps.Keys(fields)), 1); len(near) > 0 {
			hint = "did you mean " + near[0] + "?"
		}
		c.fail(n, "unknown name %s; %s; a label is labels.%s, a text is in quotes", n.Value, hint, n.Value)
	}
	c.f.uses[n.Value] = true
	return k
}

func (c *checker) member(n *ast.MemberNode) kind {
	id, ok := n.Node.(*ast.IdentifierNode)
	_, constant := n.Property.(*ast.StringNode)
	switch {
	case !ok || c.name(id) != table || n.Optional || n.Method:
		c.fail(n, "members are of labels, facts, versions and installed")
	case !constant:
		c.fail(n.Property, `a member's name is a text: labels.ring, versions["00"]`)
	}
	return text
}

func (c *checker) unary(n *ast.UnaryNode) kind {
	switch n.Operator {
	case "!", "not":
		c.want(n.Node, boolean)
		return boolean
	case "-", "+":
		if _, ok := n.Node.(*ast.IntegerNode); ok {
			return number
		}
	}
	c.fail(n, "operator %s is not a part of this language", n.Operator)
	return boolean
}

const noFunction = `not a function of this language: there are semver("2.5.0") and seen_within("72h")`

func (c *checker) call(n *ast.CallNode) kind {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	var arg *ast.StringNode
	if ok && len(n.Arguments) == 1 {
		arg, _ = n.Arguments[0].(*ast.StringNode)
	}
	switch {
	case !ok || callee.Value != "semver" && callee.Value != "seen_within":
		c.fail(n, noFunction)
		return boolean
	case arg == nil:
		c.fail(n, "%s takes one text in quotes", callee.Value)
	case callee.Value == "semver":
		if _, err := parseVersion(arg.Value); err != nil {
			c.fail(arg, "%v", err)
		}
	default:
		if d, err := time.ParseDuration(arg.Value); err != nil || d <= 0 {
			c.fail(arg, `not a duration: write "72h" or "15m"`)
		}
	}
	if callee.Value == "semver" {
		return version
	}
	return boolean
}

func (c *checker) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "&&", "||", "and", "or":
		c.want(n.Left, boolean)
		c.want(n.Right, boolean)
	case "==", "!=", "<", "<=", ">", ">=":
		c.compare(n)
	case "in":
		c.in(n)
	case "startsWith":
		c.want(n.Left, text)
		c.want(n.Right, text)
	case "matches":
		c.want(n.Left, text)
		pattern, ok := n.Right.(*ast.StringNode)
		switch {
		case !ok:
			c.fail(n.Right, "matches takes a pattern in quotes")
		case len(pattern.Value) > MaxPattern:
			c.fail(n.Right, "the pattern has %d bytes, at most %d", len(pattern.Value), MaxPattern)
		default:
			if _, err := regexp.Compile(pattern.Value); err != nil {
				c.fail(n.Right, "%v", err)
			}
		}
	default:
		c.fail(n, "operator %s is not a part of this language", n.Operator)
	}
}

// compare checks a comparison: of two texts, two numbers, two conditions, a text with a version, or last_seen with a
// time.
func (c *checker) compare(n *ast.BinaryNode) {
	l, r := c.kind(n.Left), c.kind(n.Right)
	ordered := n.Operator != "==" && n.Operator != "!="
	switch {
	case l == text && r == version, l == version && r == text:
	case l == moment && r == text:
		c.time(n.Right)
	case l == text && r == moment:
		c.time(n.Left)
	case l != r || l == table || l == list || l == version || l == moment || l == boolean && ordered:
		c.fail(n, "%s can't be compared with %s by %s", l, r, n.Operator)
	case l == text:
		for _, side := range [][2]ast.Node{{n.Left, n.Right}, {n.Right, n.Left}} {
			field := fieldName(side[0])
			if ordered && (field == "version" || strings.HasPrefix(field, "versions")) {
				c.fail(n, `texts are in the order of their letters: compare versions with semver("…")`)
			}
			c.mention(field, side[1])
		}
	}
}

func (c *checker) time(n ast.Node) {
	s, ok := n.(*ast.StringNode)
	if ok {
		_, err := time.Parse(time.RFC3339, s.Value)
		ok = err == nil
	}
	if !ok {
		c.fail(n, `last_seen is compared with a time such as "2026-11-24T12:00:00Z", or say seen_within("72h")`)
	}
}

func (c *checker) in(n *ast.BinaryNode) {
	c.want(n.Left, text)
	switch r := n.Right.(type) {
	case *ast.ArrayNode:
		c.kind(r)
		for _, e := range r.Nodes {
			c.mention(fieldName(n.Left), e)
		}
	case *ast.IdentifierNode:
		if k := c.name(r); k != list && k != table {
			c.fail(r, "in takes a list")
		}
		if r.Value == "groups" {
			c.mention("groups", n.Left)
		}
	default:
		c.fail(n.Right, `in takes a list: ["a", "b"], groups, labels, facts`)
	}
}

// mention notes that a field is compared with a text, and holds vendor and class to UUIDs.
func (c *checker) mention(field string, with ast.Node) {
	s, ok := with.(*ast.StringNode)
	if !ok || field == "" {
		return
	}
	if field == "vendor" || field == "class" {
		if _, err := uuid.Parse(s.Value); err != nil {
			c.fail(with, "%s is a UUID, this is none", field)
		}
	}
	if len(c.f.mentions) < maxMentions {
		c.f.mentions = append(c.f.mentions, Mention{field, s.Value})
	}
}

// fieldName is the field that n names, "" if it is none.
func fieldName(n ast.Node) string {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value
	case *ast.MemberNode:
		id, ok := n.Node.(*ast.IdentifierNode)
		p, constant := n.Property.(*ast.StringNode)
		if ok && constant {
			return id.Value + "." + p.Value
		}
	}
	return ""
}

// narrow collects the labels and groups that every selected device has: the equalities that all of them pass. A label
// that equals "" may be missing, so it narrows nothing.
func (c *checker) narrow(n ast.Node) {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return
	}
	switch b.Operator {
	case "&&", "and":
		c.narrow(b.Left)
		c.narrow(b.Right)
	case "in":
		s, ok := b.Left.(*ast.StringNode)
		if ok && fieldName(b.Right) == "groups" {
			c.f.groups = append(c.f.groups, s.Value)
		}
	case "==":
		for _, side := range [][2]ast.Node{{b.Left, b.Right}, {b.Right, b.Left}} {
			name, ok := strings.CutPrefix(fieldName(side[0]), "labels.")
			value, constant := side[1].(*ast.StringNode)
			if _, twice := c.f.labels[name]; ok && constant && value.Value != "" && !twice {
				c.f.labels[name] = value.Value
			}
		}
	}
}
