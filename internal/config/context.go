package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Context is what a client needs to reach a server: the file that --context names.
type Context struct {
	// Server is mqtt://host:port, mqtts://host:port, or ws:// and wss:// with a path.
	Server string `toml:"server"`
	// User is tenant/name.
	User string `toml:"user"`
	// Token is the credential's secret; TokenFile names a file that holds it instead.
	Token     Secret `toml:"token,omitempty"`
	TokenFile string `toml:"token_file,omitempty"`
	// CA is a PEM file of the authorities to trust, instead of the system's.
	CA string `toml:"ca,omitempty"`
}

// Secret is text that is not printed by accident.
type Secret string

// String hides the secret; convert to string to use it.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "redacted"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// ReadContext reads a context file; the token of token_file is read into Token, relative paths count from the file.
func ReadContext(path string) (Context, error) {
	var c Context
	if err := readFile(path, &c); err != nil {
		return Context{}, err
	}
	c.CA = from(filepath.Dir(path), c.CA, "")
	c.TokenFile = from(filepath.Dir(path), c.TokenFile, "")
	if c.Server == "" || c.User == "" {
		return Context{}, fmt.Errorf("read %s: server and user are needed: %w", path, ErrInvalid)
	}
	if (c.Token == "") == (c.TokenFile == "") {
		return Context{}, fmt.Errorf("read %s: one of token and token_file is needed: %w", path, ErrInvalid)
	}
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return Context{}, fmt.Errorf("read token: %w", err)
		}
		c.Token = Secret(strings.TrimSpace(string(b)))
	}
	return c, nil
}

// WriteNew writes v as TOML, after a comment, to a new file that only its owner can read.
func WriteNew(path, comment string, v any) error {
	var b bytes.Buffer
	for line := range strings.SplitSeq(comment, "\n") {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	if err := toml.NewEncoder(&b).Encode(v); err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create configuration: %w", err)
	}
	if _, err := f.Write(b.Bytes()); err != nil {
		f.Close()
		return fmt.Errorf("write configuration: %w", err)
	}
	return f.Close()
}
