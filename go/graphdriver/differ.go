package graphdriver

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"

	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/idtools"
)

// ApplyDiffWithDiffer has a differ write a layer's content into a directory, without the store's locks. It is for
// ApplyDiffFromStagingDirectory or CleanupStagingDirectory then.
func (d *driver[Cleanup, Addition]) ApplyDiffWithDiffer(
	o *drivers.ApplyDiffWithDifferOpts, differ drivers.Differ,
) (output drivers.DriverWithDifferOutput, err error) {
	defer runtime.KeepAlive(d)
	given := drivers.ApplyDiffOpts{}
	if o != nil {
		given = o.ApplyDiffOpts
	}
	maps := orNone(given.Mappings)
	// The owners are the differ's to map.
	given.Mappings = nil
	partial, err := d.opened.BeginPartial(applyOptions(given))
	if err != nil {
		return drivers.DriverWithDifferOutput{}, err
	}
	done := false
	defer func() {
		if !done {
			err = errors.Join(err, d.opened.DiscardPartial(partial.Target))
		}
	}()
	output, err = differ.ApplyDiff(partial.Target, tarOptions(partial, maps), &drivers.DifferOptions{
		Format:           drivers.DifferOutputFormatDir,
		StagingDirectory: filepath.Dir(partial.Target),
	})
	output.Target = partial.Target
	done = err == nil
	return output, err
}

// tarOptions are how a differ is to write.
func tarOptions(partial capi.Partial, maps *idtools.IDMappings) *archive.TarOptions {
	options := &archive.TarOptions{
		UIDMaps:           maps.UIDs(),
		GIDMaps:           maps.GIDs(),
		IgnoreChownErrors: partial.IgnoreChownErrors,
		WhiteoutFormat:    archive.OverlayWhiteoutFormat,
		InUserNS:          partial.InUserNamespace,
	}
	if partial.KeepWhiteouts {
		options.WhiteoutFormat = archive.AUFSWhiteoutFormat
	}
	if partial.ForceMask != nil {
		mask := os.FileMode(*partial.ForceMask)
		options.ForceMask = &mask
	}
	return options
}

// ApplyDiffFromStagingDirectory makes what a differ has written a layer's content.
func (d *driver[Cleanup, Addition]) ApplyDiffFromStagingDirectory(
	id, parent string, output *drivers.DriverWithDifferOutput, _ *drivers.ApplyDiffWithDifferOpts,
) error {
	defer runtime.KeepAlive(d)
	return d.opened.CommitPartial(id, parent, output.Target, output.RootDirMode != nil)
}

// CleanupStagingDirectory deletes what a differ has written; what is a layer's content now, or gone, is fine.
func (d *driver[Cleanup, Addition]) CleanupStagingDirectory(target string) error {
	defer runtime.KeepAlive(d)
	return d.opened.DiscardPartial(target)
}

// DifferTarget is where a layer's own files are, which a differ need not fetch again.
func (d *driver[Cleanup, Addition]) DifferTarget(id string) (string, error) {
	defer runtime.KeepAlive(d)
	return d.opened.ContentPath(id)
}
