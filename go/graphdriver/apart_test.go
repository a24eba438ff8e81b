package graphdriver

import (
	"fmt"
	"os"
	"slices"
	"testing"

	drivers "go.podman.io/storage/drivers"
)

// The file of a detached mount opens the layer's tree and, once closed, holds nothing.
func TestApart(t *testing.T) {
	r := newRoots(t)
	d := r.open(t)
	must(t, d.Create("base", "", nil))
	must(t, d.CreateReadWrite("top", "base", nil))
	mounted(t, d, "top", func(dir string) { must(t, os.WriteFile(dir+"/f", []byte("1"), 0o644)) })

	readOnly := drivers.MountOpts{Options: []string{"ro"}}
	told, err := d.(Apart).DescribeMount("top", readOnly)
	must(t, err)
	lowers := []string{r.root + "/overlay/top/diff", r.root + "/overlay/base/diff"}
	if !slices.Equal(told.Lowers, lowers) || told.Upper != "" || !slices.Equal(told.Options, []string{"ro"}) {
		t.Errorf("described as %+v", told)
	}
	mount, err := d.(Apart).MountDetached("top", readOnly)
	must(t, err)
	content, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/f", mount.Fd()))
	must(t, err)
	if string(content) != "1" {
		t.Errorf("content %q", content)
	}
	must(t, mount.Close())
	if _, err := d.(Apart).MountDetached("gone", readOnly); err == nil {
		t.Error("a layer that is not there was mounted")
	}
}
