package graphdriver

import (
	"os"
	"runtime"

	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
)

// MountDescription is what a mount of a layer consists of: Directory alone, or an overlay of Lowers (uppermost first) and, unless it
// is read-only, Upper and Work, with Options as for mount(8) and Label for context=.
type MountDescription = capi.MountDescription

// Apart is what the driver can do beyond the interfaces of go.podman.io/storage; ask for it by type assertion.
type Apart interface {
	// DescribeMount tells what Get would mount, for a program that mounts in another mount namespace or in a virtual machine.
	DescribeMount(id string, options drivers.MountOpts) (MountDescription, error)
	// MountDetached mounts a layer without a place in the tree (Linux 6.7): the file can be attached with move_mount(2). It is
	// the caller's to close, and not counted as a Get.
	MountDetached(id string, options drivers.MountOpts) (*os.File, error)
}

// DescribeMount tells what Get would mount.
func (d *driver[Cleanup, Addition]) DescribeMount(id string, o drivers.MountOpts) (MountDescription, error) {
	defer runtime.KeepAlive(d)
	return d.opened.DescribeMount(id, mountOptions(o))
}

// MountDetached mounts a layer without a place in the tree.
func (d *driver[Cleanup, Addition]) MountDetached(id string, o drivers.MountOpts) (*os.File, error) {
	defer runtime.KeepAlive(d)
	return d.opened.MountDetached(id, mountOptions(o))
}
