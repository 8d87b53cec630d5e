package mqtt_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"fleetbridge/internal/bench/mqtt"
)

// A head is complete at its last byte and not before, whatever its length.
func TestParseWaitsForAllOfAHead(t *testing.T) {
	for _, topic := range []string{"t", strings.Repeat("x", 200)} {
		for _, n := range []int{0, 1, 100, 127, 128, 16383, 16384, 2 << 20} {
			for _, id := range []uint16{0, 7} {
				b := mqtt.AppendPublishHead(nil, topic, n, id)
				for cut := range b {
					if _, got, err := mqtt.Parse(b[:cut]); got != 0 || err != nil {
						t.Fatalf("payload of %d, id %d: %d of %d bytes are a head of %d, %v", n, id, cut, len(b), got, err)
					}
				}
				h, got, err := mqtt.Parse(append(b, "payload"...))
				if err != nil || got != len(b) || h.Type != mqtt.Publish || string(h.Topic) != topic || h.Remain != n || h.ID != id {
					t.Errorf("payload of %d, id %d: %+v, %d of %d bytes, %v", n, id, h, got, len(b), err)
				}
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, b := range map[string]string{
		"remaining length of five bytes":    "\x30\x80\x80\x80\x80\x01",
		"topic longer than the packet":      "\x30\x04\x00\x09ab",
		"no room for the packet identifier": "\x32\x05\x00\x02ab\x01",
	} {
		if _, n, err := mqtt.Parse([]byte(b)); !errors.Is(err, mqtt.ErrMalformed) || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestOtherPackets(t *testing.T) {
	h, n, err := mqtt.Parse([]byte("\x90\x03\x00\x01\x00"))
	if err != nil || n != 2 || h.Type != mqtt.Suback || h.Remain != 3 {
		t.Errorf("SUBACK: %+v, %d, %v", h, n, err)
	}
}

func TestPackets(t *testing.T) {
	for name, tt := range map[string]struct{ got, want string }{
		"connect":   {string(mqtt.AppendConnect(nil, "d", "u", "pw", 10)), "\x10\x14\x00\x04MQTT\x04\xc2\x00\x0a\x00\x01d\x00\x01u\x00\x02pw"},
		"nobody":    {string(mqtt.AppendConnect(nil, "d", "", "", 0)), "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01d"},
		"subscribe": {string(mqtt.AppendSubscribe(nil, 3, 1, "a", "b")), "\x82\x0a\x00\x03\x00\x01a\x01\x00\x01b\x01"},
		"publish":   {string(mqtt.AppendPublish(nil, "t", []byte("x"), 9)), "\x32\x06\x00\x01t\x00\x09x"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: % x, want % x", name, tt.got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x30\x06\x00\x01tabc"))
	f.Add([]byte("\x32\x08\x00\x01t\x00\x09abc"))
	f.Add([]byte("\x30\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := mqtt.Parse(b)
		if n > len(b) || n < 0 || h.Remain < 0 || err != nil && n != 0 {
			t.Fatalf("%+v, %d of %d bytes, %v", h, n, len(b), err)
		}
		if n > 0 && h.Type == mqtt.Publish && b[0]>>1&3 < 2 {
			if again := mqtt.AppendPublishHead(nil, h.Topic, h.Remain, h.ID); len(again) == n && !bytes.Equal(again[1:], b[1:n]) {
				t.Errorf("% x is built as % x", b[:n], again)
			}
		}
	})
}
