package capi

import (
	"context"
	"errors"
	"syscall"
	"testing"
)

// An error of the library's is left out only where it follows from that of the reader or writer.
func TestVerdict(t *testing.T) {
	served := errors.New("served")
	ended, end := context.WithCancelCause(context.Background())
	because := errors.New("because")
	end(because)
	cancelled := func() error { return &Error{Code: Cancelled} }
	full := func() error { return &Error{Code: IO, Errno: syscall.ENOSPC} }
	broken := func() error { return &Error{Code: IO, Errno: syscall.EPIPE} }
	damaged := func() error { return &Error{Code: Corrupt} }
	foreign := func() error { return syscall.EBADF }
	none := func() error { return nil }
	for name, c := range map[string]struct {
		ctx    context.Context
		err    func() error
		served error
		way    direction
		// is what is found in the error, alone that what it is.
		is    []error
		alone error
		code  Code
	}{
		"neither":                   {err: none},
		"library's":                 {err: full, is: []error{syscall.ENOSPC}, code: IO},
		"reader's":                  {err: none, served: served, alone: served},
		"reader's, called off":      {err: cancelled, served: served, alone: served},
		"writer's, called off":      {err: cancelled, served: served, way: writing, alone: served},
		"writer's, pipe closed":     {err: broken, served: served, way: writing, alone: served},
		"reader's, pipe elsewhere":  {err: broken, served: served, is: []error{served, syscall.EPIPE}, code: IO},
		"reader's, disk full":       {err: full, served: served, is: []error{served, syscall.ENOSPC}, code: IO},
		"writer's, disk full":       {err: full, served: served, way: writing, is: []error{served, syscall.ENOSPC}, code: IO},
		"writer's, layer damaged":   {err: damaged, served: served, way: writing, is: []error{served}, code: Corrupt},
		"reader's, no call":         {err: foreign, served: served, is: []error{served, syscall.EBADF}},
		"context's":                 {ctx: ended, err: cancelled, is: []error{context.Canceled, because}, code: Cancelled},
		"context's and reader's":    {ctx: ended, err: cancelled, served: served, is: []error{context.Canceled, because, served}, code: Cancelled},
		"context's, pipe closed":    {ctx: ended, err: broken, served: served, way: writing, is: []error{context.Canceled, because, served}, code: Cancelled},
		"context's, all written":    {ctx: ended, err: none, served: served, way: writing, is: []error{context.Canceled, because, served}, code: Cancelled},
		"reader's at the same end":  {ctx: ended, err: none, served: served, alone: served},
		"library's at the same end": {ctx: ended, err: full, served: served, is: []error{served, syscall.ENOSPC}, code: IO},
	} {
		if c.ctx == nil {
			c.ctx = context.Background()
		}
		err := (&operation{ctx: c.ctx}).verdict(c.err(), c.served, c.way)
		for _, value := range c.is {
			if !errors.Is(err, value) {
				t.Errorf("%s: %v is not found in %v", name, value, err)
			}
		}
		if len(c.is) == 0 && err != c.alone {
			t.Errorf("%s: %v, not %v alone", name, err, c.alone)
		}
		var e *Error
		if errors.As(err, &e) != (c.code != 0) || e != nil && e.Code != c.code {
			t.Errorf("%s: %v, not %v", name, err, c.code)
		}
	}
}
