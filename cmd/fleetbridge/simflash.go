package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"fleetbridge/firmware/encrypt"
	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// flashFlags say what the devices of a fleet hold before any update.
type flashFlags struct {
	image string
	keys  []string
}

func (m *flashFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&m.image, "image", "", "file with the image that the devices run at first, to which a delta applies")
	f.StringArrayVar(&m.keys, "device-key", nil, "[ID=]FILE, what the devices decrypt with: a P-256 private key, or a shared key of 16 bytes; may be repeated")
}

// flash is what flashFlags name.
type flash struct {
	images    [][]byte
	installed topics.Installed
	keys      []encrypt.Key
}

func (a *app) readFlash(m flashFlags) (flash, error) {
	var fl flash
	if m.image != "" {
		b, err := readImage(m.image)
		if err != nil {
			return flash{}, err
		}
		fl.images, fl.installed.Digest = [][]byte{b}, ident.SumDigest(b)
	}
	for _, s := range m.keys {
		k, err := a.readDeviceKey(s)
		if err != nil {
			return flash{}, fmt.Errorf("--device-key %s: %w", s, err)
		}
		fl.keys = append(fl.keys, k)
	}
	return fl, nil
}

// readDeviceKey reads a private key, or else a shared one.
func (a *app) readDeviceKey(s string) (encrypt.Key, error) {
	kid, file := namedFile(s)
	if kek, err := readSharedKey(file); err == nil {
		return encrypt.DeviceSharedKey(kid, kek)
	}
	key, err := a.readPrivateKey(file, "")
	if err != nil {
		return encrypt.Key{}, err
	}
	priv, err := key.ECDH()
	if err != nil {
		return encrypt.Key{}, err
	}
	return encrypt.DevicePrivateKey(kid, priv)
}

// into gives the devices of a fleet what they hold.
func (fl flash) into(c *simulator.Config) {
	c.Image, c.Images, c.Model.Keys = fl.installed, fl.images, fl.keys
}
