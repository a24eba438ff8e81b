package capi

// #include <orlop.h>
import "C"

import (
	"bytes"
	"fmt"
	"strings"

	"go.podman.io/storage/pkg/idtools"
)

// LayerOptions are what a layer is created with.
type LayerOptions struct {
	MountLabel string
	StorageOpt map[string]string
	UIDMap     []idtools.IDMap
	GIDMap     []idtools.IDMap
}

func (a *arena) layerOptions(o LayerOptions) *C.struct_orlop_layer_options {
	return &C.struct_orlop_layer_options{
		size:        C.sizeof_struct_orlop_layer_options,
		mount_label: a.optional(o.MountLabel),
		storage_opt: a.pairs(o.StorageOpt),
		uid_map:     a.idMaps(o.UIDMap),
		gid_map:     a.idMaps(o.GIDMap),
	}
}

// Create makes an empty layer for image content; the parent may be empty.
func (d *Driver) Create(id, parent string, o LayerOptions) error {
	var a arena
	defer a.done()
	layer, below, options := a.text(id), a.optional(parent), a.layerOptions(o)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_create(driver, layer, below, options, e)
	})
}

// CreateReadWrite makes a layer for a container; the parent may be empty.
func (d *Driver) CreateReadWrite(id, parent string, o LayerOptions) error {
	var a arena
	defer a.done()
	layer, below, options := a.text(id), a.optional(parent), a.layerOptions(o)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_create_read_write(driver, layer, below, options, e)
	})
}

// CreateFromTemplate makes a layer with the content of another one.
func (d *Driver) CreateFromTemplate(id, template string, o LayerOptions, readWrite bool) error {
	var a arena
	defer a.done()
	layer, from, options := a.text(id), a.text(template), a.layerOptions(o)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_create_from_template(driver, layer, from, options, flag(readWrite), e)
	})
}

// Remove removes a layer; one that is not there is fine.
func (d *Driver) Remove(id string) error {
	var a arena
	defer a.done()
	layer := a.text(id)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_remove(driver, layer, e)
	})
}

// Trash is what a deferred removal has left to delete.
type Trash struct{ handle *handle[*C.orlop_trash] }

// DeferredRemove moves a layer aside, to be deleted without the locks.
func (d *Driver) DeferredRemove(id string) (*Trash, error) {
	var a arena
	defer a.done()
	layer := a.text(id)
	var trash *C.orlop_trash
	err := d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_deferred_remove(driver, layer, &trash, e)
	})
	if err != nil {
		return nil, err
	}
	return &Trash{newHandle("trash", trash, func(t *C.orlop_trash) { C.orlop_trash_free(t) })}, nil
}

// Empty deletes it; the second time there is nothing to do.
func (t *Trash) Empty() error {
	trash := t.handle.take()
	if trash == nil {
		return nil
	}
	defer passLog()
	var e *C.orlop_error
	return failure(C.orlop_trash_empty(trash, &e), e)
}

// MountOptions are what a layer is mounted with.
type MountOptions struct {
	MountLabel string
	UIDMap     []idtools.IDMap
	GIDMap     []idtools.IDMap
	Options    []string
	Volatile   bool
}

func (a *arena) mountOptions(o MountOptions) *C.struct_orlop_mount_options {
	return &C.struct_orlop_mount_options{
		size:        C.sizeof_struct_orlop_mount_options,
		mount_label: a.optional(o.MountLabel),
		uid_map:     a.idMaps(o.UIDMap),
		gid_map:     a.idMaps(o.GIDMap),
		options:     a.strings(o.Options),
		is_volatile: flag(o.Volatile),
	}
}

// Get mounts a layer and tells where.
func (d *Driver) Get(id string, o MountOptions) (string, error) {
	var a arena
	defer a.done()
	layer, options := a.text(id), a.mountOptions(o)
	return d.text(&a, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_get(driver, layer, options, buf, e)
	})
}

// Put gives one Get back.
func (d *Driver) Put(id string) error {
	var a arena
	defer a.done()
	layer := a.text(id)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_put(driver, layer, e)
	})
}

// Exists tells whether there is such a layer.
func (d *Driver) Exists(id string) (bool, error) {
	var a arena
	defer a.done()
	layer := a.text(id)
	yes, err := d.handle.call(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_exists(driver, layer, e)
	})
	return yes != 0, err
}

// Layers are the ids of the layers, children before their parents.
func (d *Driver) Layers() ([]string, error) {
	var ids []string
	err := d.json(nil, &ids, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_layers(driver, buf, e)
	})
	return ids, err
}

// Metadata are free keys and values of a layer.
func (d *Driver) Metadata(id string) (map[string]string, error) {
	var a arena
	defer a.done()
	layer := a.text(id)
	var data map[string]string
	err := d.json(&a, &data, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_metadata(driver, layer, buf, e)
	})
	return data, err
}

// DiskUsage is the size of a layer's own content, and how many inodes it has.
func (d *Driver) DiskUsage(id string) (bytes, inodes uint64, err error) {
	var a arena
	defer a.done()
	layer := a.text(id)
	usage := C.struct_orlop_disk_usage{size: C.sizeof_struct_orlop_disk_usage}
	err = d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_disk_usage(driver, layer, &usage, e)
	})
	return uint64(usage.bytes), uint64(usage.inodes), err
}

// UpdateIDMaps changes the owners of a layer's files from one map to another.
func (d *Driver) UpdateIDMaps(id string, toContainer, toHost *idtools.IDMappings, mountLabel string) error {
	var a arena
	defer a.done()
	layer, label := a.text(id), a.optional(mountLabel)
	fromUIDs, fromGIDs := a.idMaps(toContainer.UIDs()), a.idMaps(toContainer.GIDs())
	toUIDs, toGIDs := a.idMaps(toHost.UIDs()), a.idMaps(toHost.GIDs())
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_update_id_maps(driver, layer, fromUIDs, fromGIDs, toUIDs, toGIDs, label, e)
	})
}

// Change is an entry that a layer has changed: Kind is 'C' for modified, 'A' for added, 'D' for deleted.
type Change struct {
	Kind byte
	Path string
}

// Changes lists what a layer changes upon another one, which may be empty.
func (d *Driver) Changes(id, parent string, o DiffOptions) ([]Change, error) {
	var a arena
	defer a.done()
	layer, below, options := a.text(id), a.optional(parent), a.diffOptions(o)
	records, err := d.text(&a, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_changes(driver, layer, below, options, buf, e)
	})
	if err != nil {
		return nil, err
	}
	return parseChanges([]byte(records))
}

// parseChanges reads records of one byte for the kind, the path and a NUL.
func parseChanges(records []byte) ([]Change, error) {
	var changes []Change
	for len(records) > 0 {
		record, rest, ended := bytes.Cut(records, []byte{0})
		if !ended || len(record) < 2 || !strings.ContainsRune("CAD", rune(record[0])) {
			return nil, &Error{Code: Internal, Message: fmt.Sprintf("reading the changes that liborlop has returned: %q is no record of one", record)}
		}
		changes = append(changes, Change{Kind: record[0], Path: string(record[1:])})
		records = rest
	}
	return changes, nil
}

// DiffSize estimates the bytes of what a layer changes upon another one, which may be empty.
func (d *Driver) DiffSize(id, parent string, o DiffOptions) (uint64, error) {
	var a arena
	defer a.done()
	layer, below, options := a.text(id), a.optional(parent), a.diffOptions(o)
	var bytes C.uint64_t
	err := d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_diff_size(driver, layer, below, options, &bytes, e)
	})
	return uint64(bytes), err
}
