package capi

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is what a pipe is made to hold, where the system lets it: fewer changes between the two that use it.
const pipeSize = 1 << 20

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
