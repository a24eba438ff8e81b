package capi

// #include <orlop.h>
import "C"

import "os"

// AdditionalLayer is a layer that an additional layer store serves; the store counts it as used until it is closed.
type AdditionalLayer struct {
	handle *handle[*C.orlop_additional_layer]
}

// AdditionalLayer finds the layer by the digest of its table of contents, and the reference of its image, which may be empty.
func (d *Driver) AdditionalLayer(toc, reference string) (*AdditionalLayer, error) {
	var a arena
	defer a.done()
	digest, image := a.text(toc), a.optional(reference)
	return d.additional(&a, func(driver *C.orlop_driver, layer **C.orlop_additional_layer, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_additional_layer(driver, digest, image, layer, e)
	})
}

// AdditionalLayerOf is what a layer was made of.
func (d *Driver) AdditionalLayerOf(id string) (*AdditionalLayer, error) {
	var a arena
	defer a.done()
	of := a.text(id)
	return d.additional(&a, func(driver *C.orlop_driver, layer **C.orlop_additional_layer, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_additional_layer_of(driver, of, layer, e)
	})
}

func (d *Driver) additional(
	a *arena, run func(driver *C.orlop_driver, layer **C.orlop_additional_layer, e **C.orlop_error) C.int32_t,
) (*AdditionalLayer, error) {
	var layer *C.orlop_additional_layer
	err := d.handle.do(a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return run(driver, &layer, e)
	})
	if err != nil {
		return nil, err
	}
	free := func(l *C.orlop_additional_layer) { C.orlop_additional_layer_free(l) }
	return &AdditionalLayer{newHandle("additional layer", layer, free)}, nil
}

// CreateFromAdditional makes a layer with the content of an additional one; the parent may be empty.
func (d *Driver) CreateFromAdditional(id, parent string, source *AdditionalLayer) error {
	var a arena
	defer a.done()
	layer, below := a.text(id), a.optional(parent)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		if source.handle.acquire() != nil {
			// NULL, which the library refuses: it has been closed.
			return C.orlop_driver_create_from_additional(driver, layer, below, nil, e)
		}
		defer source.handle.release()
		return C.orlop_driver_create_from_additional(driver, layer, below, source.handle.pointer, e)
	})
}

// Info opens what the store tells of the layer.
func (l *AdditionalLayer) Info() (*os.File, error) {
	return l.open("info", func(layer *C.orlop_additional_layer, fd *C.int32_t, e **C.orlop_error) C.int32_t {
		return C.orlop_additional_layer_info(layer, fd, e)
	})
}

// Blob opens the layer as it was distributed.
func (l *AdditionalLayer) Blob() (*os.File, error) {
	return l.open("blob", func(layer *C.orlop_additional_layer, fd *C.int32_t, e **C.orlop_error) C.int32_t {
		return C.orlop_additional_layer_blob(layer, fd, e)
	})
}

func (l *AdditionalLayer) open(
	name string, run func(layer *C.orlop_additional_layer, fd *C.int32_t, e **C.orlop_error) C.int32_t,
) (*os.File, error) {
	var fd C.int32_t
	err := l.handle.do(nil, func(layer *C.orlop_additional_layer, e **C.orlop_error) C.int32_t {
		return run(layer, &fd, e)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Close lets it go once the calls on it have ended, and tells its store; the second time nothing happens.
func (l *AdditionalLayer) Close() { l.handle.close() }
