package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ImageData is a big data item of an image.
func (s *Store) ImageData(id, key string) ([]byte, error) {
	var a arena
	defer a.free()
	image, item := a.text(id), a.text(key)
	return s.bytes(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_image_data(store, image, item, buf, e)
	})
}

// SetImageData stores a big data item of an image.
func (s *Store) SetImageData(id string, d DataItem) error {
	var a arena
	defer a.free()
	image, key, data, digest := a.text(id), a.text(d.Key), a.bytes(d.Data), a.optional(d.Digest)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_set_image_data(store, image, key, data, C.size_t(len(d.Data)), digest, e)
	})
}

// ContainerData is a big data item of a container.
func (s *Store) ContainerData(id, key string) ([]byte, error) {
	var a arena
	defer a.free()
	container, item := a.text(id), a.text(key)
	return s.bytes(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_container_data(store, container, item, buf, e)
	})
}

// SetContainerData stores a big data item of a container.
func (s *Store) SetContainerData(id, key string, data []byte) error {
	var a arena
	defer a.free()
	container, item, content := a.text(id), a.text(key), a.bytes(data)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_set_container_data(store, container, item, content, C.size_t(len(data)), e)
	})
}

// LayerData writes a big data item of a layer.
func (s *Store) LayerData(id, key string, content io.Writer) error {
	var a arena
	defer a.free()
	layer, item := a.text(id), a.text(key)
	return watched(context.Background(), nil, func(o *operation) error {
		return toWriter(o, content, func(fd C.int32_t) error {
			return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
				return C.orlop_layer_data(store, layer, item, fd, e)
			})
		})
	})
}

// SetLayerData stores a big data item of a layer.
func (s *Store) SetLayerData(id, key string, content io.Reader) error {
	var a arena
	defer a.free()
	layer, item := a.text(id), a.text(key)
	file, ok := content.(*os.File)
	if !ok {
		// Not a pipe: the call cannot be called off, and would take what a failed reader has given for all there is.
		spool, err := spooled(content)
		if err != nil {
			return err
		}
		defer spool.Close()
		file = spool
	}
	return withFile(file, func(fd C.int32_t) error {
		return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
			return C.orlop_set_layer_data(store, layer, item, fd, e)
		})
	})
}

// spooled is a file in memory with all that a reader has.
func spooled(content io.Reader) (*os.File, error) {
	fd, err := unix.MemfdCreate("orlop-data", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "orlop-data")
	if _, err = io.Copy(file, content); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
