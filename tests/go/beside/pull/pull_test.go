// Package pull has upstream's store pull layers part by part into orlop's driver, which stands in the place of upstream's.
package pull

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	_ "github.com/orlop/orlop/go/graphdriver"
	"go.podman.io/storage"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/chunked"
	"go.podman.io/storage/pkg/chunked/compressor"
	"go.podman.io/storage/pkg/reexec"
)

func TestMain(m *testing.M) {
	if reexec.Init() {
		return
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cannot ends a test that is skipped for a reason.
func cannot(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("ORLOP_NO_SKIP") != "" {
		t.Fatalf("this must not be skipped here: %s", reason)
	}
	t.Skipf("skipped: %s", reason)
}

// blob is a layer of a registry that answers for parts.
type blob []byte

func (b blob) GetBlobAt(parts []chunked.ImageSourceChunk) (chan io.ReadCloser, chan error, error) {
	streams, errs := make(chan io.ReadCloser), make(chan error)
	go func() {
		// Who reads stops at the first that is closed.
		defer close(errs)
		defer close(streams)
		for _, part := range parts {
			streams <- io.NopCloser(bytes.NewReader(b[part.Offset : part.Offset+part.Length]))
		}
	}()
	return streams, errs, nil
}

// pull stores a layer of these files as podman does that of a registry, part by part.
func pull(t *testing.T, store storage.Store, id, parent string, headers ...tar.Header) {
	t.Helper()
	var whole, compressed bytes.Buffer
	w := tar.NewWriter(&whole)
	for _, h := range headers {
		content := strings.Repeat(h.Name+"\n", 100)
		if h.Typeflag == tar.TypeReg && !strings.HasPrefix(filepath.Base(h.Name), ".wh.") {
			h.Size = int64(len(content))
		}
		must(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := io.WriteString(w, content)
			must(t, err)
		}
	}
	must(t, w.Close())
	annotations := map[string]string{}
	z, err := compressor.ZstdCompressor(&compressed, annotations, nil)
	must(t, err)
	_, err = io.Copy(z, &whole)
	must(t, err)
	must(t, z.Close())
	source := blob(compressed.Bytes())
	differ, err := chunked.NewDiffer(context.Background(), store, digest.FromBytes(source), int64(len(source)), annotations, source)
	must(t, err)
	defer differ.Close()
	output, err := store.PrepareStagedLayer(nil, differ)
	must(t, err)
	_, err = store.ApplyStagedLayer(storage.ApplyStagedLayerOptions{
		ID: id, ParentLayer: parent, DiffOutput: output, DiffOptions: &drivers.ApplyDiffWithDifferOpts{},
	})
	must(t, err)
}

// Layers that upstream's store pulls part by part become composefs layers, and those that delete ordinary ones.
func TestComposefsPull(t *testing.T) {
	if os.Geteuid() != 0 {
		cannot(t, "needs root, to mount")
	}
	if _, err := exec.LookPath("mkcomposefs"); err != nil {
		cannot(t, "there is no mkcomposefs (scripts/mkcomposefs fetches it)")
	}
	dir, err := os.MkdirTemp("/var/tmp", "orlop-pull-")
	must(t, err)
	defer os.RemoveAll(dir)
	home := filepath.Join(dir, "root", "overlay")
	store, err := storage.GetStore(storage.StoreOptions{
		GraphRoot: filepath.Dir(home), RunRoot: filepath.Join(dir, "run"), GraphDriverName: "overlay",
		GraphDriverOptions: []string{"overlay.use_composefs=true"},
		PullOptions:        map[string]string{"enable_partial_images": "true"},
	})
	must(t, err)
	defer func() {
		_, err := store.Shutdown(true)
		must(t, err)
	}()
	pull(t, store, "base", "",
		tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o751},
		tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o4755, Uid: 7, Gid: 8},
		tar.Header{Typeflag: tar.TypeLink, Name: "d/g", Linkname: "d/f"},
		tar.Header{Typeflag: tar.TypeReg, Name: "gone", Mode: 0o644},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "d/f"})
	pull(t, store, "mid", "base", tar.Header{Typeflag: tar.TypeReg, Name: "new", Mode: 0o644})
	pull(t, store, "top", "mid",
		tar.Header{Typeflag: tar.TypeReg, Name: ".wh.gone"},
		tar.Header{Typeflag: tar.TypeReg, Name: "last", Mode: 0o644})
	for id, image := range map[string]bool{"base": true, "mid": true, "top": false} {
		_, err := os.Stat(filepath.Join(home, id, "composefs-data", "composefs.blob"))
		if (err == nil) != image {
			t.Errorf("%s: %v", id, err)
		}
	}
	_, err = store.CreateLayer("ctr", "top", nil, "", true, nil)
	must(t, err)
	seen, err := store.Mount("ctr", "")
	must(t, err)
	for _, file := range []string{"d/f", "new", "last"} {
		content, err := os.ReadFile(filepath.Join(seen, file))
		must(t, err)
		if string(content) != strings.Repeat(file+"\n", 100) {
			t.Errorf("%s: %q", file, content)
		}
	}
	if about, err := os.Stat(filepath.Join(seen, "link")); err != nil || about.Mode() != os.ModeSetuid|0o755 {
		t.Errorf("%v, %v", about, err)
	}
	for _, file := range []string{"gone", ".wh.gone"} {
		if _, err := os.Lstat(filepath.Join(seen, file)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", file, err)
		}
	}
	_, err = store.Unmount("ctr", true)
	must(t, err)
	// What is exported is what was pulled: tar-split finds the files through the image.
	layer, err := store.Layer("base")
	must(t, err)
	exported, err := store.Diff("", "base", nil)
	must(t, err)
	got, err := digest.FromReader(exported)
	must(t, errors.Join(err, exported.Close()))
	if got != layer.UncompressedDigest && layer.UncompressedDigest != "" {
		t.Errorf("exported as %s, pulled as %s", got, layer.UncompressedDigest)
	}
	left, err := filepath.Glob(filepath.Join(home, "staging", "*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	for _, id := range []string{"ctr", "top", "mid", "base"} {
		must(t, store.DeleteLayer(id))
	}
}
