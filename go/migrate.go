package orlop

import (
	"context"

	"github.com/orlop/orlop/go/internal/capi"
)

// Transfer is how files get from docker's layers to the store's.
type Transfer = capi.Transfer

// The ways.
const (
	// TransferEither reflinks them where the file system can, else copies them.
	TransferEither = capi.TransferEither
	// TransferReflink reflinks them, or the image is refused.
	TransferReflink = capi.TransferReflink
	// TransferCopy copies them.
	TransferCopy = capi.TransferCopy
	// TransferMove moves them: docker forgets the images, and their layers as far as nothing else there needs them.
	TransferMove = capi.TransferMove
)

// MigrateDockerOptions are how images are taken over from docker; the zero value takes all that `docker images` shows.
type MigrateDockerOptions struct {
	// Images are names, ids or unique beginnings of ids of images there.
	Images []string
	// Transfer is how files get into the store.
	Transfer Transfer
	// Containers: an image of each stopped container, too, localhost/NAME.
	Containers bool
	// Unverified: the layers are not compared with their tars.
	Unverified bool
	// DryRun: only tell what would be done.
	DryRun bool
	// TempDir is where a container's changes are packed, /var/tmp if empty.
	TempDir string
}

// DockerMigration is what was done, or with DryRun would be.
type DockerMigration struct {
	// Whole: every image that was asked for is in the store, and nothing went wrong afterwards.
	Whole bool `json:"-"`
	// Images are those that were gone through, in that order.
	Images []MigratedImage `json:"images"`
	// Finished is what an earlier move had begun to delete from docker, and this migration has.
	Finished FinishedMove `json:"finished"`
	// Unfinished is what went wrong when docker was to forget the images, or empty.
	Unfinished string `json:"unfinished,omitempty"`
}

// FinishedMove is the rest of a move that was ended before docker had forgotten all.
type FinishedMove struct {
	// Images are the ids of images.
	Images []string `json:"images"`
	// Layers is how many layers.
	Layers int `json:"layers"`
}

// MigratedImage is an image of docker's, and what came of it.
type MigratedImage struct {
	// ID is its id, in docker and in the store.
	ID string `json:"id"`
	// Names are those in the store.
	Names []string `json:"names"`
	// NamesLeftOut are those that it does not get, because another image of the store has them.
	NamesLeftOut []string `json:"names-left-out,omitempty"`
	// Container is the name of the container that it was made of, empty for an image of docker's.
	Container string `json:"container,omitempty"`
	// Layers are its layers, base first.
	Layers []MigratedLayer `json:"layers"`
	// Moved: docker has forgotten it.
	Moved bool `json:"moved"`
	// Kept is why docker keeps it, where it was to be moved.
	Kept string `json:"kept,omitempty"`
	// Error is why it was not taken over, empty if it was.
	Error string `json:"error,omitempty"`
}

// MigratedLayer is a layer of such an image.
type MigratedLayer struct {
	// ID is its id in the store.
	ID string `json:"id"`
	// UncompressedDigest is that of its tar ("DiffID").
	UncompressedDigest string `json:"diff-digest"`
	// Outcome is "present", "planned", "moved", "reflinked" or "copied".
	Outcome string `json:"outcome"`
	// Bytes are those of file content that were taken over.
	Bytes uint64 `json:"bytes"`
}

// MigrateDocker takes images over from docker: the same ids, the same digests, and what a loading of the same images would record. An
// image that cannot be taken over keeps no other from it; the report says why. Layers that are there are not made again, so that a
// second call goes on where one that has ended early stopped. Docker may run, unless images are to be moved; it must not delete them
// meanwhile. The options may be nil.
//
// It fails with [CodeImageUnknown] for an image that docker does not have, with [CodeBusy] for a daemon that works where images are to be
// moved from, with [CodeNotSupported] for a store whose layers have another form, and with the error of the context; the images that
// have been taken over by then stay, in docker, too.
func (s *Store) MigrateDocker(ctx context.Context, docker *Docker, options *MigrateDockerOptions) (*DockerMigration, error) {
	var how MigrateDockerOptions
	if options != nil {
		how = *options
	}
	report := new(DockerMigration)
	whole, err := s.store.MigrateDocker(ctx, progressOf(ctx), docker.docker, capi.MigrateDockerOptions(how), report)
	if err != nil {
		return nil, err
	}
	report.Whole = whole
	return report, nil
}

// MigrateLegacyOptions are how a store in the layout of 2016's overlay driver is migrated.
type MigrateLegacyOptions struct {
	// DryRun: only tell what there is to do.
	DryRun bool
	// Unverified: the layers' tars are not put together to compare their digests.
	Unverified bool
	// Remove: the old layout is removed, also one that an earlier migration has kept.
	Remove bool
}

// LegacyMigration is what was done, or with DryRun would be.
type LegacyMigration struct {
	// ImageLayers are the layers of images.
	ImageLayers int `json:"image-layers"`
	// ContainerLayers are those of containers.
	ContainerLayers int `json:"container-layers"`
	// Verified are those whose tar is the one on record.
	Verified int `json:"verified"`
	// LinkedFiles are files that got a further name in the new layout.
	LinkedFiles uint64 `json:"linked-files"`
	// Whiteouts are deletions, which the old layout did not need to note.
	Whiteouts uint64 `json:"whiteouts"`
	// Removed: an old layout was removed.
	Removed bool `json:"removed"`
}

// MigrateLegacy turns a store in the layout of 2016's overlay driver into today's, without a copy of any file; the old layout is kept
// beside, unless it is to be removed. A store of today's layout stays as it is. Afterwards the store is to be opened anew. Once begun,
// it is not called off. The options may be nil.
//
// It fails with [CodeBusy] while a layer is mounted or another process works on the store, with [CodeNotSupported] for what cannot be
// migrated, with [CodeCorrupt] and [CodeDigestMismatch] for a damaged layer. The store is then as it was.
func (s *Store) MigrateLegacy(ctx context.Context, options *MigrateLegacyOptions) (*LegacyMigration, error) {
	var how MigrateLegacyOptions
	if options != nil {
		how = *options
	}
	return made[LegacyMigration](func(report any) error {
		return s.store.MigrateLegacy(ctx, capi.MigrateLegacyOptions(how), report)
	})
}
