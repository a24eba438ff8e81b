package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"io"
)

// ImageData is a big data item of an image.
func (s *Store) ImageData(id, key string) ([]byte, error) {
	var a arena
	defer a.done()
	image, item := a.text(id), a.text(key)
	return s.bytes(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_image_data(store, image, item, buf, e)
	})
}

// SetImageData stores a big data item of an image.
func (s *Store) SetImageData(id string, d DataItem) error {
	var a arena
	defer a.done()
	image, key, data, digest := a.text(id), a.text(d.Key), a.bytes(d.Data), a.optional(d.Digest)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_set_image_data(store, image, key, data, C.size_t(len(d.Data)), digest, e)
	})
}

// ContainerData is a big data item of a container.
func (s *Store) ContainerData(id, key string) ([]byte, error) {
	var a arena
	defer a.done()
	container, item := a.text(id), a.text(key)
	return s.bytes(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_container_data(store, container, item, buf, e)
	})
}

// SetContainerData stores a big data item of a container.
func (s *Store) SetContainerData(id, key string, data []byte) error {
	var a arena
	defer a.done()
	container, item, content := a.text(id), a.text(key), a.bytes(data)
	return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_set_container_data(store, container, item, content, C.size_t(len(data)), e)
	})
}

// LayerData writes a big data item of a layer.
func (s *Store) LayerData(ctx context.Context, progress *Progress, id, key string, content io.Writer) error {
	var a arena
	defer a.done()
	layer, item := a.text(id), a.text(key)
	return watched(ctx, progress, func(o *operation) error {
		return toWriter(o, content, func(fd C.int32_t) error {
			return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
				return C.orlop_layer_data(store, layer, item, fd, o.c, e)
			})
		})
	})
}

// SetLayerData stores a big data item of a layer.
func (s *Store) SetLayerData(ctx context.Context, progress *Progress, id, key string, content io.Reader) error {
	var a arena
	defer a.done()
	layer, item := a.text(id), a.text(key)
	return watched(ctx, progress, func(o *operation) error {
		return fromReader(o, content, func(fd C.int32_t) error {
			return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
				return C.orlop_set_layer_data(store, layer, item, fd, o.c, e)
			})
		})
	})
}
