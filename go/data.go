package orlop

import "io"

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

// LayerData writes a big data item of a layer. It fails with [CodeLayerUnknown] and [CodeDataUnknown] (os.ErrNotExist).
func (s *Store) LayerData(id, key string, content io.Writer) error {
	return s.store.LayerData(id, key, content)
}

// SetLayerData stores a big data item of a layer, in place of one that it has. A reader that is no [os.File] is read into memory
// first: where it fails, nothing changes.
func (s *Store) SetLayerData(id, key string, content io.Reader) error {
	return s.store.SetLayerData(id, key, content)
}
