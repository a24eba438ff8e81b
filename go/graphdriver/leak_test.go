package graphdriver

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	drivers "go.podman.io/storage/drivers"
)

// cycle leads one layer through its life upon the layer "base", in every way that hands out a handle or a descriptor.
func cycle(d drivers.Driver, id string, content []byte) error {
	staging := d.(drivers.ApplyDiffStaging)
	cleanup, addition, _, err := staging.StartStagingDiffToApply("base", drivers.ApplyDiffOpts{Diff: bytes.NewReader(content)})
	if err != nil {
		return err
	}
	defer func() { _ = cleanup() }()
	if err := d.Create(id, "base", nil); err != nil {
		return err
	}
	if err := staging.CommitStagedLayer(id, addition); err != nil {
		return err
	}
	dir, err := d.Get(id, drivers.MountOpts{})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "written"), content, 0o644); err != nil {
		return err
	}
	if err := d.Put(id); err != nil {
		return err
	}
	reader, err := d.Diff(id, nil, "base", nil, "")
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, reader); err != nil {
		return err
	}
	if err := reader.Close(); err != nil {
		return err
	}
	files, err := d.(drivers.DiffGetterDriver).DiffGetter(id)
	if err != nil {
		return err
	}
	file, err := files.Get("a")
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := files.Close(); err != nil {
		return err
	}
	// One that fails, too.
	if _, err := d.Get(id+"-missing", drivers.MountOpts{}); err == nil {
		return fmt.Errorf("got a layer that is not there")
	}
	empty, err := d.DeferredRemove(id)
	if err != nil {
		return err
	}
	return empty()
}

func newBase(t *testing.T, d drivers.Driver) {
	t.Helper()
	must(t, d.Create("base", "", nil))
	_, err := d.ApplyDiff("base", drivers.ApplyDiffOpts{Diff: bytes.NewReader(tarOf(t, map[string]string{"base": "x"}))})
	must(t, err)
}

// After a thousand lives of a layer nothing is open that was not: the locks that a process keeps open for good apart, which are as
// many after the first.
func TestNoLeaks(t *testing.T) {
	needRoot(t)
	// A thousand syncs of the disk would be most of the time.
	d := newRoots(t).open(t, "overlay.sync=none")
	newBase(t, d)
	content := tarOf(t, map[string]string{"a": "hello"})
	must(t, cycle(d, "first", content))
	before, open := descriptors(t), handles()
	for i := 0; i < 1000; i++ {
		must(t, cycle(d, fmt.Sprintf("layer-%d", i), content))
	}
	if now := handles(); now != open {
		t.Errorf("%d handles of the library, %d before", now, open)
	}
	for fd, target := range descriptors(t) {
		if before[fd] == "" {
			t.Errorf("left open: %s", target)
		}
	}
	layers, err := d.ListLayers()
	must(t, err)
	if len(layers) != 1 {
		t.Errorf("layers %v", layers)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), "/layer-") {
		t.Error("a layer is still mounted")
	}
}

// A driver that nobody has any more frees its handle; its interface has nothing that would say so.
func TestForgottenDriversAreFreed(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	before := handles()
	func() {
		d, err := drivers.GetDriver(name, drivers.Options{Root: r.root, RunRoot: r.run})
		must(t, err)
		must(t, d.Cleanup())
	}()
	if now := handles(); now != before {
		t.Errorf("%d handles, %d before", now, before)
	}
}

// So does one of which a tar is left that nobody has closed; the work on the tar ends.
func TestForgottenTarsAreFreed(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	before, open := handles(), len(descriptors(t))
	func() {
		d, err := drivers.GetDriver(name, drivers.Options{Root: r.root, RunRoot: r.run})
		must(t, err)
		must(t, d.Create("big", "", nil))
		// More than a pipe holds.
		_, err = d.ApplyDiff("big", drivers.ApplyDiffOpts{
			Diff: bytes.NewReader(tarOf(t, map[string]string{"a": strings.Repeat("x", 16<<20)})),
		})
		must(t, err)
		for range 8 {
			reader, err := d.Diff("big", nil, "", nil, "")
			must(t, err)
			_, err = io.ReadFull(reader, make([]byte, 1024))
			must(t, err)
		}
		must(t, d.Cleanup())
	}()
	if now := handles(); now != before {
		t.Errorf("%d handles, %d before", now, before)
	}
	// The registry of locks and what Go itself opens once are few; the tars have 16 ends of pipes.
	if now := len(descriptors(t)); now > open+4 {
		t.Errorf("%d descriptors, %d before", now, open)
	}
}
