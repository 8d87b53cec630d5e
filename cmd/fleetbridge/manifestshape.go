package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"fleetbridge/firmware"
)

// shapeSpec says how the image gets to the device, where it isn't fetched as it is.
type shapeSpec struct {
	Deltas         []deltaSpec `json:"deltas"`
	EncryptionInfo string      `json:"encryption-info"` // file: COSE_Encrypt without the ciphertext
	Ciphertext     string      `json:"ciphertext"`      // file
	Integrated     bool        `json:"integrated"`
}

// deltaSpec names the files of a delta.
type deltaSpec struct {
	From    string `json:"from"`    // the installed image
	Payload string `json:"payload"` // what makes the new one of it
	URI     string `json:"uri"`
}

func (s *shapeSpec) flags(f *pflag.FlagSet) {
	f.Var((*deltaFlag)(&s.Deltas), "delta-from", "OLD_FILE:DELTA_FILE, a delta and the image that it starts from; may be repeated; others fetch the image")
	f.StringVar(&s.EncryptionInfo, "encryption-info", "", "file with the COSE_Encrypt of --ciphertext; the payload is the image that it decrypts to")
	f.StringVar(&s.Ciphertext, "ciphertext", "", "file with the encrypted payload, which is what devices fetch")
	f.BoolVar(&s.Integrated, "integrated", false, fmt.Sprintf("put the payload into the envelope, for assets of at most %s", bytesText(firmware.MaxIntegrated)))
}

// deltaFlag reads --delta-from.
type deltaFlag []deltaSpec

// String is the default, which is none.
func (d *deltaFlag) String() string { return "" }

// Type names the value in the usage.
func (d *deltaFlag) Type() string { return "OLD:DELTA" }

// Set adds one. A colon in the name of OLD can't be told apart; a file with deltas in it can.
func (d *deltaFlag) Set(s string) error {
	from, payload, ok := strings.Cut(s, ":")
	if !ok || from == "" || payload == "" {
		return fmt.Errorf("want OLD_FILE:DELTA_FILE")
	}
	*d = append(*d, deltaSpec{From: from, Payload: payload})
	return nil
}

// shape fills in deltas, ciphertext or the integrated bytes.
func (m *author) shape(s *firmware.Spec) error {
	switch {
	case (m.EncryptionInfo == "") != (m.Ciphertext == ""):
		return usagef("--encryption-info and --ciphertext come together: how to decrypt, and what")
	case len(m.Deltas) > 0 && (m.Integrated || m.Ciphertext != ""):
		return usagef("--delta-from goes with neither --integrated nor --ciphertext: a delta starts from bytes that are fetched in the clear")
	case m.Integrated && m.URI != "":
		return usagef("--integrated or --uri: what travels in the envelope is not fetched")
	case m.Integrated && m.Payload == "":
		return usagef("--integrated needs PAYLOAD_FILE: its bytes go into the envelope")
	}
	for _, d := range m.Deltas {
		delta := firmware.Delta{URI: d.URI}
		var err error
		if delta.From, delta.FromSize, err = digestFile(d.From); err != nil {
			return fmt.Errorf("delta: %w", err)
		}
		if delta.Payload, delta.Size, err = digestFile(d.Payload); err != nil {
			return fmt.Errorf("delta: %w", err)
		}
		s.Deltas = append(s.Deltas, delta)
	}
	travels := m.Payload
	if m.Ciphertext != "" {
		travels = m.Ciphertext
		info, err := readBounded(m.EncryptionInfo, maxKeyFile)
		if err != nil {
			return fmt.Errorf("read encryption info: %w", err)
		}
		e := &firmware.Encrypted{Info: info, URI: s.URI}
		if e.Payload, e.Size, err = digestFile(m.Ciphertext); err != nil {
			return err
		}
		s.Encrypted, s.URI = e, ""
	}
	if m.Integrated {
		var err error
		if s.Integrated, err = readBounded(travels, firmware.MaxIntegrated); err != nil {
			return fmt.Errorf("read payload: %w", err)
		}
	}
	return nil
}
