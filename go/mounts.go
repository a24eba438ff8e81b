package orlop

import "github.com/orlop/orlop/go/internal/capi"

// MountOptions are how to mount; the zero value is as the record and the configuration say.
type MountOptions struct {
	// MountLabel is an SELinux label, the container's or layer's own if empty.
	MountLabel string
	// ReadOnly: nothing can be written.
	ReadOnly bool
	// Options are mount words in place of the configured ones.
	Options []string
}

// Mount mounts a layer or a container, and returns where; a second mount is counted. It outlives the process: each is given
// back with Unmount. The options may be nil.
//
// It fails with [CodeLayerUnknown]; [CodeReadOnly] for a layer of an additional store; [CodeIO] with what the kernel says.
func (s *Store) Mount(id string, options *MountOptions) (string, error) {
	return s.store.Mount(id, request(options))
}

// MountImage mounts an image's top layer, read-only; it is given back with UnmountImage.
func (s *Store) MountImage(id string, options *MountOptions) (string, error) {
	return s.store.MountImage(id, request(options))
}

func request(options *MountOptions) capi.MountRequest {
	if options == nil {
		return capi.MountRequest{}
	}
	return capi.MountRequest(*options)
}

// Unmount gives one mount of a layer or container back, by force all of them; it tells whether it is still mounted.
func (s *Store) Unmount(id string, force bool) (stillMounted bool, err error) {
	return s.store.Unmount(id, force)
}

// UnmountImage does so for an image's top layer.
func (s *Store) UnmountImage(id string, force bool) (stillMounted bool, err error) {
	return s.store.UnmountImage(id, force)
}

// Mounted is how many mounts of a layer or container have been asked for and not given back.
func (s *Store) Mounted(id string) (int, error) { return s.store.Mounted(id) }
