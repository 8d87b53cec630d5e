package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/bridge"
	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/ident"
	"fleetbridge/internal/config"
	"fleetbridge/topics"
)

// The names of the first credentials.
const (
	adminName    = "admin"
	operatorName = "operator"
)

// initial is what a new store starts with: one tenant, and the tokens of its operator and of the platform's admin.
type initial struct {
	tenant                    ident.Tenant
	adminToken, operatorToken string
}

func initCommand(a *app) *cobra.Command {
	var tenant, mqtt, http string
	d := config.Defaults()
	c := &cobra.Command{Use: "init [DIR]", Short: "Make a data folder, a configuration and the first credentials", Args: cobra.MaximumNArgs(1)}
	c.Flags().StringVar(&tenant, "tenant", "acme", "the first tenant")
	c.Flags().StringVar(&mqtt, "mqtt-listen", d.MQTT.Listen, "address of the MQTT listener, for the configuration")
	c.Flags().StringVar(&http, "http-listen", d.HTTP.Listen, "address of the HTTP listener, for the configuration")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "fleetbridge"
		if len(args) == 1 {
			dir = args[0]
		}
		t, err := ident.ParseTenant(tenant)
		if err != nil {
			return err
		}
		d.Data, d.MQTT.Listen, d.HTTP.Listen = "data", mqtt, http
		if err := makeHome(cmd.Context(), dir, t, d); err != nil {
			return err
		}
		a.sayNext(dir, t)
		return nil
	}
	return c
}

// makeHome makes dir with everything in it, or nothing: it is built under another name and moved into place.
func makeHome(ctx context.Context, dir string, tenant ident.Tenant, c config.Serve) (err error) {
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return &failure{code: exitConflict, err: fmt.Errorf("%s is there already", dir), hint: "name another folder, or remove it; nothing was changed"}
	}
	if err := c.Check(); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".fleetbridge-init-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	first, err := makeData(ctx, filepath.Join(tmp, "data"), tenant)
	if err != nil {
		return err
	}
	url := "mqtt://" + c.MQTT.Listen
	files := []struct {
		name, comment string
		value         any
	}{
		{"fleetbridge.toml", "Configuration of fleetbridge serve. Paths count from this file's folder.", c},
		{"admin.toml", "Context of the platform's administrator: tenants and credentials. Keep it secret.",
			config.Context{Server: url, User: ident.System.String() + "/" + adminName, Token: config.Secret(first.adminToken)}},
		{"operator.toml", "Context of tenant " + tenant.String() + "'s operator. Keep it secret.",
			config.Context{Server: url, User: tenant.String() + "/" + operatorName, Token: config.Secret(first.operatorToken)}},
	}
	for _, f := range files {
		if err := config.WriteNew(filepath.Join(tmp, f.name), f.comment, f.value); err != nil {
			return err
		}
	}
	return os.Rename(tmp, dir)
}

// makeData makes the store and payload folders and puts the first tenants and credentials into the store.
func makeData(ctx context.Context, data string, tenant ident.Tenant) (_ initial, err error) {
	for _, dir := range []string{storeDir(data), payloadDir(data)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return initial{}, fmt.Errorf("make data folder: %w", err)
		}
	}
	store, err := badger.Open(badger.Options{Dir: storeDir(data), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return initial{}, fmt.Errorf("make store: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return fill(ctx, store, tenant)
}

func fill(ctx context.Context, store campaign.Store, tenant ident.Tenant) (initial, error) {
	first, now := initial{tenant: tenant}, time.Now().UTC()
	admin, token, err := newCredential(adminName, topics.RoleAdmin, now)
	if err != nil {
		return first, err
	}
	first.adminToken = token
	operator, token, err := newCredential(operatorName, topics.RoleOperator, now)
	if err != nil {
		return first, err
	}
	first.operatorToken = token
	err = store.Update(ctx, func(tx campaign.Tx) error {
		return errors.Join(
			tx.PutTenant(campaign.Tenant{ID: ident.System, Name: "the platform", Created: now}),
			tx.PutCredential(ident.System, admin),
			tx.PutTenant(campaign.Tenant{ID: tenant, Created: now}),
			tx.PutCredential(tenant, operator),
		)
	})
	if err != nil {
		return first, fmt.Errorf("write first credentials: %w", err)
	}
	return first, nil
}

func newCredential(name string, role topics.Role, now time.Time) (campaign.Credential, string, error) {
	n, err := ident.ParseName(name)
	if err != nil {
		return campaign.Credential{}, "", err
	}
	c, token, err := bridge.NewCredential(rand.Reader, n, role)
	c.Created = now
	return c, token, err
}

func (a *app) sayNext(dir string, t ident.Tenant) {
	config, context := "", ""
	if filepath.Clean(dir) != "fleetbridge" {
		config = " --config " + filepath.Join(dir, "fleetbridge.toml")
		context = " --context " + filepath.Join(dir, "operator.toml")
	}
	a.say("%s made %s: configuration, store, and contexts for the admin and for the operator of tenant %s", a.mark("✔", true), dir, t)
	a.say("\nnext:\n  fleetbridge serve%s\n  fleetbridge campaign ls%s      (in another terminal)", config, context)
}
