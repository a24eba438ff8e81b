package capi

// #include <orlop.h>
import "C"

import (
	"runtime"
	"sync/atomic"
)

// living counts the handles that have not been freed.
var living atomic.Int64

// Handles is how many handles of the library are open, of all kinds.
func Handles() int64 { return living.Load() }

// handle is a pointer of the library's that is used by many and freed by one: P is the pointer's type.
type handle[P comparable] struct {
	pointer P
	name    string
	free    func(P)
	// users counts the calls that are running, and one for the owner until it closes; at zero, where it stays, the pointer is freed.
	users  atomic.Int64
	closed atomic.Bool
	// freed is closed when the pointer is gone.
	freed chan struct{}
}

func newHandle[P comparable](name string, pointer P, free func(P)) *handle[P] {
	living.Add(1)
	h := &handle[P]{pointer: pointer, name: name, free: free, freed: make(chan struct{})}
	h.users.Store(1)
	return h
}

// acquire keeps the pointer from being freed until release. It never waits: a call may begin within another one, whose reader or
// writer it serves, while somebody waits for both to end.
func (h *handle[P]) acquire() error {
	for !h.closed.Load() {
		users := h.users.Load()
		if users == 0 {
			break
		}
		if h.users.CompareAndSwap(users, users+1) {
			return nil
		}
	}
	return refusal("using a " + h.name + ": it has been closed")
}

func (h *handle[P]) release() {
	if h.users.Add(-1) == 0 {
		h.free(h.pointer)
		living.Add(-1)
		close(h.freed)
	}
}

// call runs one call on the pointer, unless the arena holds something that cannot be handed in. With an arena, the log waits for
// [arena.done].
func (h *handle[P]) call(a *arena, run func(pointer P, e **C.orlop_error) C.int32_t) (int, error) {
	if a == nil {
		// After the release, so that the one who gets the lines may close the handle.
		defer passLog()
	} else if a.err != nil {
		return 0, a.err
	}
	if err := h.acquire(); err != nil {
		return 0, err
	}
	defer h.release()
	var e *C.orlop_error
	code := run(h.pointer, &e)
	runtime.KeepAlive(h)
	if err := failure(code, e); err != nil {
		return 0, err
	}
	return int(code), nil
}

// do is call for those whose result is nothing but an error.
func (h *handle[P]) do(a *arena, run func(pointer P, e **C.orlop_error) C.int32_t) error {
	_, err := h.call(a, run)
	return err
}

// take hands the pointer, on which no call is running, over to one who frees it; the second one gets nothing.
func (h *handle[P]) take() (pointer P) {
	if h.closed.Swap(true) {
		return pointer
	}
	living.Add(-1)
	close(h.freed)
	return h.pointer
}

// drop has the pointer freed as soon as the calls on it have ended; the second time nothing happens.
func (h *handle[P]) drop() {
	if !h.closed.Swap(true) {
		h.release()
	}
}

// close frees the pointer once the calls on it have ended, and waits for that.
func (h *handle[P]) close() {
	defer passLog()
	h.drop()
	<-h.freed
}
