package orlop_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/orlop/orlop/go"
)

// skip ends a test that cannot run here; with ORLOP_NO_SKIP that is a failure.
func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("ORLOP_NO_SKIP") != "" {
		t.Fatalf("this must not be skipped here: %s", reason)
	}
	t.Skipf("skipped: %s", reason)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "needs root, to mount")
	}
}

// roots are the places of a store for one test.
type roots struct{ graph, run string }

func newRoots(t testing.TB) roots {
	dir := t.TempDir()
	return roots{filepath.Join(dir, "graph"), filepath.Join(dir, "run")}
}

func (r roots) open(t testing.TB, driver string, options ...string) *orlop.Store {
	t.Helper()
	config, err := orlop.LoadConfig(&orlop.ConfigOptions{
		OnlyGiven: true, GraphRoot: r.graph, RunRoot: r.run, Driver: driver, DriverOptions: options,
	})
	must(t, err)
	defer config.Close()
	store, err := orlop.Open(config)
	must(t, err)
	t.Cleanup(func() {
		// The mounts of a test that failed, and the driver's own.
		_ = store.Shutdown(true)
		if err := store.Shutdown(true); err != nil {
			t.Errorf("shutting down: %v", err)
		}
		store.Close()
	})
	return store
}

// overlay opens a store of its own for the test, which needs root.
func overlay(t testing.TB) *orlop.Store {
	t.Helper()
	needRoot(t)
	return newRoots(t).open(t, "overlay")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got is the value of a call that must work.
func got[T any](value T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return value
	}
}

// tarOf is a tar of files with their contents; a name that ends with a slash is a directory.
func tarOf(t testing.TB, files ...[2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, file := range files {
		header := &tar.Header{Name: file[0], Mode: 0o644, Size: int64(len(file[1])), Typeflag: tar.TypeReg}
		if file[0][len(file[0])-1] == '/' {
			header.Typeflag, header.Mode = tar.TypeDir, 0o755
		}
		must(t, writer.WriteHeader(header))
		_, err := writer.Write([]byte(file[1]))
		must(t, err)
	}
	must(t, writer.Close())
	return out.Bytes()
}

// checkout is the root of the repository.
func checkout(t testing.TB) string {
	t.Helper()
	return got(filepath.Abs(".."))(t)
}

// demoImage writes the image of scripts/make-image, of three layers, and returns its path.
func demoImage(t testing.TB, options ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	command := exec.Command(filepath.Join(checkout(t), "scripts/make-image"), append(options, path)...)
	if output, err := command.CombinedOutput(); err != nil {
		skip(t, "scripts/make-image cannot make an image: "+string(output))
	}
	return path
}

// goList is what the Go command lists of a store, as JSON.
func goList(t testing.TB, r roots, driver, what string) []map[string]any {
	t.Helper()
	program := filepath.Join(checkout(t), "build/reference/containers-storage")
	if _, err := os.Stat(program); err != nil {
		skip(t, "build/reference/containers-storage is not there; make reference makes it")
	}
	output, err := exec.Command(program, "-g", r.graph, "-R", r.run, "-s", driver, what, "-j").Output()
	must(t, err)
	var records []map[string]any
	must(t, json.Unmarshal(output, &records))
	return records
}

// asMaps is records of ours as the files have them.
func asMaps(t testing.TB, records any) []map[string]any {
	t.Helper()
	var maps []map[string]any
	must(t, json.Unmarshal(got(json.Marshal(records))(t), &maps))
	for _, m := range maps {
		for _, ours := range []string{"mountpoint", "mount-count", "read-only"} {
			delete(m, ours)
		}
	}
	return maps
}
