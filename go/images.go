package orlop

import (
	"context"
	"io"
	"time"

	"github.com/orlop/orlop/go/internal/capi"
)

// DataItem is a big data item, content that is kept beside a record: its Key, such as "manifest", its Data, and the Digest to
// record, the SHA-256 of the data if empty (a container's item has no other).
type DataItem = capi.DataItem

// NewImage is an image to create of layers that are there.
type NewImage struct {
	// ID is its id, a random one if empty; by convention the hexadecimal digest of the config.
	ID string
	// Names must be free, unless TakeNames is set.
	Names []string
	// NamesHistory are names that it has had, newest first.
	NamesHistory []string
	// TakeNames: the names are taken away from the images that have them.
	TakeNames bool
	// Layer is the id or name of its top layer, empty for an image without layers.
	Layer string
	// Metadata is any text; Go's image library takes one that is not empty for JSON.
	Metadata string
	// Digest is the preferred one, that of the item "manifest" if empty.
	Digest string
	// Created is when it was created, now if zero.
	Created time.Time
	// BigData are items in the order of their names in the record.
	BigData []DataItem
	// Flags are the caller's; values are what JSON has.
	Flags map[string]any
}

// CreateImage creates an image. It fails with [CodeDuplicateID], [CodeDuplicateName], [CodeLayerUnknown], [CodeInvalidDigest];
// nothing is left then.
func (s *Store) CreateImage(image NewImage) (*Image, error) {
	return made[Image](func(record any) error {
		return s.store.CreateImage(capi.NewImage(image), record)
	})
}

// LoadOptions are how images are loaded; the zero value is for this machine, under podman's signature policy and the names of the
// source.
type LoadOptions struct {
	// Platform is what to take from a multi-platform index, such as "linux/arm/v7".
	Platform string
	// Policy is a containers-policy.json(5) to obey, in place of the one that podman would obey.
	Policy string
	// AcceptAnything: obey no policy. Only without Policy.
	AcceptAnything bool
	// Names are given in place of those of the source, which must have a single image.
	Names []string
	// TempDir is where large temporary files go, /var/tmp if empty.
	TempDir string
}

// Loaded is an image that was loaded.
type Loaded struct {
	// ID is its id.
	ID string `json:"id"`
	// Names are those that it was given.
	Names []string `json:"names"`
}

// Load loads the images of a docker archive or an OCI archive, plain or compressed.
//
// Each blob is checked against its digest; layers that are there are not unpacked again. Names are completed as podman load does and
// taken away from other images. The options may be nil. It fails with [CodeInvalidArchive], [CodeDigestMismatch],
// [CodePolicyRejected], the error of the reader or that of the context; the images and layers that the call has made are
// then deleted again.
func (s *Store) Load(ctx context.Context, archive io.Reader, options *LoadOptions) ([]Loaded, error) {
	return s.load(ctx, "", archive, options)
}

// LoadPath is Load for a file or for the directory of an OCI layout.
func (s *Store) LoadPath(ctx context.Context, path string, options *LoadOptions) ([]Loaded, error) {
	return s.load(ctx, path, nil, options)
}

func (s *Store) load(ctx context.Context, path string, archive io.Reader, options *LoadOptions) ([]Loaded, error) {
	var how LoadOptions
	if options != nil {
		how = *options
	}
	var loaded []Loaded
	err := s.store.Load(ctx, progressOf(ctx), path, archive, capi.LoadOptions(how), &loaded)
	return loaded, err
}

// The formats of images in files.
const (
	// FormatDockerArchive is a tar as docker save writes it.
	FormatDockerArchive = "docker-archive"
	// FormatOCIArchive is a tar with an OCI layout.
	FormatOCIArchive = "oci-archive"
	// FormatOCIDir is a directory with an OCI layout.
	FormatOCIDir = "oci-dir"
)

// SaveOptions are how images are saved; the zero value makes a docker archive.
type SaveOptions struct {
	// Format is FormatDockerArchive, FormatOCIArchive or FormatOCIDir.
	Format string
	// TempDir is where large temporary files go, /var/tmp if empty.
	TempDir string
}

// Save writes an archive of images, which are given by ids or names; those given by name are saved with it. The options may be nil.
//
// It fails with [CodeImageUnknown], [CodeDigestMismatch] for a layer that is no longer what it was, the error of the writer or that
// of the context. What was written until then stays.
func (s *Store) Save(ctx context.Context, images []string, options *SaveOptions, archive io.Writer) error {
	return s.save(ctx, images, options, "", archive)
}

// SavePath is Save to a path, at which there may be nothing with content; after a failure it is as it was.
func (s *Store) SavePath(ctx context.Context, images []string, options *SaveOptions, path string) error {
	return s.save(ctx, images, options, path, nil)
}

func (s *Store) save(ctx context.Context, images []string, options *SaveOptions, path string, archive io.Writer) error {
	var how SaveOptions
	if options != nil {
		how = *options
	}
	return s.store.Save(ctx, progressOf(ctx), images, path, archive, capi.SaveOptions(how))
}

// ImageSize is the bytes of an image: the tars of its layers and its big data.
func (s *Store) ImageSize(id string) (int64, error) { return s.store.ImageSize(id) }

// ImageDir is a directory for the caller's files of an image, made where it is not there.
func (s *Store) ImageDir(id string) (string, error) { return s.store.ImageDir(id) }

// ImageRunDir is one that is gone after a reboot.
func (s *Store) ImageRunDir(id string) (string, error) { return s.store.ImageRunDir(id) }

// DeleteImage deletes an image and the layers that nothing else uses; it returns their ids, from the top. It fails with
// [CodeNotAnImage], [CodeImageUsedByContainer]. Once begun, it is not called off.
func (s *Store) DeleteImage(ctx context.Context, id string) ([]string, error) {
	return s.store.DeleteImage(ctx, id, false)
}

// TestDeleteImage tells which layers DeleteImage would delete, and deletes nothing.
func (s *Store) TestDeleteImage(ctx context.Context, id string) ([]string, error) {
	return s.store.DeleteImage(ctx, id, true)
}
