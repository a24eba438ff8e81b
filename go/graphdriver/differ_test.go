package graphdriver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/idtools"
)

// differ writes a file, or fails.
type differ struct {
	fails   error
	options *archive.TarOptions
	more    *drivers.DifferOptions
}

func (d *differ) ApplyDiff(dest string, options *archive.TarOptions, more *drivers.DifferOptions) (drivers.DriverWithDifferOutput, error) {
	d.options, d.more = options, more
	if err := os.WriteFile(filepath.Join(dest, "f"), []byte("partial"), 0o644); err != nil {
		return drivers.DriverWithDifferOutput{}, err
	}
	return drivers.DriverWithDifferOutput{Size: 7, Metadata: "kept"}, d.fails
}

func (d *differ) Close() error { return nil }

// staged are the staging directories of a store.
func staged(t *testing.T, r roots) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.root, name, "staging", "*"))
	must(t, err)
	return found
}

// What a differ writes becomes a layer, or is gone.
func TestDiffer(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	d := r.open(t, "ignore_chown_errors=true").(drivers.DriverWithDiffer)
	must(t, d.Create("base", "", nil))
	must(t, os.Chmod(filepath.Join(r.root, name, "base", "diff"), 0o711))

	maps := idtools.NewIDMappingsFromMaps([]idtools.IDMap{{HostID: 1000, Size: 5}}, []idtools.IDMap{{HostID: 1000, Size: 5}})
	good := &differ{}
	output, err := d.ApplyDiffWithDiffer(&drivers.ApplyDiffWithDifferOpts{ApplyDiffOpts: drivers.ApplyDiffOpts{Mappings: maps}}, good)
	must(t, err)
	if output.Size != 7 || output.Metadata != "kept" {
		t.Errorf("the differ's output is lost: %+v", output)
	}
	if o := good.options; o.WhiteoutFormat != archive.OverlayWhiteoutFormat || !o.IgnoreChownErrors || o.InUserNS || len(o.UIDMaps) != 1 {
		t.Errorf("options %+v", o)
	}
	if good.more.Format != drivers.DifferOutputFormatDir || good.more.StagingDirectory != filepath.Dir(output.Target) {
		t.Errorf("options %+v", good.more)
	}
	must(t, d.Create("top", "base", nil))
	must(t, d.ApplyDiffFromStagingDirectory("top", "base", &output, nil))
	mounted(t, d, "top", func(dir string) {
		content, err := os.ReadFile(filepath.Join(dir, "f"))
		must(t, err)
		if string(content) != "partial" {
			t.Errorf("content %q", content)
		}
		about, err := os.Stat(dir)
		must(t, err)
		if about.Mode().Perm() != 0o711 {
			t.Errorf("mode %v, not the parent's", about.Mode())
		}
	})
	target, err := d.DifferTarget("top")
	must(t, err)
	if target != filepath.Join(r.root, name, "top", "diff") {
		t.Errorf("target %q", target)
	}
	must(t, d.CleanupStagingDirectory(output.Target))
	if left := staged(t, r); len(left) > 0 {
		t.Errorf("%v are left", left)
	}

	// The differ's error is the caller's to recognise, and nothing is left.
	fails := errors.New("fall back")
	if _, err := d.ApplyDiffWithDiffer(nil, &differ{fails: fails}); !errors.Is(err, fails) {
		t.Errorf("error %v", err)
	}
	if left := staged(t, r); len(left) > 0 {
		t.Errorf("%v are left", left)
	}

	// Nothing but a staging directory is put in place, or deleted.
	wrong := filepath.Join(r.root, name, "base", "diff")
	if err := d.ApplyDiffFromStagingDirectory("top", "base", &drivers.DriverWithDifferOutput{Target: wrong}, nil); err == nil {
		t.Error("a layer's content was taken for a staging directory")
	}
	if err := d.CleanupStagingDirectory(wrong); err == nil {
		t.Error("a layer's content was taken for a staging directory")
	}
	_, err = os.Stat(wrong)
	must(t, err)

	// A store may open another driver between the two.
	mode := os.FileMode(0o700)
	output, err = d.ApplyDiffWithDiffer(nil, good)
	must(t, err)
	output.RootDirMode = &mode
	must(t, os.Chmod(output.Target, mode))
	must(t, d.Create("other", "base", nil))
	must(t, r.open(t).(drivers.DriverWithDiffer).ApplyDiffFromStagingDirectory("other", "base", &output, nil))
	about, err := os.Stat(filepath.Join(r.root, name, "other", "diff"))
	must(t, err)
	if about.Mode().Perm() != mode {
		t.Errorf("mode %v, not the layer's own", about.Mode())
	}
}

// Hash methods are checked; where the file system cannot share, nothing happens.
func TestDedup(t *testing.T) {
	needRoot(t)
	d := newRoots(t).open(t)
	for _, id := range []string{"one", "two"} {
		must(t, d.Create(id, "", nil))
	}
	args := drivers.DedupArgs{Layers: []string{"one", "two", "missing"}}
	for method := 0; method < 5; method++ {
		result, err := d.Dedup(args)
		if known := method >= 1 && method <= 3; (err == nil) != known || result.Deduped != 0 {
			t.Errorf("method %d: %+v, %v", method, result, err)
		}
		args.Options.HashMethod++
	}
}
