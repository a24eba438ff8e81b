package capi

// #include <orlop.h>
import "C"

import (
	"time"
	"unsafe"

	"go.podman.io/storage/pkg/idtools"
)

// DataItem is content kept beside a record, under a key.
type DataItem struct {
	// Key is its key, such as "manifest".
	Key string
	// Data is its content.
	Data []byte
	// Digest is the digest to record, the SHA-256 of the content if empty. A container's item has no other.
	Digest string
}

func (a *arena) dataItems(items []DataItem) C.struct_orlop_data_items {
	if len(items) == 0 {
		return C.struct_orlop_data_items{}
	}
	list := (*C.struct_orlop_data_item)(a.array(len(items), unsafe.Sizeof(C.struct_orlop_data_item{})))
	for i, item := range items {
		unsafe.Slice(list, len(items))[i] = C.struct_orlop_data_item{
			key:    a.text(item.Key),
			data:   a.bytes(item.Data),
			len:    C.size_t(len(item.Data)),
			digest: a.optional(item.Digest),
		}
	}
	return C.struct_orlop_data_items{items: list, count: C.size_t(len(items))}
}

// time is a time as RFC 3339 has it, NULL for the zero time.
func (a *arena) time(t time.Time) *C.char {
	if t.IsZero() {
		return nil
	}
	return a.text(t.Format(time.RFC3339Nano))
}

// NewImage is an image to create.
type NewImage struct {
	ID           string
	Names        []string
	NamesHistory []string
	TakeNames    bool
	Layer        string
	Metadata     string
	Digest       string
	Created      time.Time
	BigData      []DataItem
	Flags        map[string]any
}

// CreateImage creates an image, and reads its record.
func (s *Store) CreateImage(n NewImage, record any) error {
	var a arena
	defer a.done()
	image := &C.struct_orlop_new_image{
		size:          C.sizeof_struct_orlop_new_image,
		id:            a.optional(n.ID),
		names:         a.strings(n.Names),
		names_history: a.strings(n.NamesHistory),
		take_names:    flag(n.TakeNames),
		layer:         a.optional(n.Layer),
		metadata:      a.optional(n.Metadata),
		digest:        a.optional(n.Digest),
		created:       a.time(n.Created),
		big_data:      a.dataItems(n.BigData),
		flags:         a.flags(n.Flags),
	}
	return s.json(&a, record, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_create_image(store, image, buf, e)
	})
}

// NewContainer is a container to create.
type NewContainer struct {
	ID           string
	Names        []string
	Image        string
	Metadata     string
	Volatile     bool
	ProcessLabel string
	MountLabel   string
	MountOptions []string
	UIDMap       []idtools.IDMap
	GIDMap       []idtools.IDMap
	HostUIDs     bool
	HostGIDs     bool
	Flags        map[string]any
	StorageOpt   map[string]string
	BigData      []DataItem
}

// CreateContainer creates a container, and reads its record.
func (s *Store) CreateContainer(n NewContainer, record any) error {
	var a arena
	defer a.done()
	container := &C.struct_orlop_new_container{
		size:          C.sizeof_struct_orlop_new_container,
		id:            a.optional(n.ID),
		names:         a.strings(n.Names),
		image:         a.optional(n.Image),
		metadata:      a.optional(n.Metadata),
		is_volatile:   flag(n.Volatile),
		process_label: a.optional(n.ProcessLabel),
		mount_label:   a.optional(n.MountLabel),
		mount_options: a.strings(n.MountOptions),
		uid_map:       a.idMaps(n.UIDMap),
		gid_map:       a.idMaps(n.GIDMap),
		host_uids:     flag(n.HostUIDs),
		host_gids:     flag(n.HostGIDs),
		flags:         a.flags(n.Flags),
		storage_opt:   a.pairs(n.StorageOpt),
		big_data:      a.dataItems(n.BigData),
	}
	return s.json(&a, record, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_create_container(store, container, buf, e)
	})
}
