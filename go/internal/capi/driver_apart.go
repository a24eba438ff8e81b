package capi

// #include <orlop.h>
import "C"

import "os"

// MountDescription is what a mount of a layer consists of.
type MountDescription struct {
	Directory string   `json:"directory"`
	Lowers    []string `json:"lowers"`
	Upper     string   `json:"upper"`
	Work      string   `json:"work"`
	Options   []string `json:"options"`
	Label     string   `json:"label"`
}

// DescribeMount tells what Get would mount.
func (d *Driver) DescribeMount(id string, o MountOptions) (MountDescription, error) {
	var a arena
	defer a.done()
	layer, options := a.text(id), a.mountOptions(o)
	var description MountDescription
	err := d.json(&a, &description, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_describe_mount(driver, layer, options, buf, e)
	})
	return description, err
}

// MountDetached mounts a layer without a place in the tree; the file is the caller's to close.
func (d *Driver) MountDetached(id string, o MountOptions) (*os.File, error) {
	var a arena
	defer a.done()
	layer, options := a.text(id), a.mountOptions(o)
	fd := C.int32_t(-1)
	err := d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_mount_detached(driver, layer, options, &fd, e)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "mount of layer "+id), nil
}
