package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is what a pipe is made to hold, where the system lets it: fewer changes between the two that use it.
	pipeSize = 1 << 20
	// grace is how long a reader or writer may take to come back once its call has been called off.
	grace = time.Second
)

// newPipe makes a pipe with an end for Go, which waits in Go's poller, and one for the library, which blocks.
func newPipe(weRead bool) (ours, theirs *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	// It may be refused, when the user has too many large ones.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	mine, other := fds[1], fds[0]
	if weRead {
		mine, other = fds[0], fds[1]
	}
	// NewFile uses the poller for what does not block.
	if err := unix.SetNonblock(mine, true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(mine), "pipe"), os.NewFile(uintptr(other), "pipe"), nil
}

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
// not come back, its last Read is left to itself, and what it gives is lost.
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
	copied := make(chan error, 1)
	go func() {
		failed, _ := pump(ours, reader)
		if failed != nil {
			o.cancel()
		}
		_ = ours.Close()
		copied <- failed
	}()
	return o.finish(run, theirs, copied)
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
	copied := make(chan error, 1)
	go func() {
		_, failed := pump(writer, ours)
		// What the library still has to say finds nobody.
		_ = ours.Close()
		copied <- failed
	}()
	return o.finish(run, theirs, copied)
}

// finish runs the call on the library's end of a pipe, and waits for who serves the other end.
func (o *operation) finish(run func(fd C.int32_t) error, theirs *os.File, copied <-chan error) error {
	err := withFile(theirs, run)
	_ = theirs.Close()
	failed, returned := wait(o.ctx, copied)
	if !returned || failed == nil {
		return o.called(err)
	}
	// Who ends the context may close the stream with it: then both are why.
	var e *Error
	if errors.As(err, &e) && e.Code == Cancelled && o.ctx.Err() != nil {
		return o.called(err, failed)
	}
	return failed
}

// wait waits for an outcome, but not for ever once the context has ended.
func wait(ctx context.Context, outcome <-chan error) (err error, returned bool) {
	select {
	case err := <-outcome:
		return err, true
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-outcome:
		return err, true
	case <-timer.C:
		return nil, false
	}
}

// pump copies, and tells the errors of the two sides apart.
func pump(to io.Writer, from io.Reader) (readError, writeError error) {
	buffer := make([]byte, 128<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if written, err := to.Write(buffer[:n]); err != nil {
				return nil, err
			} else if written < n {
				return nil, io.ErrShortWrite
			}
		}
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
	}
}
