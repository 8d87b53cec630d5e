package peer

import (
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"fleetbridge/internal/bench"
)

// Login is a user whom mosquitto lets in.
type Login struct{ User, Password string }

// MosquittoWith starts mosquitto with a password file, and returns it with its address. Passwords are kept as one salted SHA-512
// each, the cheapest form that it takes and near to what we do for a token. [ErrMissing] if it is not installed.
func MosquittoWith(ctx context.Context, b *bench.Bench, logins []Login) (*bench.Proc, string, error) {
	dir, err := os.MkdirTemp(b.Dir, "passwords-")
	if err != nil {
		return nil, "", fmt.Errorf("make folder: %w", err)
	}
	if _, err := write(dir, "passwords", passwords(logins)); err != nil {
		return nil, "", err
	}
	return mosquitto(ctx, b, "allow_anonymous false\npassword_file "+filepath.Join(dir, "passwords"))
}

func passwords(logins []Login) string {
	var out strings.Builder
	for _, l := range logins {
		var salt [12]byte
		rand.Read(salt[:]) // never fails
		sum := sha512.Sum512(append([]byte(l.Password), salt[:]...))
		fmt.Fprintf(&out, "%s:$6$%s$%s\n", l.User, base64.StdEncoding.EncodeToString(salt[:]), base64.StdEncoding.EncodeToString(sum[:]))
	}
	return out.String()
}
