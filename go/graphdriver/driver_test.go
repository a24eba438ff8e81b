package graphdriver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/types"
)

// A staged layer is found again by the one field of its addition.
func TestStaging(t *testing.T) {
	needRoot(t)
	d := newRoots(t).open(t)
	staging := d.(drivers.ApplyDiffStaging)
	before := handles()

	cleanup, addition, size, err := staging.StartStagingDiffToApply("", drivers.ApplyDiffOpts{
		Diff: bytes.NewReader(tarOf(t, map[string]string{"a": "hello", "b": "there"})),
	})
	must(t, err)
	if size != 10 {
		t.Errorf("size %d, not that of the files", size)
	}
	must(t, d.Create("one", "", nil))
	must(t, staging.CommitStagedLayer("one", addition))
	must(t, cleanup())
	mounted(t, d, "one", func(dir string) {
		content, err := os.ReadFile(filepath.Join(dir, "a"))
		must(t, err)
		if string(content) != "hello" {
			t.Errorf("content %q", content)
		}
	})
	// It is used up.
	must(t, d.Create("two", "", nil))
	if err := staging.CommitStagedLayer("two", addition); err == nil {
		t.Error("committed twice")
	}

	// One that is given up leaves nothing, and cannot be committed.
	cleanup, addition, _, err = staging.StartStagingDiffToApply("", drivers.ApplyDiffOpts{
		Diff: bytes.NewReader(tarOf(t, map[string]string{"a": "hello"})),
	})
	must(t, err)
	must(t, cleanup())
	if err := staging.CommitStagedLayer("two", addition); err == nil {
		t.Error("committed after it was given up")
	}
	for _, root := range d.GetTempDirRootDirs() {
		if left, err := os.ReadDir(root); err == nil && len(left) > 0 {
			t.Errorf("%s still has %v", root, left)
		}
	}
	if now := handles(); now != before {
		t.Errorf("%d handles, %d before", now, before)
	}
}

// The reader's error is the call's, also at the very end, where what has come looks whole.
func TestReaderErrors(t *testing.T) {
	needRoot(t)
	d := newRoots(t).open(t)
	whole := tarOf(t, map[string]string{"a": strings.Repeat("x", 1<<20)})
	broken := errors.New("the source broke")
	for _, cut := range []int{0, 100, 512, 4096, len(whole) - 1024} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			before := handles()
			reader := io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(broken))
			_, _, _, err := d.(drivers.ApplyDiffStaging).StartStagingDiffToApply("", drivers.ApplyDiffOpts{Diff: reader})
			if !errors.Is(err, broken) {
				t.Errorf("error %v", err)
			}
			if now := handles(); now != before {
				t.Errorf("%d handles, %d before", now, before)
			}
		})
	}
}

// A layer that is not there is an error of the call, and closing a tar that nobody wants ends the work.
func TestDiff(t *testing.T) {
	needRoot(t)
	d := newRoots(t).open(t)
	must(t, d.Create("big", "", nil))
	before := descriptors(t)
	for _, names := range [][2]string{{"missing", ""}, {"big", "missing"}} {
		if _, err := d.Diff(names[0], nil, names[1], nil, ""); !errors.Is(err, drivers.ErrLayerUnknown) {
			t.Errorf("the tar of %q upon %q: %v", names[0], names[1], err)
		}
	}
	if now := descriptors(t); len(now) > len(before) {
		t.Errorf("descriptors %v, before %v", now, before)
	}
	empty, err := d.Diff("big", nil, "", nil, "")
	must(t, err)
	if tar, err := io.ReadAll(iotest.OneByteReader(empty)); err != nil || len(tar)%512 != 0 || len(tar) < 1024 {
		t.Errorf("%d bytes of an empty layer: %v", len(tar), err)
	}
	must(t, empty.Close())
	_, err = d.ApplyDiff("big", drivers.ApplyDiffOpts{
		Diff: bytes.NewReader(tarOf(t, map[string]string{"a": strings.Repeat("x", 16<<20)})),
	})
	must(t, err)
	for i := 0; i < 20; i++ {
		reader, err := d.Diff("big", nil, "", nil, "")
		must(t, err)
		_, err = io.ReadFull(reader, make([]byte, 1024))
		must(t, err)
		must(t, reader.Close())
	}
	reader, err := d.Diff("big", nil, "", nil, "")
	must(t, err)
	n, err := io.Copy(io.Discard, reader)
	must(t, err)
	if n < 16<<20 {
		t.Errorf("%d bytes", n)
	}
	must(t, reader.Close())
}

// What errors stand for.
func TestErrors(t *testing.T) {
	needRoot(t)
	d := newRoots(t).open(t)
	must(t, d.Create("one", "", nil))
	_, getMissing := d.Get("missing", drivers.MountOpts{})
	for what, test := range map[string]struct {
		err  error
		want []error
	}{
		"get of a missing layer": {getMissing, []error{types.ErrLayerUnknown, drivers.ErrLayerUnknown}},
	} {
		for _, want := range test.want {
			if !errors.Is(test.err, want) {
				t.Errorf("%s: %v is no %v", what, test.err, want)
			}
		}
	}
	// What the store's Unmount asks for, so that a container whose layer has been lost can be unmounted and deleted.
	if err := d.Put("missing"); !os.IsNotExist(err) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("put of a missing layer: %v", err)
	}
	if err := d.Create("a\x00b", "", nil); err == nil {
		t.Error("an id was cut off at a NUL byte")
	}

	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	_, err := drivers.GetDriver(name, drivers.Options{Root: file, RunRoot: file})
	if !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a driver below a file: %v", err)
	}
}

// A chain longer than a page of mount options can name.
func TestManyLayers(t *testing.T) {
	needRoot(t)
	d := newRoots(t).open(t)
	const depth = 350
	parent := ""
	for i := 0; i < depth; i++ {
		// Ids as long as real ones are.
		id := fmt.Sprintf("%064x", i+1)
		must(t, d.Create(id, parent, nil))
		_, err := d.ApplyDiff(id, drivers.ApplyDiffOpts{
			Diff: bytes.NewReader(tarOf(t, map[string]string{fmt.Sprintf("file-%d", i): id})),
		})
		must(t, err)
		parent = id
	}
	must(t, d.CreateReadWrite("top", parent, nil))
	mounted(t, d, "top", func(dir string) {
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != depth {
			t.Errorf("%d files of %d", len(entries), depth)
		}
		must(t, os.WriteFile(filepath.Join(dir, "new"), nil, 0o644))
	})
	changes, err := d.Changes("top", nil, parent, nil, "")
	must(t, err)
	if len(changes) != 1 || changes[0].String() != "A /new" {
		t.Errorf("changes %v", changes)
	}
}
