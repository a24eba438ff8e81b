package capi

// #include <orlop.h>
import "C"

// MountRequest is how to mount.
type MountRequest struct {
	MountLabel string
	ReadOnly   bool
	Options    []string
}

func (a *arena) mountRequest(m MountRequest) *C.struct_orlop_mount_request {
	return &C.struct_orlop_mount_request{
		size:        C.sizeof_struct_orlop_mount_request,
		mount_label: a.optional(m.MountLabel),
		read_only:   flag(m.ReadOnly),
		options:     a.strings(m.Options),
	}
}

// Mount mounts a layer or container; it returns the path.
func (s *Store) Mount(id string, m MountRequest) (string, error) {
	var a arena
	defer a.done()
	what, request := a.text(id), a.mountRequest(m)
	return s.text(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_mount(store, what, request, buf, e)
	})
}

// MountImage mounts an image's top layer read-only; it returns the path.
func (s *Store) MountImage(id string, m MountRequest) (string, error) {
	var a arena
	defer a.done()
	what, request := a.text(id), a.mountRequest(m)
	return s.text(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_mount_image(store, what, request, buf, e)
	})
}

// Unmount gives one mount back, or all of them by force; it tells whether it is still mounted.
func (s *Store) Unmount(id string, force bool) (bool, error) {
	still, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_unmount(store, id, flag(force), e)
	})
	return still != 0, err
}

// UnmountImage does so for an image's top layer.
func (s *Store) UnmountImage(id string, force bool) (bool, error) {
	still, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_unmount_image(store, id, flag(force), e)
	})
	return still != 0, err
}

// Mounted is how many mounts have been asked for and not given back.
func (s *Store) Mounted(id string) (int, error) {
	var count C.int64_t
	_, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_mounted(store, id, &count, e)
	})
	return int(count), err
}
