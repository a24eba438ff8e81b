package capi

// #include <orlop.h>
import "C"

// DedupMethod is by what files are taken for equal until the kernel has compared them.
type DedupMethod uint32

// The methods.
const (
	DedupCRC    DedupMethod = C.ORLOP_DEDUP_CRC
	DedupSize   DedupMethod = C.ORLOP_DEDUP_SIZE
	DedupSHA256 DedupMethod = C.ORLOP_DEDUP_SHA256
)

// Dedup has equal files of layers share their space; it returns the bytes that are shared.
func (d *Driver) Dedup(layers []string, method DedupMethod) (uint64, error) {
	var a arena
	defer a.done()
	list := a.strings(layers)
	var bytes C.uint64_t
	err := d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_dedup(driver, list, C.uint32_t(method), &bytes, e)
	})
	return uint64(bytes), err
}
