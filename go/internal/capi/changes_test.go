package capi

import (
	"slices"
	"testing"
)

func TestParseChanges(t *testing.T) {
	found, err := parseChanges([]byte("C/a\x00A/b\nc\x00D/d\x00"))
	if want := []Change{{'C', "/a"}, {'A', "/b\nc"}, {'D', "/d"}}; err != nil || !slices.Equal(found, want) {
		t.Errorf("%v: %q", err, found)
	}
	if found, err := parseChanges(nil); err != nil || len(found) != 0 {
		t.Errorf("%v: %q", err, found)
	}
	for _, wrong := range []string{"C/a", "C/a\x00A", "C\x00", "\x00", "x/a\x00"} {
		if found, err := parseChanges([]byte(wrong)); err == nil {
			t.Errorf("%q gives %q", wrong, found)
		}
	}
}
