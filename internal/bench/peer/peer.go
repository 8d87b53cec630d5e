// Package peer has what `fleetbridge bench` compares fleetbridge with: nginx and mosquitto as processes with a generated
// configuration, and roles ([bench.Role]) of our own: the bare socket server that is the floor of what Go can do, and the
// responder that a broker needs to serve chunks. Each peer gets the settings that it is fastest with.
package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrMissing says that a peer is not installed.
var ErrMissing = errors.New("not installed")

// Has says with [ErrMissing] that a program is not installed.
func Has(name string) error {
	_, err := find(name)
	return err
}

// find looks for a program where distributions put servers.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrMissing)
}

// write writes a file of a peer's folder.
func write(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// asRoot is a line of configuration for a server that root starts: it stays root, so that it may read the bench's folder.
func asRoot(line string) string {
	if os.Geteuid() != 0 {
		return ""
	}
	return line + "\n"
}
