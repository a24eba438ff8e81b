package main

import (
	"testing"
	"time"
)

func TestBusy(t *testing.T) {
	if got, err := busy("cpu  100 20 3 4000 500 60 7 800 9 10"); err != nil || got != 9.9 {
		t.Error(got, err)
	}
	for _, line := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8"} {
		if _, err := busy(line); err == nil {
			t.Errorf("%q was read", line)
		}
	}
}

// What this process does itself is not done by others.
func TestOwnWorkIsNotOthers(t *testing.T) {
	watch, err := watchOthers()
	if err != nil {
		t.Fatal(err)
	}
	own, err := ownTime()
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
	}
	all, err := processorTime()
	if err != nil {
		t.Fatal(err)
	}
	used, err := watch.used()
	if err != nil {
		t.Fatal(err)
	}
	after, err := ownTime()
	if err != nil {
		t.Fatal(err)
	}
	if after-own <= 0 {
		t.Error("it has used nothing")
	}
	// The kernel counts in ticks of a hundredth.
	if most := (all - watch.all - (after - own) + 0.05) / 0.3; used > max(most, 0.05/0.3) {
		t.Errorf("others have used %v, at most %v", used, most)
	}
}
