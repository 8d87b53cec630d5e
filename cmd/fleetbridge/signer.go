package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

const (
	maxSignature  = 4 << 10         // bytes of what is taken for one
	signerTimeout = 5 * time.Minute // for a person to touch a token or to type a PIN
)

// signOutside adds the block that an external program signs.
func (a *app) signOutside(ctx context.Context, program string, envelope []byte, key cose.PublicKey, alg cose.Alg, id ident.Key) ([]byte, error) {
	tbs, err := firmware.ToBeSigned(envelope, alg, id)
	if err != nil {
		return nil, err
	}
	signature, err := a.runSigner(ctx, program, tbs)
	if err != nil {
		return nil, err
	}
	return firmware.Attach(envelope, signature, key, alg, id)
}

// runSigner runs a program, no shell, with the bytes to be signed on its standard input and, where an argument is {}, in
// a file of that name. Its standard output is the signature; its standard error is shown.
func (a *app) runSigner(ctx context.Context, program string, tbs []byte) ([]byte, error) {
	words := strings.Fields(program)
	if strings.ContainsAny(program, "\"'\\`$|<>;&") || len(words) == 0 {
		return nil, usagef("--signer %q: a program and its arguments, without quotes or a shell's signs; put more than that into a script", program)
	}
	dir, err := os.MkdirTemp("", "fleetbridge-sign-")
	if err != nil {
		return nil, fmt.Errorf("run signer: %w", err)
	}
	defer os.RemoveAll(dir)
	for i, word := range words[1:] {
		if word == "{}" {
			words[i+1] = filepath.Join(dir, "tbs.bin")
			if err := os.WriteFile(words[i+1], tbs, 0o600); err != nil {
				return nil, fmt.Errorf("run signer: %w", err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, signerTimeout)
	defer cancel()
	out := &bounded{limit: maxSignature, stop: cancel}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(tbs), out, a.stderr
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case out.full:
		return nil, &failure{code: exitVerify, err: fmt.Errorf("the signer wrote more than %d bytes: that is no signature", maxSignature),
			hint: "its standard output must be the raw signature, nothing else"}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, &failure{code: exitTimeout, err: fmt.Errorf("the signer has not answered within %v: nothing is written", signerTimeout)}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return nil, usagef("--signer: %w", err)
	case err != nil:
		return nil, fmt.Errorf("the signer failed, nothing is written: %w", err)
	}
	return out.buf.Bytes(), nil
}

// bounded keeps no more than limit bytes, and stops the program that writes more: nobody would read on.
type bounded struct {
	buf   bytes.Buffer // a field: its ReadFrom must not become ours
	limit int
	stop  context.CancelFunc
	full  bool
}

// errFull ends the copying from a program that writes too much.
var errFull = errors.New("too much output")

func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.limit {
		b.full = true
		b.stop()
		return 0, errFull
	}
	return b.buf.Write(p)
}
