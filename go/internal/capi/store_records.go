package capi

// #include <orlop.h>
import "C"

// SetNames gives a layer, image or container these names in place of its own.
func (s *Store) SetNames(id string, names []string) error {
	var a arena
	defer a.done()
	what, list := a.text(id), a.strings(names)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_set_names(store, what, list, e)
	})
}

// AddNames gives a layer, image or container more names.
func (s *Store) AddNames(id string, names []string) error {
	var a arena
	defer a.done()
	what, list := a.text(id), a.strings(names)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_add_names(store, what, list, e)
	})
}

// RemoveNames takes names away from a layer, image or container.
func (s *Store) RemoveNames(id string, names []string) error {
	var a arena
	defer a.done()
	what, list := a.text(id), a.strings(names)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_remove_names(store, what, list, e)
	})
}

// SetMetadata replaces the metadata of a layer, image or container.
func (s *Store) SetMetadata(id, metadata string) error {
	var a arena
	defer a.done()
	what, text := a.text(id), a.text(metadata)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_set_metadata(store, what, text, e)
	})
}

// ImageSize is the bytes of an image.
func (s *Store) ImageSize(id string) (int64, error) {
	var count C.int64_t
	_, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_image_size(store, id, &count, e)
	})
	return int64(count), err
}

// ContainerSize is the bytes of a container.
func (s *Store) ContainerSize(id string) (int64, error) {
	var count C.int64_t
	_, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_container_size(store, id, &count, e)
	})
	return int64(count), err
}

// ImageDir is a directory for the caller's files of an image.
func (s *Store) ImageDir(id string) (string, error) {
	return s.path(id, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_image_dir(store, id, buf, e)
	})
}

// ImageRunDir is a directory for the caller's files of an image until a reboot.
func (s *Store) ImageRunDir(id string) (string, error) {
	return s.path(id, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_image_run_dir(store, id, buf, e)
	})
}

// ContainerDir is a directory for the caller's files of a container.
func (s *Store) ContainerDir(id string) (string, error) {
	return s.path(id, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_container_dir(store, id, buf, e)
	})
}

// ContainerRunDir is a directory for the caller's files of a container until a reboot.
func (s *Store) ContainerRunDir(id string) (string, error) {
	return s.path(id, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_container_run_dir(store, id, buf, e)
	})
}
