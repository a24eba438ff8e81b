package capi

// #include <orlop.h>
import "C"

import "context"

// Delete deletes a layer, an image or a container.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := ended(ctx); err != nil {
		return err
	}
	_, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_delete(store, id, e)
	})
	return err
}

// DeleteLayer deletes a layer.
func (s *Store) DeleteLayer(ctx context.Context, id string) error {
	if err := ended(ctx); err != nil {
		return err
	}
	_, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_delete_layer(store, id, e)
	})
	return err
}

// DeleteContainer deletes a container and its layer.
func (s *Store) DeleteContainer(ctx context.Context, id string) error {
	if err := ended(ctx); err != nil {
		return err
	}
	_, err := s.on(id, func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t {
		return C.orlop_delete_container(store, id, e)
	})
	return err
}

// DeleteImage deletes an image and the layers that nothing else uses, or with test only tells which; it returns their ids.
func (s *Store) DeleteImage(ctx context.Context, id string, test bool) ([]string, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	var layers []string
	err := s.about(id, &layers, func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_delete_image(store, id, flag(test), buf, e)
	})
	return layers, err
}

// Wipe deletes everything in the store.
func (s *Store) Wipe(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return err
	}
	return s.handle.do(nil, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_wipe(store, e)
	})
}

// Shutdown releases what the driver holds; the error names the layers that were mounted.
func (s *Store) Shutdown(force bool) error {
	return s.handle.do(nil, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_shutdown(store, flag(force), e)
	})
}
