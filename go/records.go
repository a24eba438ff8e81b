package orlop

import "time"

// Layer is a layer's record, with the JSON names of the files and of Go's storage.Layer.
type Layer struct {
	// ID is its id.
	ID string `json:"id"`
	// Names are unique over all layers.
	Names []string `json:"names,omitempty"`
	// Parent is the id of the layer below, empty for a base layer.
	Parent string `json:"parent,omitempty"`
	// Metadata is any text of the caller's.
	Metadata string `json:"metadata,omitempty"`
	// MountLabel is the SELinux label of its mounts.
	MountLabel string `json:"mountlabel,omitempty"`
	// Created is when it was created; zero for layers of old versions of Go's library.
	Created time.Time `json:"created"`
	// CompressedDigest is that of the blob as it came.
	CompressedDigest string `json:"compressed-diff-digest,omitempty"`
	// CompressedSize is the bytes of the blob as it came.
	CompressedSize int64 `json:"compressed-size,omitempty"`
	// UncompressedDigest is that of the tar ("DiffID").
	UncompressedDigest string `json:"diff-digest,omitempty"`
	// TOCDigest is that of the table of contents of a partial pull.
	TOCDigest string `json:"toc-digest,omitempty"`
	// UncompressedSize is the bytes of the tar, -1 where they are not known.
	UncompressedSize int64 `json:"diff-size,omitempty"`
	// Compression is that of the blob as it came.
	Compression Compression `json:"compression,omitempty"`
	// UIDs are the user ids of the tar, sorted.
	UIDs []uint32 `json:"uidset,omitempty"`
	// GIDs are the group ids of the tar, sorted.
	GIDs []uint32 `json:"gidset,omitempty"`
	// Flags are the caller's; "incomplete" is the library's.
	Flags map[string]any `json:"flags,omitempty"`
	// UIDMap is by what the user ids of its files are shifted.
	UIDMap []IDMap `json:"uidmap,omitempty"`
	// GIDMap is by what the group ids of its files are shifted.
	GIDMap []IDMap `json:"gidmap,omitempty"`
	// BigDataNames are the keys of its big data items.
	BigDataNames []string `json:"big-data-names,omitempty"`
	// MountPoint is where it was mounted when it was looked at, empty where it was not.
	MountPoint string `json:"mountpoint,omitempty"`
	// MountCount is how many mounts had been asked for and not given back.
	MountCount int `json:"mount-count,omitempty"`
	// ReadOnly: it belongs to an additional store.
	ReadOnly bool `json:"read-only,omitempty"`
}

// Image is an image's record, with the JSON names of the files and of Go's storage.Image.
type Image struct {
	// ID is by convention the hexadecimal digest of its config.
	ID string `json:"id"`
	// Digest is the one that it was given.
	Digest string `json:"digest,omitempty"`
	// Names are unique over all images.
	Names []string `json:"names,omitempty"`
	// NamesHistory are its names of now and before, newest first.
	NamesHistory []string `json:"names-history,omitempty"`
	// TopLayer is the id of its top layer, empty where it has no layers.
	TopLayer string `json:"layer,omitempty"`
	// MappedTopLayers are the ids of layers with the same content under other id maps.
	MappedTopLayers []string `json:"mapped-layers,omitempty"`
	// Metadata is any text of the caller's.
	Metadata string `json:"metadata,omitempty"`
	// BigDataNames are the keys of its big data items.
	BigDataNames []string `json:"big-data-names,omitempty"`
	// BigDataSizes are the sizes of the items.
	BigDataSizes map[string]int64 `json:"big-data-sizes,omitempty"`
	// BigDataDigests are the digests of the items.
	BigDataDigests map[string]string `json:"big-data-digests,omitempty"`
	// Created is when it was created.
	Created time.Time `json:"created"`
	// Flags are the caller's.
	Flags map[string]any `json:"flags,omitempty"`
	// ReadOnly: it belongs to an additional store.
	ReadOnly bool `json:"read-only,omitempty"`
}

// Container is a container's record, with the JSON names of the files and of Go's storage.Container.
type Container struct {
	// ID is its id.
	ID string `json:"id"`
	// Names are unique over all containers.
	Names []string `json:"names,omitempty"`
	// ImageID is that of its image, empty for one made from nothing.
	ImageID string `json:"image"`
	// LayerID is that of its read-write layer.
	LayerID string `json:"layer"`
	// Metadata is any text of the caller's.
	Metadata string `json:"metadata,omitempty"`
	// BigDataNames are the keys of its big data items.
	BigDataNames []string `json:"big-data-names,omitempty"`
	// BigDataSizes are the sizes of the items.
	BigDataSizes map[string]int64 `json:"big-data-sizes,omitempty"`
	// BigDataDigests are the digests of the items.
	BigDataDigests map[string]string `json:"big-data-digests,omitempty"`
	// Created is when it was created.
	Created time.Time `json:"created"`
	// UIDMap is the user id map that was asked for.
	UIDMap []IDMap `json:"uidmap,omitempty"`
	// GIDMap is the group id map that was asked for.
	GIDMap []IDMap `json:"gidmap,omitempty"`
	// Flags are the caller's and some of the library's ("MountLabel", "ProcessLabel", "MountOpts", "Volatile").
	Flags map[string]any `json:"flags,omitempty"`
}

// Object is what an id or a name stands for: one of the three is not nil.
type Object struct {
	Layer     *Layer
	Image     *Image
	Container *Container
}

// ID is its id.
func (o Object) ID() string {
	switch {
	case o.Layer != nil:
		return o.Layer.ID
	case o.Image != nil:
		return o.Image.ID
	case o.Container != nil:
		return o.Container.ID
	}
	return ""
}
