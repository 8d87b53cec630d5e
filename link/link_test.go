package link_test

import (
	"testing"

	"fleetbridge/link"
)

func TestPropertiesGet(t *testing.T) {
	p := link.Properties{User: []link.Property{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}, {Key: "a", Value: "3"}}}
	for key, want := range map[string]string{"a": "1", "b": "2", "c": "", "": ""} {
		if got := p.Get(key); got != want {
			t.Errorf("Get(%q) = %q, want %q", key, got, want)
		}
	}
	if got := (link.Properties{}).Get("a"); got != "" {
		t.Errorf("Get of no properties = %q", got)
	}
}
