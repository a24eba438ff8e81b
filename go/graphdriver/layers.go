package graphdriver

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"github.com/orlop/orlop/go/internal/capi"
	"github.com/sirupsen/logrus"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/idtools"
)

// orLog is for what the interface has no errors for.
func orLog[T any](value T, err error, what string) T {
	if err != nil {
		logrus.Errorf("overlay: %s: %v", what, err)
	}
	return value
}

// orNone is for mappings that may be nil.
func orNone(m *idtools.IDMappings) *idtools.IDMappings {
	if m == nil {
		return &idtools.IDMappings{}
	}
	return m
}

func layerOptions(o *drivers.CreateOpts) capi.LayerOptions {
	if o == nil {
		return capi.LayerOptions{}
	}
	maps := orNone(o.IDMappings)
	return capi.LayerOptions{
		MountLabel: o.MountLabel, StorageOpt: o.StorageOpt, UIDMap: maps.UIDs(), GIDMap: maps.GIDs(),
	}
}

// Create makes a layer for image content.
func (d *driver[Cleanup, Addition]) Create(id, parent string, opts *drivers.CreateOpts) error {
	defer runtime.KeepAlive(d)
	return d.opened.Create(id, parent, layerOptions(opts))
}

// CreateReadWrite makes a layer for a container.
func (d *driver[Cleanup, Addition]) CreateReadWrite(id, parent string, opts *drivers.CreateOpts) error {
	defer runtime.KeepAlive(d)
	return d.opened.CreateReadWrite(id, parent, layerOptions(opts))
}

// CreateFromTemplate makes a layer with the content of another one.
func (d *driver[Cleanup, Addition]) CreateFromTemplate(
	id, template string, _ *idtools.IDMappings, _ string, _ *idtools.IDMappings, opts *drivers.CreateOpts, readWrite bool,
) error {
	defer runtime.KeepAlive(d)
	return d.opened.CreateFromTemplate(id, template, layerOptions(opts), readWrite)
}

// Remove removes a layer at once.
func (d *driver[Cleanup, Addition]) Remove(id string) error {
	defer runtime.KeepAlive(d)
	return d.opened.Remove(id)
}

// DeferredRemove moves a layer aside; what it returns deletes it.
func (d *driver[Cleanup, Addition]) DeferredRemove(id string) (Cleanup, error) {
	defer runtime.KeepAlive(d)
	trash, err := d.opened.DeferredRemove(id)
	if err != nil {
		return nil, err
	}
	return trash.Empty, nil
}

// Get mounts a layer.
func (d *driver[Cleanup, Addition]) Get(id string, o drivers.MountOpts) (string, error) {
	defer runtime.KeepAlive(d)
	return d.opened.Get(id, mountOptions(o))
}

func mountOptions(o drivers.MountOpts) capi.MountOptions {
	return capi.MountOptions{
		MountLabel: o.MountLabel, UIDMap: o.UidMaps, GIDMap: o.GidMaps, Options: o.Options, Volatile: o.Volatile,
	}
}

// Put gives one Get back.
func (d *driver[Cleanup, Addition]) Put(id string) error {
	defer runtime.KeepAlive(d)
	err := d.opened.Put(id)
	var e *capi.Error
	if errors.As(err, &e) && e.Code == capi.LayerUnknown {
		// The store asks with os.IsNotExist, which looks into no other error: a layer that is gone counts as unmounted.
		return &os.PathError{Op: "unmounting the layer of", Path: e.Path, Err: syscall.ENOENT}
	}
	return err
}

// Exists tells whether there is such a layer.
func (d *driver[Cleanup, Addition]) Exists(id string) bool {
	defer runtime.KeepAlive(d)
	yes, err := d.opened.Exists(id)
	return orLog(yes, err, "looking for a layer")
}

// ListLayers lists the layers, but not those of additional stores; children come before their parents.
func (d *driver[Cleanup, Addition]) ListLayers() ([]string, error) {
	defer runtime.KeepAlive(d)
	return d.opened.Layers()
}
