//go:build orlop_quotas

package graphdriver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/drivers/graphtest"
	"golang.org/x/sys/unix"
)

// The tests of limits need project quotas on the file system of TMPDIR: tests/vm/run runs them in a virtual machine.

// limited is this driver under a name of its own, for upstream's test of limits: it creates the layer as one of an image, which no
// overlay driver limits.
const limited = "orlop-quotas"

func init() {
	drivers.MustRegister(limited, func(home string, options drivers.Options) (drivers.Driver, error) {
		driver, err := Init(filepath.Join(filepath.Dir(home), name), options)
		return readWrite{driver}, err
	})
}

type readWrite struct{ drivers.Driver }

// Create makes a container's layer if it is to have limits.
func (d readWrite) Create(id, parent string, options *drivers.CreateOpts) error {
	if options != nil && len(options.StorageOpt) > 0 {
		return d.CreateReadWrite(id, parent, options)
	}
	return d.Driver.Create(id, parent, options)
}

func TestSetQuota(t *testing.T) {
	graphtest.DriverTestSetQuota(t, limited)
}

// TestLimits is stricter: upstream's test is content if nothing is refused, and not with ENOSPC, which xfs says of a project.
func TestLimits(t *testing.T) {
	d := newRoots(t).open(t)
	const size = 20 << 20
	options := &drivers.CreateOpts{StorageOpt: map[string]string{"size": "20M", "inodes": "100"}}
	if err := d.Create("image", "", options); err == nil {
		t.Error("a layer of an image got limits")
	}
	if err := d.CreateReadWrite("limited", "", options); err != nil {
		t.Fatal(err)
	}
	root, err := d.Get("limited", drivers.MountOpts{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(root, "file"))
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for err == nil && written < 2*size {
		var n int
		n, err = file.Write(make([]byte, 1<<20))
		written += n
		if err == nil {
			err = file.Sync()
		}
	}
	file.Close()
	if !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("after %d bytes: %v", written, err)
	}
	if written < size/2 || written > size {
		t.Errorf("%d bytes were written", written)
	}
	usage, err := d.ReadWriteDiskUsage("limited")
	if err != nil {
		t.Fatal(err)
	}
	if usage.Size < size/2 || usage.Size > size || usage.InodeCount < 3 || usage.InodeCount > 100 {
		t.Errorf("the driver counts %d bytes and %d files", usage.Size, usage.InodeCount)
	}
	if err := d.Put("limited"); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove("limited"); err != nil {
		t.Fatal(err)
	}
}
