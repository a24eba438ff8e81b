package capi

// #include <stdint.h>
import "C"

import (
	"io"
	"os"
	"runtime/cgo"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// orlop_go_put hands a layer over. The file is another descriptor of the library's, which a function that does not come back may keep.
//
//export orlop_go_put
func orlop_go_put(userdata unsafe.Pointer, digest *C.char, fd C.int32_t, bytes C.uint64_t) C.int32_t {
	u := (*(*cgo.Handle)(userdata)).Value().(*uploading)
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		u.failed.err = os.NewSyscallError("fcntl", err)
		return C.int32_t(syscall.EMFILE)
	}
	file, name := os.NewFile(uintptr(own), "layer"), C.GoString(digest)
	return C.int32_t(u.run(func() error {
		return u.to.Put(u.o.ctx, name, io.NewSectionReader(file, 0, int64(bytes)))
	}, func() { _ = file.Close() }))
}

// orlop_go_status asks for a layer.
//
//export orlop_go_status
func orlop_go_status(userdata unsafe.Pointer, digest *C.char, publication *C.uint32_t) C.int32_t {
	u := (*(*cgo.Handle)(userdata)).Value().(*uploading)
	name, told := C.GoString(digest), make(chan Publication, 1)
	code := u.run(func() error {
		found, err := u.to.Status(u.o.ctx, name)
		told <- found
		return err
	}, func() {})
	if code == 0 {
		*publication = C.uint32_t(<-told)
	}
	return C.int32_t(code)
}
