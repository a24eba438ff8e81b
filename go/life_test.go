package orlop_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orlop/orlop/go"
)

// An image is loaded, run, changed, committed, saved, loaded elsewhere and deleted; the Go command sees the same records all along.
func TestLifeOfAnImage(t *testing.T) {
	needRoot(t)
	ctx, r := context.Background(), newRoots(t)
	store := r.open(t, "overlay")
	path := demoImage(t)

	progress := got(orlop.NewProgress())(t)
	defer progress.Close()
	loaded := got(store.LoadPath(orlop.WithProgress(ctx, progress), path, nil))(t)
	if len(loaded) != 1 || !slices.Equal(loaded[0].Names, []string{"localhost/orlop/tour:1"}) {
		t.Fatalf("loaded %+v", loaded)
	}
	state, items := got(progress.Read())(t), got(progress.Items())(t)
	if state.BytesDone == 0 || state.ItemsStarted != uint64(len(items)) || state.ItemsFinished != state.ItemsStarted || len(items) < 3 {
		t.Fatalf("progress %+v, items %+v", state, items)
	}
	for _, item := range items {
		if item.What == "" || item.Note == nil {
			t.Errorf("item %+v", item)
		}
	}
	image := got(store.Image("localhost/orlop/tour:1"))(t)
	if image.ID != loaded[0].ID || len(image.BigDataNames) == 0 || image.Created.IsZero() {
		t.Fatalf("image %+v", image)
	}

	container := got(store.CreateContainer(orlop.NewContainer{
		Names: []string{"ship"}, Image: image.ID, Metadata: "a hull",
		BigData: []orlop.DataItem{{Key: "log", Data: []byte("day 1")}},
		Flags:   map[string]any{"mine": true},
	}))(t)
	root := got(store.Mount("ship", nil))(t)
	must(t, os.WriteFile(filepath.Join(root, "note"), []byte("below deck"), 0o600))
	if again := got(store.Mount(container.ID, nil))(t); again != root {
		t.Errorf("mounted at %q and at %q", root, again)
	}
	if count := got(store.Mounted("ship"))(t); count != 2 {
		t.Errorf("mounted %d times", count)
	}
	if layer := got(store.Layer(container.LayerID))(t); layer.MountPoint != root || layer.MountCount != 2 {
		t.Errorf("layer %+v", layer)
	}
	changes := got(store.Changes("ship", ""))(t)
	if !slices.Contains(changes, orlop.Change{Kind: orlop.ChangeAdd, Path: "/note"}) {
		t.Errorf("changes %v", changes)
	}
	if size := got(store.DiffSize("ship", ""))(t); size < int64(len("below deck")) {
		t.Errorf("the difference has %d bytes", size)
	}
	if !got(store.Unmount("ship", false))(t) || got(store.Unmount("ship", false))(t) {
		t.Error("the first unmounting is to leave it mounted, the second not")
	}

	id := got(store.Commit(ctx, "ship", "localhost/noted:1", &orlop.CommitOptions{
		Author: "mate", Message: "noted", Changes: []string{`CMD ["/bin/sh"]`}, Created: time.Unix(1_700_000_000, 0),
	}))(t)
	noted := got(store.Image(id))(t)
	if !noted.Created.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("created %v", noted.Created)
	}
	seen := got(store.MountImage(id, nil))(t)
	if text := got(os.ReadFile(filepath.Join(seen, "note")))(t); string(text) != "below deck" {
		t.Errorf("note %q", text)
	}
	if err := os.WriteFile(filepath.Join(seen, "more"), nil, 0o600); err == nil {
		t.Error("an image can be written to")
	}
	if got(store.UnmountImage(id, false))(t) {
		t.Error("still mounted")
	}

	for what, ours := range map[string]any{
		"layers": got(store.Layers())(t), "images": got(store.Images())(t), "containers": got(store.Containers())(t),
	} {
		if theirs := goList(t, r, "overlay", what); !reflect.DeepEqual(asMaps(t, ours), theirs) {
			t.Errorf("%s: ours %+v, the Go command's %+v", what, asMaps(t, ours), theirs)
		}
	}

	// By way of writers and readers that have no descriptor.
	var archive bytes.Buffer
	must(t, store.Save(ctx, []string{"localhost/noted:1"}, &orlop.SaveOptions{Format: orlop.FormatOCIArchive}, &archive))
	there := overlay(t)
	copied := got(there.Load(ctx, &archive, &orlop.LoadOptions{Names: []string{"copy:2"}}))(t)
	if len(copied) != 1 || copied[0].ID != id || !slices.Equal(copied[0].Names, []string{"localhost/copy:2"}) {
		t.Errorf("copied %+v, of %s", copied, id)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	must(t, there.SavePath(ctx, []string{id}, &orlop.SaveOptions{Format: orlop.FormatOCIDir}, dir))
	got(os.Stat(filepath.Join(dir, "index.json")))(t)
	if sizes := [2]int64{got(store.ImageSize(id))(t), got(there.ImageSize(id))(t)}; sizes[0] < 1000 {
		t.Errorf("sizes %v", sizes)
	}

	must(t, store.DeleteContainer(context.Background(), "ship"))
	would := got(store.TestDeleteImage(context.Background(), id))(t)
	if gone := got(store.DeleteImage(context.Background(), id))(t); len(gone) != 1 || !slices.Equal(gone, would) {
		t.Errorf("deleted %v, would have %v", gone, would)
	}
	must(t, store.Wipe(context.Background()))
	if left := got(store.Layers())(t); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestLayersInAndOut(t *testing.T) {
	ctx, store := context.Background(), overlay(t)
	base := tarOf(t, [2]string{"d/", ""}, [2]string{"d/one", "1"}, [2]string{"two", strings.Repeat("2", 300_000)})
	layer := got(store.ImportLayer(ctx, orlop.NewLayer{Names: []string{"base"}, ReadOnly: true}, bytes.NewReader(base)))(t)
	if layer.UncompressedSize != int64(len(base)) || layer.Compression != orlop.CompressionNone {
		t.Errorf("layer %+v", layer)
	}
	var plain bytes.Buffer
	if count := got(store.Export(ctx, "base", nil, &plain))(t); count != int64(len(base)) || !bytes.Equal(plain.Bytes(), base) {
		t.Errorf("exported %d bytes, %d came in", count, len(base))
	}
	// A file is read and written from where it stands, and stays open.
	file := got(os.CreateTemp(t.TempDir(), "layer"))(t)
	defer file.Close()
	got(file.WriteString("in front "))(t)
	got(store.Export(ctx, "base", &orlop.ExportOptions{Compression: orlop.CompressionZstd}, file))(t)
	got(file.Seek(int64(len("in front ")), io.SeekStart))(t)
	second := got(store.ImportLayer(ctx, orlop.NewLayer{ID: "second", ExpectedDiffDigest: layer.UncompressedDigest}, file))(t)
	if second.Compression != orlop.CompressionZstd || second.UncompressedDigest != layer.UncompressedDigest {
		t.Errorf("second %+v", second)
	}
	if same := got(store.LayersByUncompressedDigest(layer.UncompressedDigest))(t); len(same) != 2 {
		t.Errorf("%d layers have the tar", len(same))
	}
	if same := got(store.LayersByCompressedDigest(second.CompressedDigest))(t); len(same) != 1 || same[0].ID != "second" {
		t.Errorf("layers with the blob: %+v", same)
	}

	upper := got(store.CreateLayer(orlop.NewLayer{Parent: "base", Metadata: "m", Flags: map[string]any{"f": 1.5}}))(t)
	if upper.Parent != layer.ID || upper.Metadata != "m" || upper.Flags["f"] != 1.5 {
		t.Errorf("upper %+v", upper)
	}
	more := tarOf(t, [2]string{"d/.wh.one", ""}, [2]string{"three", "3"})
	if count := got(store.ApplyDiff(ctx, upper.ID, bytes.NewReader(more)))(t); count == 0 {
		t.Error("nothing was unpacked")
	}
	changes := got(store.Changes(upper.ID, ""))(t)
	for _, change := range []orlop.Change{{Kind: orlop.ChangeDelete, Path: "/d/one"}, {Kind: orlop.ChangeAdd, Path: "/three"}} {
		if !slices.Contains(changes, change) {
			t.Errorf("changes %v", changes)
		}
	}
	root := got(store.Mount(upper.ID, &orlop.MountOptions{ReadOnly: true}))(t)
	if _, err := os.Stat(filepath.Join(root, "d/one")); !os.IsNotExist(err) {
		t.Errorf("d/one: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "x"), nil, 0o600); err == nil {
		t.Error("what was mounted read-only can be written to")
	}
	got(store.Unmount(upper.ID, true))(t)
	must(t, store.DeleteLayer(context.Background(), upper.ID))
	must(t, store.Delete(context.Background(), "second"))
}

func TestNamesAndData(t *testing.T) {
	store := overlay(t)
	layer := got(store.CreateLayer(orlop.NewLayer{ReadOnly: true}))(t)
	image := got(store.CreateImage(orlop.NewImage{
		Names: []string{"i"}, Layer: layer.ID, NamesHistory: []string{"old"}, Metadata: "{}",
		BigData: []orlop.DataItem{{Key: "k", Data: []byte{0, 1, 0}}, {Key: "empty"}},
	}))(t)
	container := got(store.CreateContainer(orlop.NewContainer{Image: "i", Volatile: true, StorageOpt: map[string]string{}}))(t)

	for _, id := range []string{layer.ID, image.ID, container.ID} {
		must(t, store.SetNames(id, []string{"a" + id, "b" + id}))
		must(t, store.AddNames(id, []string{"c" + id}))
		must(t, store.RemoveNames(id, []string{"b" + id, "never"}))
		must(t, store.SetMetadata(id, `{"of":"`+id+`"}`))
		object := got(store.Lookup("c" + id))(t)
		if object.ID() != id {
			t.Errorf("looked up %q, got %q", id, object.ID())
		}
		if exists := got(store.Exists("a" + id))(t); !exists {
			t.Errorf("a%s does not exist", id)
		}
		if exists := got(store.Exists("b" + id))(t); exists {
			t.Errorf("b%s exists", id)
		}
	}
	image = got(store.Image(image.ID))(t)
	if !slices.Equal(image.Names, []string{"c" + image.ID, "a" + image.ID}) || image.Metadata != `{"of":"`+image.ID+`"}` {
		t.Errorf("image %+v", image)
	}
	if by := got(store.ImagesByTopLayer(layer.ID))(t); len(by) != 1 || by[0].ID != image.ID {
		t.Errorf("images on the layer: %+v", by)
	}

	must(t, store.SetImageData(image.ID, orlop.DataItem{Key: "manifest", Data: []byte(`{"schemaVersion":2}`)}))
	if data := got(store.ImageData(image.ID, "k"))(t); !bytes.Equal(data, []byte{0, 1, 0}) {
		t.Errorf("data %v", data)
	}
	if data := got(store.ImageData(image.ID, "empty"))(t); len(data) != 0 {
		t.Errorf("data %v", data)
	}
	digest := got(store.Image(image.ID))(t).BigDataDigests["manifest"]
	if by := got(store.ImagesByDigest(digest))(t); len(by) != 1 {
		t.Errorf("images with the manifest: %+v", by)
	}
	must(t, store.SetContainerData(container.ID, "k", []byte("content")))
	if data := got(store.ContainerData(container.ID, "k"))(t); string(data) != "content" {
		t.Errorf("data %q", data)
	}
	big := bytes.Repeat([]byte("content"), 100_000)
	must(t, store.SetLayerData(context.Background(), layer.ID, "k", bytes.NewReader(big)))
	var data bytes.Buffer
	must(t, store.LayerData(context.Background(), layer.ID, "k", &data))
	if !bytes.Equal(data.Bytes(), big) {
		t.Errorf("%d bytes of layer data", data.Len())
	}

	for _, dir := range []func(string) (string, error){store.ImageDir, store.ImageRunDir} {
		got(os.Stat(got(dir(image.ID))(t)))(t)
	}
	for _, dir := range []func(string) (string, error){store.ContainerDir, store.ContainerRunDir} {
		got(os.Stat(got(dir(container.ID))(t)))(t)
	}
	if size := got(store.ContainerSize(container.ID))(t); size < int64(len("content")) {
		t.Errorf("the container has %d bytes", size)
	}
	if options := got(store.Options())(t); options.GraphDriverName != "overlay" || options.GraphRoot == "" {
		t.Errorf("options %+v", options)
	}
	if rows := got(store.Status())(t); !slices.ContainsFunc(rows, func(row [2]string) bool { return row[0] == "Supports d_type" }) {
		t.Errorf("status %v", rows)
	}
}
