package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/internal/config"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadServe(t *testing.T) {
	p := write(t, "s.toml", "data = 'd'\n[mqtt]\nlisten = '127.0.0.1:0'\n[tls]\ncert = '/abs.pem'\nkey = 'rel.pem'\n")
	got, err := config.ReadServe(p, config.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Defaults()
	want.Data = filepath.Join(filepath.Dir(p), "d")
	want.MQTT.Listen = "127.0.0.1:0"
	want.TLS = config.TLS{Cert: "/abs.pem", Key: filepath.Join(filepath.Dir(p), "rel.pem")}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReadServeRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"unknown key":   {"data = 'd'\n[mqtt]\nlissen = ':1'\n", "line 3: unknown key mqtt.lissen"},
		"wrong type":    {"\ninsecure = 'yes'\n", "line 2"},
		"not TOML":      {"data = \n", "line 1"},
		"duplicate key": {"data = 'a'\ndata = 'b'\n", "data"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.ReadServe(write(t, "s.toml", tt.text), config.Defaults())
			if !errors.Is(err, config.ErrInvalid) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %v, want ErrInvalid with %q", err, tt.want)
			}
		})
	}
}

func TestCheckListen(t *testing.T) {
	for _, tt := range []struct {
		listen             string
		insecure, tls, bad bool
	}{
		{listen: "127.0.0.1:1883"},
		{listen: "127.9.9.9:1883"},
		{listen: "[::1]:1883"},
		{listen: "localhost:1883"},
		{listen: "0.0.0.0:1883", bad: true},
		{listen: ":1883", bad: true},
		{listen: "[::]:1883", bad: true},
		{listen: "192.0.2.1:1883", bad: true},
		{listen: "localhost.example.org:1883", bad: true},
		{listen: "1883", bad: true},
		{listen: "1883", insecure: true, bad: true},
		{listen: ":1883", insecure: true},
		{listen: ":1883", tls: true},
	} {
		for _, key := range []string{"mqtt", "http"} {
			c := config.Defaults()
			c.Insecure = tt.insecure
			if tt.tls {
				c.TLS = config.TLS{Cert: "c", Key: "k"}
			}
			if key == "mqtt" {
				c.MQTT.Listen = tt.listen
			} else {
				c.HTTP.Listen = tt.listen
			}
			if err := c.Check(); (err != nil) != tt.bad || err != nil && !errors.Is(err, config.ErrInvalid) {
				t.Errorf("%s.listen %+v: %v", key, tt, err)
			}
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, change := range map[string]func(*config.Serve){
		"no data":      func(c *config.Serve) { c.Data = "" },
		"half of TLS":  func(c *config.Serve) { c.TLS.Cert = "c" },
		"no client":    func(c *config.Serve) { c.MQTT.MaxClients = 0 },
		"log level":    func(c *config.Serve) { c.Log.Level = "loud" },
		"log format":   func(c *config.Serve) { c.Log.Format = "xml" },
		"no listen":    func(c *config.Serve) { c.MQTT.Listen = "" },
		"default good": nil,
	} {
		c := config.Defaults()
		if change != nil {
			change(&c)
		}
		if err := c.Check(); (err != nil) != (change != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSettings sets every key by its variable and reads it back, and refuses what is not its type.
func TestSettings(t *testing.T) {
	if len(config.Settings) == 0 {
		t.Fatal("no settings")
	}
	for _, s := range config.Settings {
		c := config.Defaults()
		value := "7"
		if s.IsBool() {
			value = "true"
		}
		if strings.HasSuffix(s.Key, "_after") {
			value = "7h0m0s"
		}
		env := func(k string) string {
			if k == s.Env() {
				return value
			}
			return ""
		}
		if err := config.ApplyEnv(&c, env); err != nil {
			t.Fatal(err)
		}
		if got := s.Value(c); got != value {
			t.Errorf("%s: got %q, want %q", s.Env(), got, value)
		}
	}
	for _, key := range []string{"FLEETBRIDGE_MQTT_MAX_CLIENTS", "FLEETBRIDGE_INSECURE", "FLEETBRIDGE_RETENTION_DELETE_AFTER"} {
		c := config.Defaults()
		err := config.ApplyEnv(&c, func(k string) string { return map[string]string{key: "many"}[k] })
		if !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%s=many: %v", key, err)
		}
	}
}

func TestContext(t *testing.T) {
	p := filepath.Join(t.TempDir(), "c.toml")
	want := config.Context{Server: "mqtt://127.0.0.1:1", User: "acme/op", Token: "secret"}
	if err := config.WriteNew(p, "one\ntwo", want); err != nil {
		t.Fatal(err)
	}
	got, err := config.ReadContext(p)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := config.WriteNew(p, "", want); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second write: %v, want ErrExist", err)
	}
	if st, err := os.Stat(p); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", got, got, got, got.Token); strings.Contains(s, "secret") {
		t.Errorf("prints the token: %s", s)
	}
}

func TestContextTokenFile(t *testing.T) {
	tok := write(t, "token", "tok\n")
	got, err := config.ReadContext(write(t, "c.toml", fmt.Sprintf("server='mqtt://h:1'\nuser='a/b'\ntoken_file='%s'\n", tok)))
	if err != nil || got.Token != "tok" {
		t.Errorf("got %q, %v", string(got.Token), err)
	}
	for _, text := range []string{"", "server='x'\nuser='y'\n", "server='x'\nuser='y'\ntoken='t'\ntoken_file='f'\n", "user='y'\ntoken='t'\n"} {
		if _, err := config.ReadContext(write(t, "c.toml", text)); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", text, err)
		}
	}
}

// TestDurationIsWrittenAsText: a person must be able to read what init wrote.
func TestDurationIsWrittenAsText(t *testing.T) {
	b, err := config.Duration(36 * time.Hour).MarshalText()
	if err != nil || string(b) != "36h0m0s" {
		t.Fatalf("%q, %v", b, err)
	}
	var d config.Duration
	if err := d.UnmarshalText(b); err != nil || d != config.Duration(36*time.Hour) {
		t.Errorf("read back: %v, %v", d, err)
	}
}
