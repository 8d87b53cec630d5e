// Package config reads the two files that fleetbridge has: the server's configuration and a client's context. Both are
// TOML, read strictly: an unknown key, a wrong type or a bad value is an error with its line, never a default. It knows
// nothing of the domain, opens no socket, and checks only what can be judged from the values alone.
package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// ErrInvalid is wrapped by every error about what a file, a variable or a flag says.
var ErrInvalid = errors.New("invalid configuration")

// Serve is the server's configuration. The zero value is not useful: start from Defaults.
type Serve struct {
	// Data is the folder that holds the store and the payloads. A relative path in a file counts from the file's folder.
	Data string `toml:"data"`
	// Insecure allows listening beyond loopback without TLS. Tokens then cross the network in clear.
	Insecure bool `toml:"insecure"`
	MQTT     MQTT `toml:"mqtt"`
	HTTP     HTTP `toml:"http"`
	TLS      TLS  `toml:"tls"`
	Log      Log  `toml:"log"`
	// Egress is how many bytes of chunks may be sent in a second; 0: no limit.
	Egress Rate `toml:"egress"`
	// Payloads says how uploads are treated.
	Payloads Payloads `toml:"payloads"`
	// Retention says how long stopped campaigns are kept.
	Retention Retention `toml:"retention"`
}

// MQTT is the listener that devices and services connect to.
type MQTT struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string `toml:"listen"`
	// MaxClients bounds the connections held at once.
	MaxClients int `toml:"max_clients"`
}

// HTTP is the listener for MQTT over WebSocket (/mqtt), payloads (/payload/) and the health checks.
type HTTP struct {
	// Listen is host:port; port 0 takes a free one, empty opens none.
	Listen string `toml:"listen"`
	// Origins lists the hosts of web pages that may open a WebSocket, besides the server's own.
	Origins []string `toml:"origins"`
}

// TLS is the certificate of both listeners, PEM files; both or neither. Relative paths count from the file's folder.
type TLS struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// Retention says after how long from its end a campaign is archived, and deleted; 0 means never.
type Retention struct {
	ArchiveAfter Duration `toml:"archive_after"`
	DeleteAfter  Duration `toml:"delete_after"`
}

// Payloads says when an upload that got no byte is given up, with the room that is reserved for it.
type Payloads struct {
	AbandonAfter Duration `toml:"abandon_after"`
}

// Duration is a time.Duration that is written in text: 720h.
type Duration time.Duration

// UnmarshalText parses what time.ParseDuration takes; below 0 is an error.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 720h: %w", b, ErrInvalid)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Log says how much is logged to stderr, and how.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `toml:"level"`
	// Format is text or json.
	Format string `toml:"format"`
}

// Defaults is what serve does without a word of configuration: everything on loopback.
func Defaults() Serve {
	return Serve{
		Data: "fleetbridge/data",
		MQTT: MQTT{Listen: "127.0.0.1:1883", MaxClients: 100_000},
		HTTP: HTTP{Listen: "127.0.0.1:8080"},
		Log:  Log{Level: "info", Format: "text"},

		Payloads: Payloads{AbandonAfter: Duration(24 * time.Hour)},
	}
}

// ReadServe lays the file at path over base; keys that it doesn't name keep base's value.
func ReadServe(path string, base Serve) (Serve, error) {
	c := base
	if err := readFile(path, &c); err != nil {
		return Serve{}, err
	}
	dir := filepath.Dir(path)
	c.Data = from(dir, c.Data, base.Data)
	c.TLS.Cert = from(dir, c.TLS.Cert, base.TLS.Cert)
	c.TLS.Key = from(dir, c.TLS.Key, base.TLS.Key)
	return c, nil
}

// from makes a path that a file said count from the file's folder; what the file left alone stays.
func from(dir, path, before string) string {
	if path == "" || path == before || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Check judges the configuration as a whole. The error names the key and wraps ErrInvalid.
func (c Serve) Check() error {
	if c.Data == "" {
		return fmt.Errorf("data: a folder is needed: %w", ErrInvalid)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return fmt.Errorf("tls: cert and key come together: %w", ErrInvalid)
	}
	if c.MQTT.MaxClients < 1 {
		return fmt.Errorf("mqtt.max_clients: %d, at least 1: %w", c.MQTT.MaxClients, ErrInvalid)
	}
	if c.Egress > 0 && c.Egress < MinRate {
		return fmt.Errorf("egress: %s, at least %s, or 0 for no limit: %w", c.Egress, MinRate, ErrInvalid)
	}
	if c.Payloads.AbandonAfter < Duration(time.Minute) {
		return fmt.Errorf("payloads.abandon_after: %s, at least 1m: %w", time.Duration(c.Payloads.AbandonAfter), ErrInvalid)
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("log.level: %q, one of debug, info, warn, error: %w", c.Log.Level, ErrInvalid)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q, text or json: %w", c.Log.Format, ErrInvalid)
	}
	if err := c.checkListen("mqtt.listen", c.MQTT.Listen); err != nil {
		return err
	}
	if c.HTTP.Listen == "" {
		return nil
	}
	return c.checkListen("http.listen", c.HTTP.Listen)
}

// checkListen refuses an address that is reachable from elsewhere while nothing hides the tokens.
func (c Serve) checkListen(key, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s: %q is not host:port: %w", key, addr, ErrInvalid)
	}
	if c.TLS.Cert != "" || c.Insecure || loopback(host) {
		return nil
	}
	return fmt.Errorf("%s: %q is reachable from other machines and there is no TLS; set tls.cert and tls.key, "+
		"or say --insecure: %w", key, addr, ErrInvalid)
}

// loopback is false for a name that must be resolved, "localhost" excepted: what it means is not ours to guess.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// readFile decodes a TOML file strictly; the error shows the line.
func readFile(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	dec := toml.NewDecoder(strings.NewReader(string(b))).DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("read %s: %w: %s", path, ErrInvalid, explain(err))
	}
	return nil
}

// explain gives line and key where the decoder knows them.
func explain(err error) string {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, _ := strict.Errors[0].Position()
		return fmt.Sprintf("line %d: unknown key %s", row, strings.Join(strict.Errors[0].Key(), "."))
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		row, _ := dec.Position()
		return fmt.Sprintf("line %d: %s", row, dec.Error())
	}
	return err.Error()
}
