package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"fleetbridge/internal/client"
)

// withLocal runs a server with fresh data on free ports while fn uses it, and leaves nothing behind.
func (a *app) withLocal(ctx context.Context, fn func(ctx context.Context, op client.Context) error) (err error) {
	parent, err := os.MkdirTemp("", "fleetbridge-local-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	srv, op, err := openDemo(ctx, filepath.Join(parent, "fleetbridge"))
	if err != nil {
		return err
	}
	return a.whileServing(ctx, srv, func(ctx context.Context) error { return fn(ctx, op) })
}

// whileServing runs srv until fn returns, whose context ends when the server does.
func (a *app) whileServing(ctx context.Context, srv *server, fn func(context.Context) error) error {
	g, gctx := errgroup.WithContext(ctx)
	gctx, stop := context.WithCancel(gctx)
	defer stop()
	g.Go(func() error { return srv.run(gctx) })
	g.Go(func() error {
		defer stop()
		a.say("▸ server     %s   %s", srv.mqttURL(), srv.httpURL())
		return fn(gctx)
	})
	return orInterrupted(ctx, g.Wait())
}

// withServer is a body that talks to the server of the context file, or to one of its own.
func (a *app) withServer(ctx context.Context, local bool, fn func(ctx context.Context, cl *client.Client, op client.Context) error) error {
	connected := func(ctx context.Context, op client.Context) error {
		cl, err := client.Dial(ctx, op)
		if err != nil {
			return err
		}
		defer cl.Close()
		return fn(ctx, cl, op)
	}
	if local {
		return a.withLocal(ctx, connected)
	}
	op, err := a.readContext()
	if err != nil {
		return err
	}
	return connected(ctx, op)
}
