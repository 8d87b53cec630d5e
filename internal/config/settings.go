package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Setting is one key of the server's configuration under its three names: the file's key, the environment variable
// and the flag.
type Setting struct {
	Key   string
	Usage string
	set   func(*Serve, string) error
	get   func(Serve) string
}

// Settings lists every key that a variable or a flag can set.
var Settings = []Setting{
	text("data", "folder of the store and the payloads", func(c *Serve) *string { return &c.Data }),
	text("mqtt.listen", "address of the MQTT listener", func(c *Serve) *string { return &c.MQTT.Listen }),
	number("mqtt.max_clients", "connections held at once", func(c *Serve) *int { return &c.MQTT.MaxClients }),
	text("http.listen", "address of the HTTP listener (WebSocket, payloads, health); empty for none", func(c *Serve) *string { return &c.HTTP.Listen }),
	text("tls.cert", "certificate chain, PEM file", func(c *Serve) *string { return &c.TLS.Cert }),
	text("tls.key", "private key of the certificate, PEM file", func(c *Serve) *string { return &c.TLS.Key }),
	text("log.level", "debug, info, warn or error", func(c *Serve) *string { return &c.Log.Level }),
	text("log.format", "text or json", func(c *Serve) *string { return &c.Log.Format }),
	period("retention.archive_after", "archive campaigns so long after their end; 0: never", func(c *Serve) *Duration { return &c.Retention.ArchiveAfter }),
	period("retention.delete_after", "delete campaigns so long after their end; 0: never", func(c *Serve) *Duration { return &c.Retention.DeleteAfter }),
	period("payloads.abandon_after", "give an upload up so long after its last byte; at least 1m", func(c *Serve) *Duration { return &c.Payloads.AbandonAfter }),
	rate("egress", "bytes of chunks in a second, such as 100MiB, shared by tenants and their devices; 0: no limit", func(c *Serve) *Rate { return &c.Egress }),
	truth("insecure", "allow listening beyond loopback without TLS", func(c *Serve) *bool { return &c.Insecure }),
}

// Env is the setting's environment variable: FLEETBRIDGE_MQTT_LISTEN for mqtt.listen.
func (s Setting) Env() string {
	return "FLEETBRIDGE_" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// Flag is the setting's flag: mqtt-listen for mqtt.listen.
func (s Setting) Flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(s.Key) }

// Value is the setting's value in c, in text.
func (s Setting) Value(c Serve) string { return s.get(c) }

// Set parses value into c. The error wraps ErrInvalid.
func (s Setting) Set(c *Serve, value string) error { return s.set(c, value) }

// IsBool reports whether the flag may stand without a value.
func (s Setting) IsBool() bool { return s.Key == "insecure" }

// ApplyEnv sets in c what the environment names.
func ApplyEnv(c *Serve, getenv func(string) string) error {
	for _, s := range Settings {
		if v := getenv(s.Env()); v != "" {
			if err := s.Set(c, v); err != nil {
				return fmt.Errorf("%s: %w", s.Env(), err)
			}
		}
	}
	return nil
}

func text(key, usage string, at func(*Serve) *string) Setting {
	return Setting{Key: key, Usage: usage,
		set: func(c *Serve, v string) error { *at(c) = v; return nil },
		get: func(c Serve) string { return *at(&c) }}
}

func number(key, usage string, at func(*Serve) *int) Setting {
	return Setting{Key: key, Usage: usage,
		set: func(c *Serve, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil {
				return fmt.Errorf("%s: %q is not a number: %w", key, v, ErrInvalid)
			}
			*at(c) = n
			return nil
		},
		get: func(c Serve) string { return strconv.Itoa(*at(&c)) }}
}

func period(key, usage string, at func(*Serve) *Duration) Setting {
	return Setting{Key: key, Usage: usage,
		set: func(c *Serve, v string) error {
			if err := at(c).UnmarshalText([]byte(v)); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		},
		get: func(c Serve) string { return time.Duration(*at(&c)).String() }}
}

func rate(key, usage string, at func(*Serve) *Rate) Setting {
	return Setting{Key: key, Usage: usage,
		set: func(c *Serve, v string) error {
			if err := at(c).UnmarshalText([]byte(v)); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		},
		get: func(c Serve) string { return at(&c).String() }}
}

func truth(key, usage string, at func(*Serve) *bool) Setting {
	return Setting{Key: key, Usage: usage,
		set: func(c *Serve, v string) error {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return fmt.Errorf("%s: %q is not true or false: %w", key, v, ErrInvalid)
			}
			*at(c) = b
			return nil
		},
		get: func(c Serve) string { return strconv.FormatBool(*at(&c)) }}
}
