package graphdriver

import (
	"os"
	"path/filepath"
	"testing"

	drivers "go.podman.io/storage/drivers"
)

// A base layer of Docker's is a plain directory, and a layer with children is frozen (MOB-10, MOB-13).
func TestOpenDialect(t *testing.T) {
	root := t.TempDir()
	d, err := OpenDialect("moby", root, filepath.Join(root, "run"), nil)
	must(t, err)
	t.Cleanup(func() { must(t, d.Cleanup()) })
	if d.String() != "overlay2" {
		t.Errorf("named %q", d.String())
	}
	dialect, err := d.(interface{ Dialect() (string, error) }).Dialect()
	must(t, err)
	if dialect != "moby" {
		t.Errorf("dialect %q", dialect)
	}
	must(t, d.Create("base", "", nil))
	must(t, d.CreateReadWrite("top", "base", nil))
	dir, err := d.Get("base", drivers.MountOpts{})
	must(t, err)
	if want := filepath.Join(root, "overlay2/base/diff"); dir != want {
		t.Errorf("mounted at %q, not %q", dir, want)
	}
	must(t, d.Put("base"))
	_, err = os.Stat(filepath.Join(root, "overlay2/base/committed"))
	must(t, err)
	mounted(t, d, "top", func(dir string) { must(t, os.WriteFile(dir+"/f", nil, 0o644)) })
	if _, err := OpenDialect("overlay3", root, root, nil); err == nil {
		t.Error("a dialect that nobody knows was opened")
	}
}
