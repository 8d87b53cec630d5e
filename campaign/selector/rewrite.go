package selector

import (
	"errors"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/google/uuid"
)

// rewriter turns what check has passed into what expr can run: versions into comparisons of numbers, times into
// nanoseconds, UUIDs into their one spelling.
type rewriter struct{}

// flipped is a comparison with its sides exchanged.
var flipped = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// Visit is called for the children of a node first.
func (rewriter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == "seen_within" {
			d, err := time.ParseDuration(literal(n.Arguments[0]))
			if err != nil {
				return // check has refused it
			}
			ast.Patch(node, &ast.BinaryNode{Operator: ">=", Left: &ast.IdentifierNode{Value: "last_seen"},
				Right: &ast.BinaryNode{Operator: "-", Left: &ast.IdentifierNode{Value: "now"}, Right: &ast.IntegerNode{Value: int(d)}}})
		}
	case *ast.BinaryNode:
		if op, ok := flipped[n.Operator]; ok {
			compared(node, n.Operator, n.Left, n.Right)
			compared(node, op, n.Right, n.Left)
		}
		if n.Operator == "in" {
			if array, ok := n.Right.(*ast.ArrayNode); ok {
				for _, e := range array.Nodes {
					canonical(n.Left, e)
				}
			}
		}
	}
}

// compared rewrites node, which is `left op right`, by what stands on the right.
func compared(node *ast.Node, op string, left, right ast.Node) {
	if call, ok := right.(*ast.CallNode); ok && fieldName(call.Callee) == "semver" {
		ast.Patch(node, &ast.BinaryNode{Operator: op, Right: &ast.IntegerNode{}, Left: &ast.CallNode{
			Callee: &ast.IdentifierNode{Value: compareName}, Arguments: []ast.Node{left, call.Arguments[0]},
		}})
		return
	}
	if fieldName(left) == "last_seen" {
		if t, err := time.Parse(time.RFC3339, literal(right)); err == nil {
			ast.Patch(node, &ast.BinaryNode{Operator: op, Left: left, Right: &ast.IntegerNode{Value: nanos(t)}})
		}
		return
	}
	canonical(left, right)
}

// canonical spells a UUID that vendor or class is compared with as they are spelt.
func canonical(field, value ast.Node) {
	s, ok := value.(*ast.StringNode)
	if name := fieldName(field); !ok || name != "vendor" && name != "class" {
		return
	}
	if u, err := uuid.Parse(s.Value); err == nil {
		s.Value = u.String()
	}
}

// literal is the text of a literal.
func literal(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return ""
}

// compareName is the function that semver becomes; no filter can call it by this name.
const compareName = "semver_compare"

func compareVersions(a, b string) (int, error) {
	x, err := parseVersion(a)
	if err != nil {
		return 0, err
	}
	y, err := parseVersion(b)
	if err != nil {
		return 0, err
	}
	return x.compare(y), nil
}

// compareCall is compareVersions as expr calls it.
func compareCall(args ...any) (any, error) {
	if len(args) == 2 {
		a, ok1 := args[0].(string)
		b, ok2 := args[1].(string)
		if ok1 && ok2 {
			return compareVersions(a, b)
		}
	}
	return nil, errors.New("semver compares two texts")
}
