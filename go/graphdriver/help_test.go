package graphdriver

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
)

// roots are the folders of one store.
type roots struct{ root, run string }

func newRoots(t *testing.T) roots {
	t.Helper()
	dir := t.TempDir()
	return roots{filepath.Join(dir, "root"), filepath.Join(dir, "run")}
}

// open opens the driver as a store does, and cleans it up at the end of the test.
func (r roots) open(t *testing.T, options ...string) drivers.Driver {
	t.Helper()
	d, err := drivers.GetDriver(name, drivers.Options{Root: r.root, RunRoot: r.run, DriverOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, d.Cleanup()) })
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tarOf is a tar of files with their contents.
func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for path, content := range files {
		must(t, w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(content))
		must(t, err)
	}
	must(t, w.Close())
	return buf.Bytes()
}

// mounted gives a layer's tree to run.
func mounted(t testing.TB, d drivers.Driver, id string, run func(dir string)) {
	t.Helper()
	mountedAs(t, d, id, drivers.MountOpts{}, run)
}

// mountedAs gives a layer's tree to run, mounted with options.
func mountedAs(t testing.TB, d drivers.Driver, id string, options drivers.MountOpts, run func(dir string)) {
	t.Helper()
	dir, err := d.Get(id, options)
	must(t, err)
	run(dir)
	must(t, d.Put(id))
}

// descriptors are the open files of this process, by number.
func descriptors(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	open := map[string]string{}
	for _, entry := range entries {
		// The one that reads the folder has gone already.
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			open[entry.Name()] = target
		}
	}
	return open
}

// handles counts the library's handles, once those of drivers that nobody has any more have been freed.
func handles() int64 {
	count := capi.Handles()
	for calm := 0; calm < 10; calm++ {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
		if now := capi.Handles(); now != count {
			count, calm = now, 0
		}
	}
	return count
}
