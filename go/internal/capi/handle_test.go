package capi

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A call that begins within another one is refused, and does not wait, while somebody waits for that one to end.
func TestCallsWithinCallsDoNotWaitForClose(t *testing.T) {
	var freed atomic.Int32
	h := newHandle("thing", 7, func(int) { freed.Add(1) })
	if err := h.acquire(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		h.close()
		close(closed)
	}()
	for !h.closed.Load() {
		time.Sleep(time.Millisecond)
	}
	within := make(chan error, 1)
	go func() { within <- h.acquire() }()
	select {
	case err := <-within:
		if err == nil {
			t.Error("what is being closed can be used")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the call within waits for the close, which waits for the call around it")
	}
	if freed.Load() != 0 {
		t.Error("freed under a call")
	}
	h.release()
	<-closed
	h.close()
	if freed.Load() != 1 {
		t.Errorf("freed %d times", freed.Load())
	}
}

// Whoever closes and whoever calls: it is freed once, by nobody's call.
func TestHandlesAreFreedOnce(t *testing.T) {
	before := Handles()
	for range 200 {
		var freed, calls atomic.Int32
		h := newHandle("thing", 7, func(int) {
			if calls.Load() != 0 {
				t.Error("freed under a call")
			}
			freed.Add(1)
		})
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for range 100 {
					if h.acquire() != nil {
						break
					}
					calls.Add(1)
					calls.Add(-1)
					h.release()
				}
				if i%2 == 0 {
					h.close()
				} else {
					h.drop()
				}
			})
		}
		group.Wait()
		h.close()
		if freed.Load() != 1 {
			t.Fatalf("freed %d times", freed.Load())
		}
	}
	taken := newHandle("thing", 7, func(int) { t.Error("what was taken was freed") })
	if first, second := taken.take(), taken.take(); first != 7 || second != 0 {
		t.Errorf("took %d and %d", first, second)
	}
	taken.close()
	if now := Handles(); now != before {
		t.Errorf("%d handles, %d before", now, before)
	}
}
