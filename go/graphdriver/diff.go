package graphdriver

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"

	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/idtools"
)

func diffOptions(maps, parentMaps *idtools.IDMappings, label string) capi.DiffOptions {
	maps, parentMaps = orNone(maps), orNone(parentMaps)
	return capi.DiffOptions{
		UIDMap: maps.UIDs(), GIDMap: maps.GIDs(),
		ParentUIDMap: parentMaps.UIDs(), ParentGIDMap: parentMaps.GIDs(),
		MountLabel: label,
	}
}

// Diff gives what a layer changes upon another one as a tar; errors of a tar that has begun come out of Read.
func (d *driver[Cleanup, Addition]) Diff(
	id string, idMappings *idtools.IDMappings, parent string, parentIDMappings *idtools.IDMappings, mountLabel string,
) (io.ReadCloser, error) {
	reader, err := d.opened.OpenDiff(id, parent, diffOptions(idMappings, parentIDMappings, mountLabel))
	if err != nil {
		return nil, err
	}
	// The driver must not be freed while the tar is made.
	return diff[Cleanup, Addition]{reader, d}, nil
}

// diff keeps its driver.
type diff[Cleanup ~func() error, Addition ~struct{ Path string }] struct {
	*capi.DiffReader
	of *driver[Cleanup, Addition]
}

func (r diff[Cleanup, Addition]) Close() error {
	defer runtime.KeepAlive(r.of)
	return r.DiffReader.Close()
}

// Changes lists what a layer changes upon another one.
func (d *driver[Cleanup, Addition]) Changes(
	id string, idMappings *idtools.IDMappings, parent string, parentIDMappings *idtools.IDMappings, mountLabel string,
) ([]archive.Change, error) {
	defer runtime.KeepAlive(d)
	found, err := d.opened.Changes(id, parent, diffOptions(idMappings, parentIDMappings, mountLabel))
	if err != nil {
		return nil, err
	}
	kinds := map[byte]archive.ChangeType{'C': archive.ChangeModify, 'A': archive.ChangeAdd, 'D': archive.ChangeDelete}
	changes := make([]archive.Change, 0, len(found))
	for _, change := range found {
		changes = append(changes, archive.Change{Path: change.Path, Kind: kinds[change.Kind]})
	}
	return changes, nil
}

// DiffSize estimates the bytes of what a layer changes upon another one.
func (d *driver[Cleanup, Addition]) DiffSize(
	id string, idMappings *idtools.IDMappings, parent string, parentIDMappings *idtools.IDMappings, mountLabel string,
) (int64, error) {
	defer runtime.KeepAlive(d)
	bytes, err := d.opened.DiffSize(id, parent, diffOptions(idMappings, parentIDMappings, mountLabel))
	return int64(bytes), err
}

func applyOptions(o drivers.ApplyDiffOpts) capi.ApplyOptions {
	maps := orNone(o.Mappings)
	options := capi.ApplyOptions{
		MountLabel: o.MountLabel, UIDMap: maps.UIDs(), GIDMap: maps.GIDs(), IgnoreChownErrors: o.IgnoreChownErrors,
	}
	if o.ForceMask != nil {
		mask := uint32(o.ForceMask.Perm())
		options.ForceMask = &mask
	}
	return options
}

// ApplyDiff unpacks a tar into a layer and returns the bytes of its files.
func (d *driver[Cleanup, Addition]) ApplyDiff(id string, o drivers.ApplyDiffOpts) (int64, error) {
	defer runtime.KeepAlive(d)
	bytes, err := d.opened.ApplyDiff(context.Background(), id, o.Diff, applyOptions(o))
	return int64(bytes), err
}

// StartStagingDiffToApply unpacks a tar outside of any layer and without the store's locks. What it returns first gives it up, unless
// it has become a layer's content meanwhile.
func (d *driver[Cleanup, Addition]) StartStagingDiffToApply(parent string, o drivers.ApplyDiffOpts) (Cleanup, *Addition, int64, error) {
	defer runtime.KeepAlive(d)
	staged, bytes, err := d.opened.Stage(context.Background(), parent, o.Diff, applyOptions(o))
	if err != nil {
		return nil, nil, 0, err
	}
	// The caller hands the addition back as it is: its one field says which it is, and is no path.
	d.lock.Lock()
	d.count++
	key := "orlop:" + strconv.FormatUint(d.count, 10)
	d.staged[key] = staged
	d.lock.Unlock()
	addition := Addition(struct{ Path string }{key})
	cleanup := func() error {
		if staged := d.unstage(key); staged != nil {
			staged.Free()
		}
		return nil
	}
	return cleanup, &addition, int64(bytes), nil
}

// unstage finds staged content, once.
func (d *driver[Cleanup, Addition]) unstage(key string) *capi.Staged {
	d.lock.Lock()
	defer d.lock.Unlock()
	staged := d.staged[key]
	delete(d.staged, key)
	return staged
}

// CommitStagedLayer makes staged content that of a layer.
func (d *driver[Cleanup, Addition]) CommitStagedLayer(id string, addition *Addition) error {
	defer runtime.KeepAlive(d)
	key := struct{ Path string }(*addition).Path
	staged := d.unstage(key)
	if staged == nil {
		return fmt.Errorf("making %q the content of layer %s: it is not staged, or no more", key, id)
	}
	// Where it was not used up after all.
	defer staged.Free()
	return d.opened.CommitStaged(id, staged)
}
