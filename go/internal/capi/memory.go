package capi

// #include <stdlib.h>
// #include <orlop.h>
import "C"

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"unsafe"

	"go.podman.io/storage/pkg/idtools"
)

// arena is the C memory of one call: what is handed in lives until the call is done.
type arena struct {
	blocks []unsafe.Pointer
	// err is the first thing that C cannot be given; [handle.call] does not call then.
	err error
}

// done ends a call: it is the last of what is deferred, so that the one who gets the lines of the log may close, or wait for, whatever
// the call has used, and may panic.
func (a *arena) done() {
	defer passLog()
	a.free()
}

func (a *arena) free() {
	for _, block := range a.blocks {
		C.free(block)
	}
	a.blocks = nil
}

// text is s as a C string, also when it is empty.
func (a *arena) text(s string) *C.char {
	if strings.IndexByte(s, 0) >= 0 && a.err == nil {
		a.err = refusal(fmt.Sprintf("taking %q: it has a NUL byte, which no id, name or path can have", s))
	}
	c := C.CString(s)
	a.blocks = append(a.blocks, unsafe.Pointer(c))
	return c
}

// optional is s as a C string, NULL when it is empty.
func (a *arena) optional(s string) *C.char {
	if s == "" {
		return nil
	}
	return a.text(s)
}

// array allocates count values of a size, which is more than zero.
func (a *arena) array(count int, size uintptr) unsafe.Pointer {
	// calloc checks the product. Without memory it gives NULL, at which unsafe.Slice ends the caller's goroutine.
	block := C.calloc(C.size_t(count), C.size_t(size))
	a.blocks = append(a.blocks, block)
	return block
}

// strings is a list of C strings.
func (a *arena) strings(list []string) C.struct_orlop_strings {
	if len(list) == 0 {
		return C.struct_orlop_strings{}
	}
	items := (**C.char)(a.array(len(list), unsafe.Sizeof((*C.char)(nil))))
	for i, s := range list {
		unsafe.Slice(items, len(list))[i] = a.text(s)
	}
	return C.struct_orlop_strings{items: items, count: C.size_t(len(list))}
}

// pairs is a list of "key=value", sorted.
func (a *arena) pairs(values map[string]string) C.struct_orlop_strings {
	list := make([]string, 0, len(values))
	for key, value := range values {
		if strings.Contains(key, "=") && a.err == nil {
			a.err = refusal(fmt.Sprintf("taking the option %q: its name has a =", key))
		}
		list = append(list, key+"="+value)
	}
	sort.Strings(list)
	return a.strings(list)
}

// idMaps is a list of id ranges.
func (a *arena) idMaps(maps []idtools.IDMap) C.struct_orlop_id_maps {
	if len(maps) == 0 {
		return C.struct_orlop_id_maps{}
	}
	items := (*C.struct_orlop_id_map)(a.array(len(maps), unsafe.Sizeof(C.struct_orlop_id_map{})))
	for i, m := range maps {
		unsafe.Slice(items, len(maps))[i] = C.struct_orlop_id_map{
			container_id: a.id(m.ContainerID), host_id: a.id(m.HostID), size: a.id(m.Size),
		}
	}
	return C.struct_orlop_id_maps{items: items, count: C.size_t(len(maps))}
}

func (a *arena) id(number int) C.uint32_t {
	if (number < 0 || int64(number) > 1<<32-1) && a.err == nil {
		a.err = refusal(fmt.Sprintf("taking an id map: %d is no id of 32 bits", number))
	}
	return C.uint32_t(number)
}

// bytes is data in C memory; NULL when there is none.
func (a *arena) bytes(data []byte) *C.uint8_t {
	if len(data) == 0 {
		return nil
	}
	c := C.CBytes(data)
	a.blocks = append(a.blocks, c)
	return (*C.uint8_t)(c)
}

// flag is a yes or no as C has it.
func flag(yes bool) C.uint32_t {
	if yes {
		return 1
	}
	return 0
}

// take copies what the library has put into a buffer, and frees it.
func take(buf *C.orlop_buf) []byte {
	defer C.orlop_buf_free(buf)
	if buf.data == nil {
		return nil
	}
	// Not GoBytes, which counts with an int of 32 bits.
	return append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(buf.data)), uint64(buf.len))...)
}

// takeText does so with text.
func takeText(buf *C.orlop_buf) string { return string(take(buf)) }

// takeJSON does so with JSON, which it reads into value.
func takeJSON(buf *C.orlop_buf, value any) error {
	if err := json.Unmarshal(take(buf), value); err != nil {
		return &Error{Code: Internal, Message: "reading what liborlop has returned: " + err.Error(), cause: err}
	}
	return nil
}
