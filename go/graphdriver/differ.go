package graphdriver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/chunked/dump"
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
	options := &drivers.DifferOptions{
		Format:           drivers.DifferOutputFormatDir,
		StagingDirectory: filepath.Dir(partial.Target),
	}
	if partial.ByDigest {
		options.Format = drivers.DifferOutputFormatFlat
		options.UseFsVerity = drivers.DifferFsVerityIfAvailable
	}
	output, err = differ.ApplyDiff(partial.Target, tarOptions(partial, maps), options)
	output.Target = partial.Target
	if partial.ByDigest && err == nil {
		if output.Artifacts == nil {
			output.Artifacts = map[string]any{}
		}
		output.Artifacts[byDigest] = true
	}
	done = err == nil
	return output, err
}

// The artifacts of a differ's output that composefs layers are made of, and one that tells whoever commits it to make one.
const (
	toc           = "toc"
	verityDigests = "fs-verity-digests"
	byDigest      = "orlop-by-digest"
)

// listFiles writes what the files of a layer are, whose content a differ has written by digests, to a file without a name.
func listFiles(output *drivers.DriverWithDifferOutput) (_ *os.File, err error) {
	// What the file system does not seal has no digests.
	digests, _ := output.Artifacts[verityDigests].(map[string]string)
	list, err := dump.GenerateDump(output.Artifacts[toc], digests)
	if err != nil {
		return nil, fmt.Errorf("listing the files of a composefs layer: %w", err)
	}
	file, err := os.CreateTemp("", "orlop-list-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := os.Remove(file.Name()); err != nil {
		return nil, err
	}
	if _, err := io.Copy(file, list); err != nil {
		return nil, fmt.Errorf("listing the files of a composefs layer: %w", err)
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
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
	keepsMode := output.RootDirMode != nil
	if output.Artifacts[byDigest] == nil {
		return d.opened.CommitPartial(id, parent, output.Target, keepsMode)
	}
	list, err := listFiles(output)
	if err != nil {
		return err
	}
	defer list.Close()
	return d.opened.CommitPartialImage(id, parent, output.Target, keepsMode, list)
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
