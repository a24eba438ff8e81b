package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"errors"
	"sync"
)

// operation is what a long call is watched and called off by.
type operation struct {
	c   *C.struct_orlop_operation
	ctx context.Context
	// unhook ends the watch on the context.
	unhook func() bool

	lock sync.Mutex
	// token is nil where nobody can call it off, and once it has ended.
	token *C.orlop_cancel
}

// ended is the error of a call whose context has ended before it begins. It is all that a short one asks of its context.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	o := &operation{ctx: ctx}
	return o.called(&Error{Code: Cancelled, Message: "a call was called off before it began"})
}

// newOperation makes one that ctx calls off; the progress may be nil. After the call it is to be ended with end.
func newOperation(ctx context.Context, progress *C.orlop_progress) (*operation, error) {
	o := &operation{ctx: ctx, c: &C.struct_orlop_operation{
		size: C.sizeof_struct_orlop_operation, progress: progress,
	}}
	if err := ended(ctx); err != nil {
		return nil, err
	}
	if ctx.Done() == nil {
		return o, nil
	}
	if err := o.needToken(); err != nil {
		return nil, err
	}
	o.unhook = context.AfterFunc(ctx, o.cancel)
	return o, nil
}

// needToken makes sure that the operation, which has not begun, can be called off.
func (o *operation) needToken() error {
	if o.token != nil {
		return nil
	}
	var e *C.orlop_error
	if err := failure(C.orlop_cancel_new(&o.token, &e), e); err != nil {
		return err
	}
	living.Add(1)
	o.c.cancel = o.token
	return nil
}

// cancel calls the operation off; once it has ended, nothing happens.
func (o *operation) cancel() {
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.token != nil {
		C.orlop_cancel_now(o.token)
	}
}

// end frees what the operation has; no call may be running with it.
func (o *operation) end() {
	if o.unhook != nil {
		o.unhook()
	}
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.token != nil {
		C.orlop_cancel_free(o.token)
		o.token = nil
		living.Add(-1)
	}
}

// called adds to the error of a call that was called off why the context has ended, and what else there is to tell.
func (o *operation) called(err error, more ...error) error {
	var e *Error
	if errors.As(err, &e) && e.Code == Cancelled && o.ctx.Err() != nil {
		e.cause = errors.Join(append(more, o.ctx.Err(), context.Cause(o.ctx))...)
	}
	return err
}
