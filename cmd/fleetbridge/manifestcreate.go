package main

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// manifestSpec is what an author says of an update, in a file or in flags of the same names.
type manifestSpec struct {
	Vendor      string   `json:"vendor"`
	Class       string   `json:"class"`
	Component   string   `json:"component"`
	Sequence    uint64   `json:"sequence"`
	Version     string   `json:"version"`
	Description string   `json:"description"`
	Payload     string   `json:"payload"` // file; in a file, relative to its folder
	Digest      string   `json:"digest"`  // with Size, in place of Payload
	Size        int64    `json:"size"`    // bytes
	URI         string   `json:"uri"`
	Algs        []string `json:"algs"`
	shapeSpec
}

func (m *manifestSpec) flags(f *pflag.FlagSet) {
	f.Uint64Var(&m.Sequence, "sequence", 0, "sequence number, higher than any before (default: now, in UTC seconds)")
	f.StringVar(&m.Version, "version", "", "version of the payload, for people")
	f.StringVar(&m.Description, "description", "", "description, for people")
	f.StringVar(&m.Component, "component", "00", "component identifier: byte strings in hex, joined by slashes")
	f.StringVar(&m.Digest, "digest", "", "sha256 of a payload that is not here, with --size")
	f.Int64Var(&m.Size, "size", 0, "its size in bytes")
	f.StringVar(&m.URI, "uri", "", "where the payload is: payload/<sha256>, the server's own and the default, or an https URL")
	m.shapeSpec.flags(f)
	f.StringSliceVar(&m.Algs, "alg", nil, "signatures that it is to get: ES256, ESP256, EdDSA or Ed25519; said to the signer, not part of the manifest")
}

// override puts what flags say before what the file says.
func (m *manifestSpec) override(flags manifestSpec, set *pflag.FlagSet) {
	fields := map[string]func(){
		"vendor": func() { m.Vendor = flags.Vendor }, "class": func() { m.Class = flags.Class },
		"component": func() { m.Component = flags.Component }, "sequence": func() { m.Sequence = flags.Sequence },
		"version": func() { m.Version = flags.Version }, "description": func() { m.Description = flags.Description },
		"digest": func() { m.Payload, m.Digest = "", flags.Digest }, "size": func() { m.Payload, m.Size = "", flags.Size },
		"uri": func() { m.URI = flags.URI }, "alg": func() { m.Algs = flags.Algs },
		"delta-from": func() { m.Deltas = flags.Deltas }, "encryption-info": func() { m.EncryptionInfo = flags.EncryptionInfo },
		"ciphertext": func() { m.Ciphertext = flags.Ciphertext }, "integrated": func() { m.Integrated = flags.Integrated },
	}
	set.Visit(func(f *pflag.Flag) {
		if take, ok := fields[f.Name]; ok {
			take()
		}
	})
}

// below makes names of files relative to a folder.
func (m *manifestSpec) below(dir string) {
	names := []*string{&m.Payload, &m.EncryptionInfo, &m.Ciphertext}
	for i := range m.Deltas {
		names = append(names, &m.Deltas[i].From, &m.Deltas[i].Payload)
	}
	for _, name := range names {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(dir, *name)
		}
	}
}

func manifestCreate(a *app) *cobra.Command {
	var flags manifestSpec
	var names model
	var from, out string
	c := &cobra.Command{Use: "create [PAYLOAD_FILE] --vendor V --class C [--out FILE]", Args: cobra.MaximumNArgs(1),
		Short: "Write an unsigned manifest, from flags or from a file"}
	names.flags(c)
	flags.flags(c.Flags())
	c.Flags().StringVarP(&from, "from", "f", "", "file, TOML or JSON, with members named like the flags, and payload; flags go before it; - is standard input")
	c.Flags().StringVar(&out, "out", "", "file to write (default: the payload's name with .suit)")
	c.RunE = func(c *cobra.Command, args []string) error {
		flags.Vendor, flags.Class = names.vendor, names.class
		m, file := flags, (*specFile)(nil)
		if from != "" {
			m = manifestSpec{Component: flags.Component}
			var err error
			if file, err = readSpec(from, a.stdin, &m); err != nil {
				return err
			}
			if from != "-" {
				m.below(filepath.Dir(from))
			}
			m.override(flags, c.Flags())
		}
		if len(args) > 0 {
			m.Payload = args[0]
			if !c.Flags().Changed("digest") && !c.Flags().Changed("size") {
				m.Digest, m.Size = "", 0
			}
		}
		return a.createManifest(&author{m, file, c.Flags()}, out)
	}
	return c
}

// author is a spec, and where each of its members comes from, for complaints.
type author struct {
	manifestSpec
	file *specFile // nil without one
	set  *pflag.FlagSet
}

// complain makes an error about a member: at its place in the file, or about its flag.
func (m *author) complain(member, format string, args ...any) error {
	name := map[string]string{"algs": "alg"}[member]
	if name == "" {
		name = member
	}
	if m.file != nil && !m.set.Changed(name) {
		return m.file.doc.At("/"+member, fmt.Errorf(format, args...).Error())
	}
	return usagef("--%s: %w", name, fmt.Errorf(format, args...))
}

func (a *app) createManifest(m *author, out string) error {
	spec, err := m.spec(time.Now())
	if err != nil {
		return err
	}
	if out == "" {
		if out = m.Payload + ".suit"; m.Payload == "" {
			return usagef("--out is needed: without a payload file there is no name to take")
		}
	}
	envelope, err := firmware.Create(spec)
	if err != nil {
		return &failure{code: exitUsage, err: err}
	}
	if err := writeNew(out, envelope, 0o644); err != nil {
		return err
	}
	algs := ""
	if len(m.Algs) > 0 {
		algs = " --alg " + strings.Join(m.Algs, ",")
	}
	a.say("wrote %s: unsigned, sequence %d, %s of payload; sign it with `fleetbridge manifest sign %s --key FILE --id ID%s`",
		out, spec.Sequence, bytesText(spec.Size), out, algs)
	return nil
}

// spec reads the members, and the payload.
func (m *author) spec(now time.Time) (firmware.Spec, error) {
	s := firmware.Spec{Sequence: m.Sequence, URI: m.URI, Version: m.Version, Description: m.Description}
	var err error
	if s.Vendor, s.Class, err = m.identifiers(); err != nil {
		return s, err
	}
	if _, err := uuid.Parse(m.Vendor); err != nil {
		s.VendorDomain = m.Vendor
	}
	if _, err := uuid.Parse(m.Class); err != nil {
		s.ModelInfo = m.Class
	}
	if s.Component, err = parseComponent(m.Component); err != nil {
		return s, m.complain("component", "%w", err)
	}
	if _, err := parseAlgs(m.Algs); err != nil {
		return s, m.complain("algs", "%w", err)
	}
	if s.Image, s.Size, err = m.payload(); err != nil {
		return s, err
	}
	if s.Sequence == 0 {
		s.Sequence = uint64(now.Unix())
	}
	if latest := now.Add(firmware.MaxAhead); s.Sequence > uint64(latest.Unix()) {
		return s, m.complain("sequence", "%d lies more than %s ahead of now, %d, as UTC seconds: a server refuses it, because it would lock out every later update",
			s.Sequence, firmware.MaxAhead, now.Unix())
	}
	if s.URI != "" {
		if err := firmware.CheckURI(s.URI); err != nil {
			return s, m.complain("uri", "%w", err)
		}
		if d, ok := firmware.PayloadOf(s.URI); ok && d != s.Image && m.EncryptionInfo == "" {
			return s, m.complain("uri", "it names another payload than the one that is described, which has %s", s.Image)
		}
	}
	if err := m.texts(); err != nil {
		return s, err
	}
	return s, m.shape(&s)
}

// identifiers are the vendor's and the class's.
func (m *author) identifiers() (vendor, class uuid.UUID, err error) {
	switch {
	case m.Vendor == "" && m.Class == "":
		err = usagef("--vendor and --class are needed: a device takes only what is meant for it")
	case m.Vendor == "":
		err = usagef("--vendor is needed: a domain name such as acme.example, or a UUID")
	case m.Class == "":
		err = usagef("--class is needed: a model name such as th-2, or a UUID")
	}
	if err != nil {
		return vendor, class, err
	}
	return model{m.Vendor, m.Class}.ids()
}

// payload is the digest and size: of the file, or as they are given.
func (m *author) payload() (ident.Digest, int64, error) {
	switch {
	case m.Payload != "" && (m.Digest != "" || m.Size != 0):
		return ident.Digest{}, 0, usagef("a payload file, or --digest and --size: not both")
	case m.Payload != "":
		d, n, err := digestFile(m.Payload)
		if err == nil && n == 0 {
			err = usagef("%s is empty: there is nothing to install", m.Payload)
		}
		return d, n, err
	case m.Digest == "" && m.Size == 0:
		return ident.Digest{}, 0, usagef("manifest create needs PAYLOAD_FILE, or --digest and --size of a payload that is elsewhere")
	case m.Digest == "" || m.Size == 0:
		return ident.Digest{}, 0, usagef("--digest and --size come together")
	}
	d, err := ident.ParseDigest(m.Digest)
	switch {
	case err != nil:
		return d, 0, m.complain("digest", "%w", err)
	case d.IsZero():
		return d, 0, m.complain("digest", "all zeros, which nothing has")
	case m.Size < 0:
		return d, 0, m.complain("size", "%d bytes: want 1 or more", m.Size)
	}
	return d, m.Size, nil
}

func (m *author) texts() error {
	if n := len(m.Version); n > firmware.MaxVersion {
		return m.complain("version", "%d bytes, at most %d", n, firmware.MaxVersion)
	}
	if n := len(m.Description); n > firmware.MaxDescription {
		return m.complain("description", "%d bytes, at most %d", n, firmware.MaxDescription)
	}
	return nil
}

func parseComponent(s string) ([][]byte, error) {
	var out [][]byte
	for part := range strings.SplitSeq(s, "/") {
		b, err := hex.DecodeString(part)
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%q: want hex byte strings joined by slashes, such as 00 or 00/0102", s)
		}
		out = append(out, b)
	}
	return out, nil
}
