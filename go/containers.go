package orlop

import (
	"context"
	"time"

	"github.com/orlop/orlop/go/internal/capi"
)

// NewContainer is a container to create.
type NewContainer struct {
	// ID is its id, a random one if empty.
	ID string
	// Names must be free.
	Names []string
	// Image is the id, name or digest of its image, empty for one made from nothing.
	Image string
	// Metadata is any text.
	Metadata string
	// Volatile: it need not survive a crash.
	Volatile bool
	// ProcessLabel is the SELinux label of its process, given together with MountLabel or not at all.
	ProcessLabel string
	// MountLabel is the SELinux label of its mount.
	MountLabel string
	// MountOptions are used at every mount.
	MountOptions []string
	// UIDMap is a user id map, used at every mount.
	UIDMap []IDMap
	// GIDMap is a group id map, used at every mount.
	GIDMap []IDMap
	// HostUIDs: the host's user ids, whatever the image's layer has; UIDMap then does not count.
	HostUIDs bool
	// HostGIDs: the host's group ids; likewise.
	HostGIDs bool
	// Flags are the caller's; values are what JSON has.
	Flags map[string]any
	// StorageOpt are the driver's options for its layer, such as "size".
	StorageOpt map[string]string
	// BigData are items in the order of their names in the record.
	BigData []DataItem
}

// CreateContainer creates a container and its read-write layer. It fails with [CodeImageUnknown], [CodeDuplicateID],
// [CodeDuplicateName]; nothing is left then.
func (s *Store) CreateContainer(container NewContainer) (*Container, error) {
	return made[Container](func(record any) error {
		return s.store.CreateContainer(capi.NewContainer(container), record)
	})
}

// CommitOptions are how a container is committed; the zero value is as OCI, now, without further words.
type CommitOptions struct {
	// Author is for config and history.
	Author string
	// Message is for the history.
	Message string
	// Changes are instructions such as `CMD ["/bin/sh"]`.
	Changes []string
	// Created is when the image was created, now if zero.
	Created time.Time
	// Format is "oci" or "docker", the kind of manifest; oci if empty.
	Format string
	// TempDir is where large temporary files go, /var/tmp if empty.
	TempDir string
}

// Commit makes an image of a container, under a name, which is completed as podman commit does; it returns the image's id. The
// options may be nil.
func (s *Store) Commit(ctx context.Context, container, name string, options *CommitOptions) (string, error) {
	var how CommitOptions
	if options != nil {
		how = *options
	}
	return s.store.Commit(ctx, progressOf(ctx), container, name, capi.CommitOptions(how))
}

// ContainerSize is the bytes of a container: what its layer changes, its big data and its directories.
func (s *Store) ContainerSize(id string) (int64, error) { return s.store.ContainerSize(id) }

// ContainerDir is a directory for the caller's files of a container, made where it is not there.
func (s *Store) ContainerDir(id string) (string, error) { return s.store.ContainerDir(id) }

// ContainerRunDir is one that is gone after a reboot.
func (s *Store) ContainerRunDir(id string) (string, error) { return s.store.ContainerRunDir(id) }

// DeleteContainer deletes a container and its layer. It fails with [CodeNotAContainer]. Once begun, it is not called off.
func (s *Store) DeleteContainer(ctx context.Context, id string) error {
	return s.store.DeleteContainer(ctx, id)
}
