package lean

import (
	"bytes"
	"errors"
	"testing"
)

func TestHeaderOfServerPackets(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want header
		ok   bool
		err  error
	}{
		{"connack", []byte{0x20, 2}, header{2, 0, 2, 2}, true, nil},
		{"publish", []byte{0x31, 0x80, 0x01}, header{3, 1, 3, 128}, true, nil},
		{"publish of the largest size", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, header{3, 0, 5, maxRemaining}, true, nil},
		{"nothing", nil, header{}, false, nil},
		{"half", []byte{0x30, 0x80}, header{}, false, nil},
		{"remaining length of 5 bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80}, header{}, false, ErrMalformed},
		{"qos 2", []byte{0x34, 10}, header{}, true, ErrMalformed},
		{"qos 3", []byte{0x36, 10}, header{}, true, ErrMalformed},
		{"dup at qos 0", []byte{0x38, 10}, header{}, true, ErrMalformed},
		{"puback of 3 bytes", []byte{0x40, 3}, header{}, true, ErrMalformed},
		{"puback with flags", []byte{0x42, 2}, header{}, true, ErrMalformed},
		{"pubrec", []byte{0x50, 2}, header{}, true, ErrMalformed},
		{"connect from a server", []byte{0x10, 12}, header{}, true, ErrMalformed},
		{"reserved type 0", []byte{0x00, 0}, header{}, true, ErrMalformed},
		{"pingresp with a body", []byte{0xd0, 1}, header{}, true, ErrMalformed},
		{"suback", []byte{0x90, 4}, header{9, 0, 2, 4}, true, nil},
	}
	for _, tt := range tests {
		h, ok, err := parseHeader(tt.in)
		if !errors.Is(err, tt.err) || err == nil && (ok != tt.ok || h != tt.want) {
			t.Errorf("%s: %+v, %v, %v, want %+v, %v, %v", tt.name, h, ok, err, tt.want, tt.ok, tt.err)
		}
	}
}

// What the client writes, as bytes of the standard.
func TestPacketsOnTheWire(t *testing.T) {
	connect := appendConnect(nil, Options{ClientID: "d", User: "u", Password: "p", KeepAlive: 60e9})
	if want := []byte("\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01d\x00\x01u\x00\x01p"); !bytes.Equal(connect, want) {
		t.Errorf("CONNECT % x, want % x", connect, want)
	}
	anonymous := appendConnect(nil, Options{ClientID: "d"})
	if want := []byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01d"); !bytes.Equal(anonymous, want) {
		t.Errorf("CONNECT % x, want % x", anonymous, want)
	}
	subscribe := appendSubscribe(nil, 7, []string{"a", "b/#"})
	if want := []byte("\x82\x0c\x00\x07\x00\x01a\x01\x00\x03b/#\x01"); !bytes.Equal(subscribe, want) {
		t.Errorf("SUBSCRIBE % x, want % x", subscribe, want)
	}
	if got, want := appendPublish(nil, "a", []byte("x"), 0), []byte("\x30\x04\x00\x01ax"); !bytes.Equal(got, want) {
		t.Errorf("PUBLISH % x, want % x", got, want)
	}
	if got, want := appendPublish(nil, "a", []byte("x"), 9), []byte("\x32\x06\x00\x01a\x00\x09x"); !bytes.Equal(got, want) {
		t.Errorf("PUBLISH % x, want % x", got, want)
	}
}

func TestBadPublishIsRefused(t *testing.T) {
	tests := map[string]struct {
		flags byte
		body  string
	}{
		"empty":               {0, ""},
		"half a length":       {0, "\x00"},
		"empty topic":         {0, "\x00\x00x"},
		"topic beyond":        {0, "\x00\x05abcd"},
		"no packet id":        {2, "\x00\x01a"},
		"half a packet id":    {2, "\x00\x01a\x00"},
		"packet id 0":         {2, "\x00\x01a\x00\x00x"},
		"topic of 65535":      {0, "\xff\xffa"},
		"qos 1, empty at all": {2, ""},
	}
	for name, tt := range tests {
		if p, err := parsePublish(tt.flags, []byte(tt.body)); !errors.Is(err, ErrMalformed) || p.topic != nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	for _, n := range []int{2, 127, 128, 16383, 16384, 2097151, 2097152, maxRemaining} {
		b := appendHeader(nil, typePublish<<4, n)
		h, ok, err := parseHeader(b)
		if err != nil || !ok || h.remain != n || h.size != len(b) {
			t.Errorf("%d: % x reads as %+v, %v, %v", n, b, h, ok, err)
		}
	}
}
