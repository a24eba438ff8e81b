package orlop

import (
	"context"
	"fmt"
	"io"

	"github.com/orlop/orlop/go/internal/capi"
)

// NewLayer is a layer to create; the zero value is an unnamed read-write layer without a parent.
type NewLayer struct {
	// ID is its id, a random one if empty.
	ID string
	// Parent is the id or name of the layer below.
	Parent string
	// Names must be free.
	Names []string
	// MountLabel is the SELinux label of its mounts.
	MountLabel string
	// ReadOnly: for the content of an image.
	ReadOnly bool
	// UIDMap is a user id map of its files; the parent's if empty, or the configured one without a parent.
	UIDMap []IDMap
	// GIDMap is a group id map; likewise.
	GIDMap []IDMap
	// HostUIDs: the host's user ids, whatever the parent has; UIDMap then does not count.
	HostUIDs bool
	// HostGIDs: the host's group ids; likewise.
	HostGIDs bool
	// Metadata is any text.
	Metadata string
	// Flags are the caller's; values are what JSON has.
	Flags map[string]any
	// StorageOpt are the driver's options for the layer, such as "size".
	StorageOpt map[string]string
	// ExpectedCompressedDigest is what the stream, as it comes, must have.
	ExpectedCompressedDigest string
	// ExpectedDiffDigest is what the tar must have.
	ExpectedDiffDigest string
	// OriginalDigest is recorded in place of the stream's, for one that was decompressed on its way.
	OriginalDigest string
	// OriginalSize goes with OriginalDigest: its bytes.
	OriginalSize int64
}

// CreateLayer creates a layer without content of its own. It fails with [CodeDuplicateID], [CodeDuplicateName], [CodeLayerUnknown]
// for the parent, [CodeParentIsContainer]; nothing is left then.
func (s *Store) CreateLayer(layer NewLayer) (*Layer, error) {
	return made[Layer](func(record any) error {
		return s.store.CreateLayer(capi.NewLayer(layer), record)
	})
}

// ImportLayer creates a layer from a tar, compressed or not, which is read to its end. It fails as CreateLayer, and with
// [CodeInvalidArchive], [CodeDigestMismatch], the error of the reader or that of the context; nothing is left then.
func (s *Store) ImportLayer(ctx context.Context, layer NewLayer, tar io.Reader) (*Layer, error) {
	return made[Layer](func(record any) error {
		return s.store.ImportLayer(ctx, progressOf(ctx), capi.NewLayer(layer), tar, record)
	})
}

// ApplyDiff unpacks a tar, compressed or not, over the content of a layer or container; it returns the bytes of the content.
//
// The layers are locked meanwhile: the tar must not come from a call on the same store. After a failure the record is as it was, but
// what was unpacked stays.
func (s *Store) ApplyDiff(ctx context.Context, id string, tar io.Reader) (int64, error) {
	return s.store.ApplyDiff(ctx, progressOf(ctx), id, tar)
}

// Compression is a kind of compression, with the number that the records have.
type Compression int

// The kinds of compression.
const (
	// CompressionAsItCame is that of the layer's blob as it came.
	CompressionAsItCame Compression = capi.CompressionAsItCame
	// CompressionNone is none.
	CompressionNone Compression = capi.CompressionNone
	// CompressionBzip2 is read and not written.
	CompressionBzip2 Compression = capi.CompressionBzip2
	// CompressionGzip is gzip.
	CompressionGzip Compression = capi.CompressionGzip
	// CompressionXz is read and not written.
	CompressionXz Compression = capi.CompressionXz
	// CompressionZstd is zstd.
	CompressionZstd Compression = capi.CompressionZstd
)

// String is its name.
func (c Compression) String() string {
	switch c {
	case CompressionAsItCame:
		return "as it came"
	case CompressionNone:
		return "none"
	case CompressionBzip2:
		return "bzip2"
	case CompressionGzip:
		return "gzip"
	case CompressionXz:
		return "xz"
	case CompressionZstd:
		return "zstd"
	}
	return fmt.Sprintf("Compression(%d)", int(c))
}

// ExportOptions are how a layer is exported; the zero value is the plain tar of what it has over its parent.
type ExportOptions struct {
	// Reference is the id or name of the layer to compare with, the parent if empty.
	Reference string
	// Compression is that of what is written.
	Compression Compression
}

// Export writes the tar of what a layer or container has over its parent or another layer: over the parent the very bytes that
// once came in, where that is recorded. It returns the bytes of the tar before compression.
//
// It fails with [CodeLayerUnknown]; [CodeNotSupported] for bzip2 and xz; [CodeCorrupt] when the files no longer give the tar that
// came in; the error of the writer or that of the context. What was written until then stays.
func (s *Store) Export(ctx context.Context, id string, options *ExportOptions, tar io.Writer) (int64, error) {
	var how ExportOptions
	if options != nil {
		how = *options
	}
	return s.store.Export(ctx, progressOf(ctx), id, how.Reference, int(how.Compression), tar)
}

// ChangeKind is what has become of a path; the numbers are those of archive.ChangeType in go.podman.io/storage.
type ChangeKind int

// The kinds of changes.
const (
	// ChangeModify: it is another than below.
	ChangeModify ChangeKind = iota
	// ChangeAdd: it is not below.
	ChangeAdd
	// ChangeDelete: it is only below.
	ChangeDelete
)

// String is its letter: "C" for modified, "A" for added, "D" for deleted.
func (k ChangeKind) String() string {
	switch k {
	case ChangeModify:
		return "C"
	case ChangeAdd:
		return "A"
	case ChangeDelete:
		return "D"
	}
	return fmt.Sprintf("ChangeKind(%d)", int(k))
}

// Change is a path that a layer changes.
type Change struct {
	// Kind is what has become of it.
	Kind ChangeKind
	// Path is absolute in the layer; any bytes.
	Path string
}

// Changes lists what a layer or container changes over a reference, its parent if that is empty.
func (s *Store) Changes(id, reference string) ([]Change, error) {
	found, err := s.store.Changes(id, reference)
	if err != nil {
		return nil, err
	}
	kinds := map[byte]ChangeKind{'C': ChangeModify, 'A': ChangeAdd, 'D': ChangeDelete}
	changes := make([]Change, 0, len(found))
	for _, change := range found {
		changes = append(changes, Change{Kind: kinds[change.Kind], Path: change.Path})
	}
	return changes, nil
}

// DiffSize estimates the bytes that a layer or container changes over a reference, its parent if that is empty.
func (s *Store) DiffSize(id, reference string) (int64, error) { return s.store.DiffSize(id, reference) }

// DeleteLayer deletes a layer that nothing uses. It fails with [CodeNotALayer], [CodeLayerHasChildren], [CodeLayerUsedByImage],
// [CodeLayerUsedByContainer]. Once begun, it is not called off.
func (s *Store) DeleteLayer(ctx context.Context, id string) error {
	return s.store.DeleteLayer(ctx, id)
}
