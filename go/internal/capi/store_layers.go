package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"encoding/json"
	"io"

	"go.podman.io/storage/pkg/idtools"
)

// NewLayer is a layer to create.
type NewLayer struct {
	ID                       string
	Parent                   string
	Names                    []string
	MountLabel               string
	ReadOnly                 bool
	UIDMap                   []idtools.IDMap
	GIDMap                   []idtools.IDMap
	HostUIDs                 bool
	HostGIDs                 bool
	Metadata                 string
	Flags                    map[string]any
	StorageOpt               map[string]string
	ExpectedCompressedDigest string
	ExpectedDiffDigest       string
	OriginalDigest           string
	OriginalSize             int64
}

func (a *arena) newLayer(n NewLayer) *C.struct_orlop_new_layer {
	if n.OriginalSize < 0 && a.err == nil {
		a.err = refusal("creating a layer: the size of its original blob is below zero")
	}
	return &C.struct_orlop_new_layer{
		size:                       C.sizeof_struct_orlop_new_layer,
		id:                         a.optional(n.ID),
		parent:                     a.optional(n.Parent),
		names:                      a.strings(n.Names),
		mount_label:                a.optional(n.MountLabel),
		read_only:                  flag(n.ReadOnly),
		uid_map:                    a.idMaps(n.UIDMap),
		gid_map:                    a.idMaps(n.GIDMap),
		host_uids:                  flag(n.HostUIDs),
		host_gids:                  flag(n.HostGIDs),
		metadata:                   a.optional(n.Metadata),
		flags:                      a.flags(n.Flags),
		storage_opt:                a.pairs(n.StorageOpt),
		expected_compressed_digest: a.optional(n.ExpectedCompressedDigest),
		expected_diff_digest:       a.optional(n.ExpectedDiffDigest),
		original_digest:            a.optional(n.OriginalDigest),
		original_size:              C.uint64_t(n.OriginalSize),
	}
}

// flags is a record's flags as JSON, NULL when there are none.
func (a *arena) flags(flags map[string]any) *C.char {
	if len(flags) == 0 {
		return nil
	}
	text, err := json.Marshal(flags)
	if err != nil && a.err == nil {
		a.err = &Error{Code: InvalidArgument, Message: "taking the flags of a record: " + err.Error(), cause: err}
	}
	return a.text(string(text))
}

// CreateLayer creates a layer without content, and reads its record.
func (s *Store) CreateLayer(n NewLayer, record any) error {
	var a arena
	defer a.done()
	layer := a.newLayer(n)
	return s.json(&a, record, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_create_layer(store, layer, buf, e)
	})
}

// ImportLayer creates a layer from a tar, compressed or not, and reads its record.
func (s *Store) ImportLayer(ctx context.Context, progress *Progress, n NewLayer, tar io.Reader, record any) error {
	var a arena
	defer a.done()
	layer := a.newLayer(n)
	return watched(ctx, progress, func(o *operation) error {
		return fromReader(o, tar, func(fd C.int32_t) error {
			return s.json(&a, record, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
				return C.orlop_import_layer(store, layer, fd, o.c, buf, e)
			})
		})
	})
}

// ApplyDiff unpacks a tar, compressed or not, upon a layer's content; it returns the bytes of the content.
func (s *Store) ApplyDiff(ctx context.Context, progress *Progress, id string, tar io.Reader) (int64, error) {
	var a arena
	defer a.done()
	layer := a.text(id)
	var count C.uint64_t
	err := watched(ctx, progress, func(o *operation) error {
		return fromReader(o, tar, func(fd C.int32_t) error {
			return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
				return C.orlop_apply_diff(store, layer, fd, o.c, &count, e)
			})
		})
	})
	return int64(count), err
}

// The numbers of compressions.
const (
	CompressionAsItCame = C.ORLOP_COMPRESSION_AS_IT_CAME
	CompressionNone     = C.ORLOP_COMPRESSION_NONE
	CompressionBzip2    = C.ORLOP_COMPRESSION_BZIP2
	CompressionGzip     = C.ORLOP_COMPRESSION_GZIP
	CompressionXz       = C.ORLOP_COMPRESSION_XZ
	CompressionZstd     = C.ORLOP_COMPRESSION_ZSTD
)

// Export writes the tar of a layer over another one (empty: its parent); it returns the bytes of the tar before compression.
func (s *Store) Export(ctx context.Context, progress *Progress, id, reference string, compression int, tar io.Writer) (int64, error) {
	var a arena
	defer a.done()
	layer, below := a.text(id), a.optional(reference)
	var count C.uint64_t
	err := watched(ctx, progress, func(o *operation) error {
		return toWriter(o, tar, func(fd C.int32_t) error {
			return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
				return C.orlop_export(store, layer, below, C.int32_t(compression), fd, o.c, &count, e)
			})
		})
	})
	return int64(count), err
}

// Changes lists what a layer changes over another one (empty: its parent).
func (s *Store) Changes(id, reference string) ([]Change, error) {
	var a arena
	defer a.done()
	layer, below := a.text(id), a.optional(reference)
	records, err := s.bytes(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_changes(store, layer, below, buf, e)
	})
	if err != nil {
		return nil, err
	}
	return parseChanges(records)
}

// DiffSize estimates the bytes that a layer changes over another one (empty: its parent).
func (s *Store) DiffSize(id, reference string) (int64, error) {
	var a arena
	defer a.done()
	layer, below := a.text(id), a.optional(reference)
	var count C.uint64_t
	err := s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
		return C.orlop_diff_size(store, layer, below, &count, e)
	})
	return int64(count), err
}
