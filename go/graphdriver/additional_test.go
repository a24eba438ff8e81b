package graphdriver

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	drivers "go.podman.io/storage/drivers"
)

// text reads what one of an additional layer's readers gives.
func text(t *testing.T, open func() (io.ReadCloser, error)) string {
	t.Helper()
	reader, err := open()
	must(t, err)
	content, err := io.ReadAll(reader)
	must(t, err)
	must(t, reader.Close())
	return string(content)
}

// A plain folder stands in for the store that a daemon serves.
func TestAdditionalLayer(t *testing.T) {
	needRoot(t)
	before := handles()
	store := t.TempDir()
	toc := digest.FromString("toc")
	served := filepath.Join(store, toc.String())
	must(t, os.MkdirAll(filepath.Join(served, "diff"), 0o755))
	for file, content := range map[string]string{"diff/f": "served", "info": "{}", "blob": "compressed"} {
		must(t, os.WriteFile(filepath.Join(served, file), []byte(content), 0o644))
	}
	d := newRoots(t).open(t, "additionallayerstore="+store).(drivers.AdditionalLayerStoreDriver)
	if _, err := d.LookupAdditionalLayer(digest.FromString("other"), "image"); !errors.Is(err, drivers.ErrLayerUnknown) {
		t.Errorf("error %v", err)
	}
	layer, err := d.LookupAdditionalLayer(toc, "image")
	must(t, err)
	if info := text(t, layer.Info); info != "{}" {
		t.Errorf("info %q", info)
	}
	must(t, layer.CreateAs("one", ""))
	layer.Release()
	layer.Release()
	if err := layer.CreateAs("two", ""); err == nil {
		t.Error("a layer was made of one that had been released")
	}
	mountedAs(t, d, "one", drivers.MountOpts{Options: []string{"ro"}}, func(dir string) {
		content, err := os.ReadFile(filepath.Join(dir, "f"))
		must(t, err)
		if string(content) != "served" {
			t.Errorf("content %q", content)
		}
	})
	layer, err = d.LookupAdditionalLayerByID("one")
	must(t, err)
	if blob := text(t, layer.Blob); blob != "compressed" {
		t.Errorf("blob %q", blob)
	}
	layer.Release()
	must(t, d.Create("own", "", nil))
	if _, err := d.LookupAdditionalLayerByID("own"); !errors.Is(err, drivers.ErrLayerUnknown) {
		t.Errorf("error %v", err)
	}
	must(t, d.Remove("one"))
	if now := handles(); now > before+1 {
		t.Errorf("%d handles, %d before the driver", now, before)
	}
}
