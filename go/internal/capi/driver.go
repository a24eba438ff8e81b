package capi

// #include <orlop.h>
import "C"

import (
	"go.podman.io/storage/pkg/idtools"
)

// Driver keeps layers on disk and mounts them. The caller holds the store's locks.
type Driver struct{ handle *handle[*C.orlop_driver] }

// OpenDriver opens the driver that a configuration names.
func OpenDriver(config *Config) (*Driver, error) {
	var driver *C.orlop_driver
	err := config.handle.do(nil, func(config *C.orlop_config, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_open(config, &driver, e)
	})
	if err != nil {
		return nil, err
	}
	return &Driver{newHandle("driver", driver, func(d *C.orlop_driver) { C.orlop_driver_free(d) })}, nil
}

// Close frees it once the calls on it have ended; what is mounted stays mounted.
func (d *Driver) Close() { d.handle.close() }

// Drop is Close without waiting: the last call frees it.
func (d *Driver) Drop() { d.handle.drop() }

// Name is "overlay" or "vfs".
func (d *Driver) Name() (string, error) {
	return d.text(nil, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_name(driver, buf, e)
	})
}

// Dialect is whose layout the layers have, "containers", "moby", "legacy" or "cvmfs"; empty for vfs.
func (d *Driver) Dialect() (string, error) {
	return d.text(nil, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_dialect(driver, buf, e)
	})
}

// Prepare makes what the driver needs on disk before its first layer.
func (d *Driver) Prepare() error {
	return d.handle.do(nil, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_prepare(driver, e)
	})
}

// Cleanup releases what the driver holds, at shutdown.
func (d *Driver) Cleanup() error {
	return d.handle.do(nil, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_cleanup(driver, e)
	})
}

// Syncs tells whether a layer must be on disk before it counts as complete.
func (d *Driver) Syncs() (bool, error) {
	yes, err := d.handle.call(nil, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_syncs(driver, e)
	})
	return yes != 0, err
}

// Status gives rows of keys and values.
func (d *Driver) Status() ([][2]string, error) {
	var rows [][2]string
	err := d.json(nil, &rows, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_status(driver, buf, e)
	})
	return rows, err
}

// TempDirRoots are the directories with temp-dir-* in them.
func (d *Driver) TempDirRoots() ([]string, error) {
	var roots []string
	err := d.json(nil, &roots, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_temp_dir_roots(driver, buf, e)
	})
	return roots, err
}

// AdditionalImageStores are the roots of the read-only stores of its options.
func (d *Driver) AdditionalImageStores() ([]string, error) {
	var roots []string
	err := d.json(nil, &roots, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_additional_image_stores(driver, buf, e)
	})
	return roots, err
}

// SupportsShifting tells whether a mount can map ids by itself.
func (d *Driver) SupportsShifting(uidMap, gidMap []idtools.IDMap) (bool, error) {
	var a arena
	defer a.done()
	uids, gids := a.idMaps(uidMap), a.idMaps(gidMap)
	yes, err := d.handle.call(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_supports_shifting(driver, uids, gids, e)
	})
	return yes != 0, err
}

// text runs a call that gives text.
func (d *Driver) text(a *arena, run func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t) (string, error) {
	var buf C.orlop_buf
	err := d.handle.do(a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return run(driver, &buf, e)
	})
	return takeText(&buf), err
}

// json runs a call that gives JSON, and reads it into value.
func (d *Driver) json(a *arena, value any, run func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t) error {
	var buf C.orlop_buf
	err := d.handle.do(a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return run(driver, &buf, e)
	})
	if err != nil {
		return err
	}
	return takeJSON(&buf, value)
}
