package capi

// #include <orlop.h>
import "C"

// Store is a store of layers, images and containers.
type Store struct{ handle *handle[*C.orlop_store] }

// OpenStore opens the store that a configuration describes; nothing on disk is touched.
func OpenStore(config *Config) (*Store, error) {
	var store *C.orlop_store
	err := config.handle.do(nil, func(config *C.orlop_config, e **C.orlop_error) C.int32_t {
		return C.orlop_store_open(config, &store, e)
	})
	if err != nil {
		return nil, err
	}
	return &Store{newHandle("store", store, func(s *C.orlop_store) { C.orlop_store_free(s) })}, nil
}

// Close frees it once the calls on it have ended; what is mounted stays mounted.
func (s *Store) Close() { s.handle.close() }

// Exists tells whether a layer, image or container has that id, name or unique beginning of an id.
func (s *Store) Exists(id string) (bool, error) {
	var a arena
	defer a.done()
	what := a.text(id)
	yes, err := s.handle.call(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_exists(store, what, e)
	})
	return yes != 0, err
}

// Config reads what the store was opened with into a value with the JSON names of Go's types.StoreOptions.
func (s *Store) Config(options any) error {
	return s.json(nil, options, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_store_config(store, buf, e)
	})
}

// Status gives rows of keys and values of the driver's.
func (s *Store) Status() ([][2]string, error) {
	var rows [][2]string
	err := s.json(nil, &rows, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_store_status(store, buf, e)
	})
	return rows, err
}

// filling is a call that fills a buffer.
type filling func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t

// bytes runs a call that gives bytes.
func (s *Store) bytes(a *arena, run filling) ([]byte, error) {
	var buf C.orlop_buf
	err := s.handle.do(a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return run(store, &buf, e)
	})
	return take(&buf), err
}

// text runs a call that gives text or a path.
func (s *Store) text(a *arena, run filling) (string, error) {
	bytes, err := s.bytes(a, run)
	return string(bytes), err
}

// json runs a call that gives JSON, and reads it into value.
func (s *Store) json(a *arena, value any, run filling) error {
	var buf C.orlop_buf
	err := s.handle.do(a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return run(store, &buf, e)
	})
	if err != nil {
		return err
	}
	return takeJSON(&buf, value)
}

// about is json for a call about one id, name or digest.
func (s *Store) about(what string, value any, run func(store *C.orlop_store, what *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t) error {
	var a arena
	defer a.done()
	given := a.text(what)
	return s.json(&a, value, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return run(store, given, buf, e)
	})
}

// on runs a call about one id that gives nothing, or a number above zero.
func (s *Store) on(id string, run func(store *C.orlop_store, id *C.char, e **C.orlop_error) C.int32_t) (int, error) {
	var a arena
	defer a.done()
	given := a.text(id)
	return s.handle.call(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return run(store, given, e)
	})
}

// path runs a call about one id that gives a path.
func (s *Store) path(id string, run func(store *C.orlop_store, id *C.char, buf *C.orlop_buf, e **C.orlop_error) C.int32_t) (string, error) {
	var a arena
	defer a.done()
	given := a.text(id)
	return s.text(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return run(store, given, buf, e)
	})
}
