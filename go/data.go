package orlop

import (
	"context"
	"io"
)

// ImageData is a big data item of an image. It fails with [CodeImageUnknown], [CodeDataUnknown] (os.ErrNotExist),
// [CodeInvalidDataName].
func (s *Store) ImageData(id, key string) ([]byte, error) { return s.store.ImageData(id, key) }

// SetImageData stores a big data item of an image, in place of one that it has.
func (s *Store) SetImageData(id string, item DataItem) error { return s.store.SetImageData(id, item) }

// ContainerData is a big data item of a container. It fails with [CodeContainerUnknown] and [CodeDataUnknown] (os.ErrNotExist).
func (s *Store) ContainerData(id, key string) ([]byte, error) { return s.store.ContainerData(id, key) }

// SetContainerData stores a big data item of a container, in place of one that it has.
func (s *Store) SetContainerData(id, key string, data []byte) error {
	return s.store.SetContainerData(id, key, data)
}

// LayerData writes a big data item of a layer. It fails with [CodeLayerUnknown] and [CodeDataUnknown] (os.ErrNotExist), the error of
// the writer or that of the context. What was written until then stays.
func (s *Store) LayerData(ctx context.Context, id, key string, content io.Writer) error {
	return s.store.LayerData(ctx, progressOf(ctx), id, key, content)
}

// SetLayerData stores a big data item of a layer, in place of one that it has. It is read into memory first: where that fails, or the
// context ends meanwhile, nothing changes. The storing itself is not called off.
func (s *Store) SetLayerData(ctx context.Context, id, key string, content io.Reader) error {
	return s.store.SetLayerData(ctx, progressOf(ctx), id, key, content)
}
