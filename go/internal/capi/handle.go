package capi

// #include <orlop.h>
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// living counts the handles that have not been freed.
var living atomic.Int64

// Handles is how many handles of the library are open, of all kinds.
func Handles() int64 { return living.Load() }

// handle is a pointer of the library's that is used by many and freed by one: P is the pointer's type.
type handle[P comparable] struct {
	lock    sync.RWMutex
	pointer P
	name    string
	free    func(P)
}

func newHandle[P comparable](name string, pointer P, free func(P)) *handle[P] {
	living.Add(1)
	return &handle[P]{pointer: pointer, name: name, free: free}
}

// call runs one call on the pointer, unless the arena holds something that cannot be handed in.
func (h *handle[P]) call(a *arena, run func(pointer P, e **C.orlop_error) C.int32_t) (int, error) {
	if a != nil && a.err != nil {
		return 0, a.err
	}
	h.lock.RLock()
	defer h.lock.RUnlock()
	var none P
	if h.pointer == none {
		return 0, refusal("using a " + h.name + ": it has been closed")
	}
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

// take hands the pointer over to one who frees it; the second one gets nothing.
func (h *handle[P]) take() P {
	h.lock.Lock()
	defer h.lock.Unlock()
	var none P
	pointer := h.pointer
	if pointer != none {
		h.pointer = none
		living.Add(-1)
	}
	return pointer
}

// close frees the pointer once the calls on it have ended; the second time nothing happens.
func (h *handle[P]) close() {
	var none P
	if pointer := h.take(); pointer != none {
		h.free(pointer)
	}
}
