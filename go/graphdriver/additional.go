package graphdriver

import (
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
)

// LookupAdditionalLayer finds a layer that an additional layer store serves.
func (d *driver[Cleanup, Addition]) LookupAdditionalLayer(toc digest.Digest, ref string) (drivers.AdditionalLayer, error) {
	defer runtime.KeepAlive(d)
	found, err := d.opened.AdditionalLayer(toc.String(), ref)
	if err != nil {
		return nil, err
	}
	return additional[Cleanup, Addition]{found, d}, nil
}

// LookupAdditionalLayerByID finds what a layer was made of.
func (d *driver[Cleanup, Addition]) LookupAdditionalLayerByID(id string) (drivers.AdditionalLayer, error) {
	defer runtime.KeepAlive(d)
	found, err := d.opened.AdditionalLayerOf(id)
	if err != nil {
		return nil, err
	}
	return additional[Cleanup, Addition]{found, d}, nil
}

// additional is a layer of an additional layer store, and keeps its driver.
type additional[Cleanup ~func() error, Addition ~struct{ Path string }] struct {
	layer *capi.AdditionalLayer
	of    *driver[Cleanup, Addition]
}

// CreateAs makes a layer of it.
func (a additional[Cleanup, Addition]) CreateAs(id, parent string) error {
	defer runtime.KeepAlive(a.of)
	return a.of.opened.CreateFromAdditional(id, parent, a.layer)
}

// Info is what the store tells of it.
func (a additional[Cleanup, Addition]) Info() (io.ReadCloser, error) {
	// Not nil in an interface, which would not be nil.
	file, err := a.layer.Info()
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Blob is the layer as it was distributed.
func (a additional[Cleanup, Addition]) Blob() (io.ReadCloser, error) {
	file, err := a.layer.Blob()
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Release tells the store that it is not used any more.
func (a additional[Cleanup, Addition]) Release() { a.layer.Close() }
