package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"

	"fleetbridge/firmware/cose"
)

const (
	maxKeyFile = 8 << 10
	// envPassphrase is the variable that opens private keys where no file and no terminal does.
	envPassphrase = "FLEETBRIDGE_KEY_PASSPHRASE"
	minPassphrase = 8 // characters of one that encrypts a new file
	maxPassphrase = 1024
)

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int) ([]byte, error) {
	b, _, err := readWithMode(path, limit)
	return b, err
}

// readWithMode also says what the very file is that was read.
func readWithMode(path string, limit int) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, 0, err
	}
	if len(b) > limit {
		return nil, 0, usagef("%s has more than %d bytes: it is not what is wanted here", path, limit)
	}
	return b, info.Mode(), nil
}

// readSecret reads a file that must be its owner's alone if secret says that it holds something to keep.
func readSecret(path string, limit int, secret func([]byte) bool) ([]byte, error) {
	b, mode, err := readWithMode(path, limit)
	if err != nil {
		return nil, err
	}
	if othersRead(mode) && secret(b) {
		return nil, &failure{code: exitUsage, err: fmt.Errorf("%s can be read by others (mode %04o): a secret is its owner's alone", path, mode.Perm()),
			hint: "`chmod 600 " + path + "` mends it; if others may have read it, replace the secret"}
	}
	return b, nil
}

// readPublicKey reads a public key, or the public half of a private one; passphraseFile may be "".
func (a *app) readPublicKey(path, passphraseFile string) (cose.PublicKey, error) {
	b, err := readSecret(path, maxKeyFile, cose.HoldsPrivateKey)
	if err != nil {
		return cose.PublicKey{}, fmt.Errorf("read key: %w", err)
	}
	if cose.HoldsPrivateKey(b) {
		private, _, err := a.openPrivateKey(path, b, passphraseFile)
		return private.Public(), err
	}
	key, err := cose.ParsePublicKey(b)
	if err != nil {
		return cose.PublicKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	return key, nil
}

// readPrivateKey reads a private key; passphraseFile may be "".
func (a *app) readPrivateKey(path, passphraseFile string) (cose.PrivateKey, error) {
	b, err := readSecret(path, maxKeyFile, cose.HoldsPrivateKey)
	if err != nil {
		return cose.PrivateKey{}, fmt.Errorf("read key: %w", err)
	}
	key, _, err := a.openPrivateKey(path, b, passphraseFile)
	return key, err
}

// openPrivateKey also returns the passphrase that opened the key, "" if it was not encrypted.
func (a *app) openPrivateKey(path string, b []byte, passphraseFile string) (cose.PrivateKey, string, error) {
	key, err := cose.ParsePrivateKey(b)
	passphrase := ""
	if errors.Is(err, cose.ErrEncrypted) {
		if passphrase, err = a.passphrase("of "+path, passphraseFile); err != nil {
			return cose.PrivateKey{}, "", err
		}
		key, err = cose.DecryptPrivateKey(b, passphrase)
	}
	if err != nil {
		return cose.PrivateKey{}, "", fmt.Errorf("read %s: %w", path, err)
	}
	return key, passphrase, nil
}

// passphrase comes from the file, else from the environment, else from the terminal, without an echo.
func (a *app) passphrase(whose, file string) (string, error) {
	if file != "" {
		b, err := readSecret(file, maxPassphrase+2, func([]byte) bool { return true })
		if err != nil {
			return "", fmt.Errorf("read passphrase: %w", err)
		}
		line, rest, _ := strings.Cut(string(b), "\n")
		if line = strings.TrimSuffix(line, "\r"); line == "" || rest != "" {
			return "", usagef("passphrase file %s: want one line that is not empty", file)
		}
		return line, nil
	}
	if s := a.getenv(envPassphrase); s != "" {
		return s, nil
	}
	if !terminal(a.stdin) {
		return "", usagef("the passphrase %s is needed: --passphrase-file FILE, %s in the environment, or a terminal to ask at", whose, envPassphrase)
	}
	return a.ask("passphrase " + whose + ": ")
}

// newPassphrase is one that will encrypt a key. At a terminal it is asked for twice.
func (a *app) newPassphrase(whose, file string) (string, error) {
	s, err := a.passphrase(whose, file)
	if err != nil {
		return "", err
	}
	if n := len([]rune(s)); n < minPassphrase {
		return "", usagef("a passphrase of %d characters keeps nobody out: use at least %d", n, minPassphrase)
	}
	if file == "" && a.getenv(envPassphrase) == "" {
		again, err := a.ask("the same again: ")
		if err != nil {
			return "", err
		}
		if again != s {
			return "", usagef("the two passphrases differ: nothing is written")
		}
	}
	return s, nil
}

// ask reads a line from the terminal without an echo. An interruption gives the terminal its echo back.
func (a *app) ask(prompt string) (string, error) {
	in, ok := a.stdin.(*os.File)
	if !ok {
		return "", usagef("no terminal to ask at")
	}
	fd := int(in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for the passphrase: %w", err)
	}
	fmt.Fprint(a.stderr, prompt)
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		got <- answer{line, err}
	}()
	defer fmt.Fprintln(a.stderr)
	select {
	case r := <-got:
		if r.err != nil {
			return "", fmt.Errorf("ask for the passphrase: %w", r.err)
		}
		return string(r.line), nil
	case <-a.interrupts:
		return "", errors.Join(context.Canceled, term.Restore(fd, state))
	}
}

// writeNew writes a file that must not be there yet, whole and on disk or not at all.
func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return &failure{code: exitFailure, err: fmt.Errorf("create file: %w", err), hint: "nothing is overwritten: name another file, or move this one away"}
	}
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// replaceFile writes a file so that a crash leaves the old one or the new one.
func replaceFile(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("replace file: %w", err)
	}
	return nil
}
