package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// grace is how long a reader or writer may take to come back once its call has been called off.
const grace = time.Second

// withFile runs a call on a file's descriptor, which is not closed meanwhile.
func withFile(file *os.File, run func(fd C.int32_t) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	// Not Fd, which makes the file a blocking one for good.
	if err := raw.Control(func(fd uintptr) { inner = run(C.int32_t(fd)) }); err != nil {
		return err
	}
	return inner
}

// fromReader runs a call on a descriptor from which comes what reader has: that of an [os.File] itself, else a pipe's.
//
// An error of the reader calls the operation off, so that the library does not take what has come for all there is, and is then the
// error of the call. When this returns, the reader is not used any more; only where the context has ended and the reader does
// not come back, its last Read is left to itself, and what it gives is lost. A panic of the reader's is one of this function.
func fromReader(o *operation, reader io.Reader, run func(fd C.int32_t) error) error {
	if reader == nil {
		return refusal("reading a stream: there is no reader")
	}
	if file, ok := reader.(*os.File); ok {
		return o.called(withFile(file, run))
	}
	if err := o.needToken(); err != nil {
		return err
	}
	ours, theirs, err := newPipe(false)
	if err != nil {
		return err
	}
	copied := beside(func() error {
		failed, _ := feed(ours, reader)
		return failed
	}, func(served outcome) {
		if served.failed() {
			o.cancel()
		}
		_ = ours.Close()
	})
	return o.finish(run, theirs, copied, reading)
}

// toWriter runs a call on a descriptor from which what the library writes gets to the writer: that of an [os.File] itself, else a
// pipe's. An error of the writer ends the call, and is its error. As with fromReader, the writer is free at the return.
func toWriter(o *operation, writer io.Writer, run func(fd C.int32_t) error) error {
	if writer == nil {
		return refusal("writing a stream: there is no writer")
	}
	if file, ok := writer.(*os.File); ok {
		return o.called(withFile(file, run))
	}
	ours, theirs, err := newPipe(true)
	if err != nil {
		return err
	}
	copied := beside(func() error {
		return drain(writer, ours)
	}, func(outcome) {
		// What the library still has to say finds nobody.
		_ = ours.Close()
	})
	return o.finish(run, theirs, copied, writing)
}

// direction is which way a stream goes.
type direction bool

const (
	reading direction = false
	writing direction = true
)

// outcome is how it went to serve a pipe.
type outcome struct {
	err error
	// panicked is what a reader or writer has panicked with.
	panicked any
}

func (o outcome) failed() bool { return o.err != nil || o.panicked != nil }

// errExited is the error of a reader or writer that has ended the goroutine, as [testing.T.FailNow] does.
var errExited = errors.New("the reader or writer has ended its goroutine")

// beside serves a pipe in a goroutine of its own, and runs after, whatever becomes of it, before the outcome is told.
func beside(serve func() error, after func(outcome)) <-chan outcome {
	told := make(chan outcome, 1)
	go func() {
		served := outcome{err: errExited}
		defer func() {
			served.panicked = recover()
			after(served)
			told <- served
		}()
		served.err = serve()
	}()
	return told
}

// finish runs the call on the library's end of a pipe, and waits for who serves the other end. What that has panicked with is
// panicked with here, where the caller can recover from it.
func (o *operation) finish(run func(fd C.int32_t) error, theirs *os.File, copied <-chan outcome, way direction) error {
	err := withFile(theirs, run)
	_ = theirs.Close()
	served, returned := wait(o.ctx, copied)
	if served.panicked != nil {
		panic(served.panicked)
	}
	if !returned && err == nil && way == writing {
		// What the library has written is still in the pipe.
		err = &Error{Code: Cancelled, Message: "writing a stream: the call was called off before the writer had taken all of it"}
	}
	return o.verdict(err, served.err, way)
}

// verdict is the error of a call, of the library's error and that of the reader or writer.
func (o *operation) verdict(err, served error, way direction) error {
	if served == nil {
		return o.called(err)
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		return errors.Join(err, served)
	}
	// What the library says of a stream that was given up has its reason there; anything else is a reason of its own.
	closed := e != nil && way == writing && e.Code == IO && e.Errno == syscall.EPIPE
	if e != nil && e.Code != Cancelled && !closed {
		return errors.Join(err, served)
	}
	if o.ctx.Err() == nil || e == nil && way == reading {
		return served
	}
	// Who ends the context may close the stream with it: then both are why, whichever of them the library has met.
	if e == nil || closed {
		err = &Error{Code: Cancelled, Message: "a stream was given up when the call was called off"}
	}
	return o.called(err, served)
}

// wait waits for an outcome, but not for ever once the context has ended.
func wait(ctx context.Context, told <-chan outcome) (served outcome, returned bool) {
	select {
	case served := <-told:
		return served, true
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case served := <-told:
		return served, true
	case <-timer.C:
		return outcome{}, false
	}
}
