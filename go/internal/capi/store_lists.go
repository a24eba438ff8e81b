package capi

// #include <orlop.h>
import "C"

// Layers reads the records of all layers into records.
func (s *Store) Layers(records any) error {
	return s.json(nil, records, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_layers(store, buf, e)
	})
}

// Images reads the records of all images into records.
func (s *Store) Images(records any) error {
	return s.json(nil, records, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_images(store, buf, e)
	})
}

// Containers reads the records of all containers into records.
func (s *Store) Containers(records any) error {
	return s.json(nil, records, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_containers(store, buf, e)
	})
}

// Layer reads the record of a layer into record.
func (s *Store) Layer(id string, record any) error {
	return s.about(id, record, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_layer(store, id, buf, e)
	})
}

// Image reads the record of an image into record.
func (s *Store) Image(id string, record any) error {
	return s.about(id, record, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_image(store, id, buf, e)
	})
}

// Container reads the record of a container into record.
func (s *Store) Container(id string, record any) error {
	return s.about(id, record, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_container(store, id, buf, e)
	})
}

// Lookup reads what an id or name is, "kind" and "record", into found.
func (s *Store) Lookup(id string, found any) error {
	return s.about(id, found, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_lookup(store, id, buf, e)
	})
}

// LayersByDiffDigest reads the layers whose uncompressed tar has that digest into records.
func (s *Store) LayersByDiffDigest(digest string, records any) error {
	return s.about(digest, records, func(store *C.orlop_store, digest *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_layers_by_diff_digest(store, digest, buf, e)
	})
}

// LayersByCompressedDigest reads the layers whose blob has that digest into records.
func (s *Store) LayersByCompressedDigest(digest string, records any) error {
	return s.about(digest, records, func(store *C.orlop_store, digest *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_layers_by_compressed_digest(store, digest, buf, e)
	})
}

// ImagesByDigest reads the images with that digest into records.
func (s *Store) ImagesByDigest(digest string, records any) error {
	return s.about(digest, records, func(store *C.orlop_store, digest *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_images_by_digest(store, digest, buf, e)
	})
}

// ImagesByTopLayer reads the images with that top layer into records.
func (s *Store) ImagesByTopLayer(layer string, records any) error {
	return s.about(layer, records, func(store *C.orlop_store, layer *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_images_by_top_layer(store, layer, buf, e)
	})
}
