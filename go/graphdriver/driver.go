// Package graphdriver is the overlay driver of liborlop for go.podman.io/storage.
//
// Importing it registers "overlay"; the one of go.podman.io/storage has to be left out by the build tag
// exclude_graphdriver_overlay, since the name can be registered once:
//
//	import _ "github.com/orlop/orlop/go/graphdriver"
//
// What the library has to tell goes to logrus, at the level that logrus has when a driver is opened; orlop.SetLog of the package above
// sends it elsewhere.
package graphdriver

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/directory"
	"go.podman.io/storage/pkg/idtools"
)

// name is what the driver is registered as: names other than those of go.podman.io/storage get no driver options.
const name = "overlay"

// Programs that call pkg/reexec run init once more in each of their children: nothing but this may be done here.
func init() {
	drivers.MustRegister(name, Init)
}

// Init opens the driver; home is the folder "overlay" in the store's root.
func Init(home string, options drivers.Options) (drivers.Driver, error) {
	if filepath.Base(home) != name {
		return nil, fmt.Errorf("opening the overlay driver in %q: its folder has to be called %q", home, name)
	}
	return open(capi.ConfigOptions{
		GraphRoot:     filepath.Dir(home),
		RunRoot:       options.RunRoot,
		ImageStore:    options.ImageStore,
		Driver:        name,
		DriverOptions: options.DriverOptions,
	})
}

// OpenDialect opens a driver of layers that another engine has laid out: with "moby" those of Docker's overlay2, below
// graphRoot/overlay2. What it writes, that engine reads.
func OpenDialect(dialect, graphRoot, runRoot string, options []string) (drivers.Driver, error) {
	return open(capi.ConfigOptions{
		GraphRoot:     graphRoot,
		RunRoot:       runRoot,
		DriverOptions: options,
		Dialect:       dialect,
	})
}

func open(options capi.ConfigOptions) (drivers.Driver, error) {
	if err := setLog(); err != nil {
		return nil, err
	}
	options.OnlyGiven = true
	config, err := capi.LoadConfig(options)
	if err != nil {
		return nil, err
	}
	defer config.Close()
	opened, err := capi.OpenDriver(config)
	if err != nil {
		return nil, err
	}
	if err := opened.Prepare(); err != nil {
		opened.Close()
		return nil, err
	}
	name, err := opened.Name()
	if err != nil {
		opened.Close()
		return nil, err
	}
	return wrap(name, opened), nil
}

// wrap finds the types that a package outside of go.podman.io/storage cannot name.
func wrap(name string, opened *capi.Driver) drivers.Driver {
	return newDriver(drivers.ProtoDriver.DeferredRemove, drivers.ApplyDiffStaging.CommitStagedLayer, name, opened)
}

// newDriver infers the types of tempdir, an internal package, from methods that have them.
func newDriver[Cleanup ~func() error, Addition ~struct{ Path string }](
	_ func(drivers.ProtoDriver, string) (Cleanup, error),
	_ func(drivers.ApplyDiffStaging, string, *Addition) error,
	name string,
	opened *capi.Driver,
) *driver[Cleanup, Addition] {
	d := &driver[Cleanup, Addition]{name: name, opened: opened, staged: map[string]*capi.Staged{}}
	// A driver has no end in its interface: Cleanup is the end of its mounts, and calls may still follow.
	// Not Close, which waits for a tar that is being made: the runtime's own goroutines are not to wait.
	runtime.AddCleanup(d, (*capi.Driver).Drop, opened)
	return d
}

// driver is a driver of liborlop; Cleanup is tempdir.CleanupTempDirFunc, Addition is tempdir.StagedAddition.
type driver[Cleanup ~func() error, Addition ~struct{ Path string }] struct {
	name   string
	opened *capi.Driver

	lock   sync.Mutex
	staged map[string]*capi.Staged
	count  uint64
}

// Dialect is whose layout the layers have: "containers", unless OpenDialect has opened the driver.
func (d *driver[Cleanup, Addition]) Dialect() (string, error) {
	defer runtime.KeepAlive(d)
	return d.opened.Dialect()
}

// String is the name.
func (d *driver[Cleanup, Addition]) String() string { return d.name }

// Status gives rows for "status".
func (d *driver[Cleanup, Addition]) Status() [][2]string {
	defer runtime.KeepAlive(d)
	rows, err := d.opened.Status()
	if err != nil {
		return [][2]string{{"Error", err.Error()}}
	}
	return rows
}

// GetTempDirRootDirs are the folders whose stale temporary directories the store removes.
func (d *driver[Cleanup, Addition]) GetTempDirRootDirs() []string {
	defer runtime.KeepAlive(d)
	roots, err := d.opened.TempDirRoots()
	return orLog(roots, err, "listing the folders of temporary directories")
}

// AdditionalImageStores are the read-only stores of the options.
func (d *driver[Cleanup, Addition]) AdditionalImageStores() []string {
	defer runtime.KeepAlive(d)
	roots, err := d.opened.AdditionalImageStores()
	return orLog(roots, err, "listing the additional image stores")
}

// SyncMode tells whether layers are synced to the disk before they count as complete.
func (d *driver[Cleanup, Addition]) SyncMode() drivers.SyncMode {
	defer runtime.KeepAlive(d)
	syncs, err := d.opened.Syncs()
	if orLog(syncs, err, "asking for the sync mode") {
		return drivers.SyncModeFilesystem
	}
	return drivers.SyncModeNone
}

// Cleanup releases what the driver holds.
func (d *driver[Cleanup, Addition]) Cleanup() error {
	defer runtime.KeepAlive(d)
	return d.opened.Cleanup()
}

// SupportsShifting tells whether Get can map ids by itself.
func (d *driver[Cleanup, Addition]) SupportsShifting(uidMap, gidMap []idtools.IDMap) bool {
	defer runtime.KeepAlive(d)
	yes, err := d.opened.SupportsShifting(uidMap, gidMap)
	return orLog(yes, err, "asking whether ids can be mapped")
}

// UpdateLayerIDMap changes the owners of a layer's files from one map to another.
func (d *driver[Cleanup, Addition]) UpdateLayerIDMap(id string, toContainer, toHost *idtools.IDMappings, mountLabel string) error {
	defer runtime.KeepAlive(d)
	return d.opened.UpdateIDMaps(id, orNone(toContainer), orNone(toHost), mountLabel)
}

// ReadWriteDiskUsage is the size of a layer's own content.
func (d *driver[Cleanup, Addition]) ReadWriteDiskUsage(id string) (*directory.DiskUsage, error) {
	defer runtime.KeepAlive(d)
	bytes, inodes, err := d.opened.DiskUsage(id)
	if err != nil {
		return nil, err
	}
	return &directory.DiskUsage{Size: int64(bytes), InodeCount: int64(inodes)}, nil
}

// Metadata are free keys and values of a layer.
func (d *driver[Cleanup, Addition]) Metadata(id string) (map[string]string, error) {
	defer runtime.KeepAlive(d)
	return d.opened.Metadata(id)
}

// files gives the content of a layer's files to tar-split.
type files struct{ opened *capi.Files }

func (f files) Get(name string) (io.ReadCloser, error) { return f.opened.Open(name) }

func (f files) Close() error {
	f.opened.Close()
	return nil
}

// DiffGetter gives a layer's files for putting its tar together again.
func (d *driver[Cleanup, Addition]) DiffGetter(id string) (drivers.FileGetCloser, error) {
	defer runtime.KeepAlive(d)
	opened, err := d.opened.Files(id)
	if err != nil {
		return nil, err
	}
	return files{opened}, nil
}
