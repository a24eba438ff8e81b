package orlop

import (
	"encoding/json"
	"fmt"

	"github.com/orlop/orlop/go/internal/capi"
)

// Store is a store of layers, images and containers, which other processes may use at the same time.
//
// Where an id is asked for, a name or a unique beginning of an id does, too.
type Store struct{ store *capi.Store }

// Open opens the store that a configuration describes. Nothing on disk is touched; what must exist is made by the first call
// that writes. It is to be closed.
//
// It fails with [CodeIncompleteOptions] for a missing root, with [CodeConfig] for a malformed option, and with [CodeNotSupported] for
// a driver that is not served.
func Open(config *Config) (*Store, error) {
	store, err := capi.OpenStore(config.config)
	if err != nil {
		return nil, err
	}
	return &Store{store}, nil
}

// Close frees it, once the calls on it have ended. What is mounted stays mounted.
func (s *Store) Close() { s.store.Close() }

// Options are what the store was opened with, its driver filled in.
func (s *Store) Options() (StoreOptions, error) {
	var options StoreOptions
	err := s.store.Config(&options)
	return options, err
}

// Status is what the driver says of itself, as podman info prints it: rows of key and value.
func (s *Store) Status() ([][2]string, error) { return s.store.Status() }

// Exists tells whether a layer, image or container has that id or name.
func (s *Store) Exists(id string) (bool, error) { return s.store.Exists(id) }

// Lookup tells what an id or a name is; the layers are looked through first, then the images, then the containers. It fails with
// [CodeNotFound].
func (s *Store) Lookup(id string) (Object, error) {
	var found struct {
		Kind   string          `json:"kind"`
		Record json.RawMessage `json:"record"`
	}
	if err := s.store.Lookup(id, &found); err != nil {
		return Object{}, err
	}
	var object Object
	var record any
	switch found.Kind {
	case "layer":
		object.Layer = new(Layer)
		record = object.Layer
	case "image":
		object.Image = new(Image)
		record = object.Image
	case "container":
		object.Container = new(Container)
		record = object.Container
	default:
		return Object{}, fmt.Errorf("looking %q up: liborlop calls it a %q, which this version of the package does not know", id, found.Kind)
	}
	return object, json.Unmarshal(found.Record, record)
}

// Layers lists the layers, those of additional stores last.
func (s *Store) Layers() ([]Layer, error) {
	var layers []Layer
	err := s.store.Layers(&layers)
	return layers, err
}

// Images lists the images, those of additional stores last.
func (s *Store) Images() ([]Image, error) {
	var images []Image
	err := s.store.Images(&images)
	return images, err
}

// Containers lists the containers.
func (s *Store) Containers() ([]Container, error) {
	var containers []Container
	err := s.store.Containers(&containers)
	return containers, err
}

// Layer is the layer of that id or name. It fails with [CodeLayerUnknown].
func (s *Store) Layer(id string) (*Layer, error) { return one[Layer](id, s.store.Layer) }

// Image is the image of that id or name. It fails with [CodeImageUnknown].
func (s *Store) Image(id string) (*Image, error) { return one[Image](id, s.store.Image) }

// Container is the container of that id or name, or of that layer's id. It fails with [CodeContainerUnknown].
func (s *Store) Container(id string) (*Container, error) {
	return one[Container](id, s.store.Container)
}

// LayersByUncompressedDigest lists the layers whose tar has that digest.
func (s *Store) LayersByUncompressedDigest(digest string) ([]Layer, error) {
	return some[Layer](digest, s.store.LayersByDiffDigest)
}

// LayersByCompressedDigest lists the layers whose blob, as it came, has that digest.
func (s *Store) LayersByCompressedDigest(digest string) ([]Layer, error) {
	return some[Layer](digest, s.store.LayersByCompressedDigest)
}

// ImagesByDigest lists the images with that digest, be it their own or that of one of their manifests.
func (s *Store) ImagesByDigest(digest string) ([]Image, error) {
	return some[Image](digest, s.store.ImagesByDigest)
}

// ImagesByTopLayer lists the images with the top layer of that id.
func (s *Store) ImagesByTopLayer(layer string) ([]Image, error) {
	return some[Image](layer, s.store.ImagesByTopLayer)
}

// one is the record that a call reads.
func one[T any](id string, read func(id string, record any) error) (*T, error) {
	record := new(T)
	if err := read(id, record); err != nil {
		return nil, err
	}
	return record, nil
}

// some are the records that a call reads.
func some[T any](what string, read func(what string, records any) error) ([]T, error) {
	var records []T
	err := read(what, &records)
	return records, err
}

// made is the record that a creation reads.
func made[T any](create func(record any) error) (*T, error) {
	return one[T]("", func(_ string, record any) error { return create(record) })
}
