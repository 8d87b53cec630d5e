// Package arch holds no code: its tests are the rules of the house. They read the sources of the whole module with
// go/parser (a test that shells out to the go command would stay cached after a bad import) and fail on a package that
// the law does not list, an entry of the law that no longer exists, a forbidden import, a clock in a pure package, an
// undocumented exported name, or a file, function or interface over its budget.
package arch
