package orlop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/orlop/orlop/go"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/types"
)

// Each error value of the Go library that a store's call can end with is found by errors.Is, in an Error that says what and why.
func TestErrorValues(t *testing.T) {
	needRoot(t)
	ctx, r := context.Background(), newRoots(t)
	store := r.open(t, "overlay")
	base := got(store.CreateLayer(orlop.NewLayer{ID: "base", Names: []string{"base-name"}, ReadOnly: true}))(t)
	top := got(store.CreateLayer(orlop.NewLayer{ID: "top", Parent: "base", ReadOnly: true}))(t)
	image := got(store.CreateImage(orlop.NewImage{ID: "image", Names: []string{"image-name"}, Layer: "top"}))(t)
	container := got(store.CreateContainer(orlop.NewContainer{ID: "container", Image: "image"}))(t)
	free := got(store.CreateLayer(orlop.NewLayer{ID: "free"}))(t)
	tar := tarOf(t, [2]string{"one", "1"})

	// An additional store, whose layers nobody changes.
	other := newRoots(t)
	additional := other.open(t, "overlay")
	got(additional.ImportLayer(ctx, orlop.NewLayer{ID: "foreign", ReadOnly: true}, bytes.NewReader(tar)))(t)
	beside := newRoots(t).open(t, "overlay", "overlay.imagestore="+other.graph)

	second := func(_ any, err error) error { return err }
	for name, provoked := range map[string]struct {
		err  error
		code orlop.Code
		is   []error
	}{
		"layer":          {second(store.Layer("none")), orlop.CodeLayerUnknown, []error{types.ErrLayerUnknown, drivers.ErrLayerUnknown}},
		"layer to mount": {second(store.Mount("none", nil)), orlop.CodeLayerUnknown, []error{types.ErrLayerUnknown}},
		"image":          {second(store.Image("none")), orlop.CodeImageUnknown, []error{types.ErrImageUnknown}},
		"container":      {second(store.Container("none")), orlop.CodeContainerUnknown, []error{types.ErrContainerUnknown}},
		"nothing":        {store.SetNames("none", []string{"n"}), orlop.CodeNotFound, []error{types.ErrLayerUnknown}},
		"metadata":       {store.SetMetadata("none", "m"), orlop.CodeNotFound, []error{types.ErrNotAnID}},
		"look-up":        {second(store.Lookup("none")), orlop.CodeNotFound, []error{types.ErrLayerUnknown}},
		"no layer":       {store.DeleteLayer(context.Background(), "none"), orlop.CodeNotALayer, []error{types.ErrNotALayer}},
		"no container":   {store.DeleteContainer(context.Background(), "none"), orlop.CodeNotAContainer, []error{types.ErrNotAContainer}},
		"no image":       {second(store.DeleteImage(context.Background(), "base")), orlop.CodeNotAnImage, []error{types.ErrNotAnImage}},
		"data's name":    {store.SetContainerData(container.ID, "", nil), orlop.CodeInvalidDataName, []error{types.ErrInvalidBigDataName}},
		"no roots":       {rootless(), orlop.CodeIncompleteOptions, []error{types.ErrIncompleteOptions}},
		"layer's id":     {second(store.CreateLayer(orlop.NewLayer{ID: "base"})), orlop.CodeDuplicateID, []error{types.ErrDuplicateID}},
		"image's id":     {second(store.CreateImage(orlop.NewImage{ID: "image"})), orlop.CodeDuplicateID, []error{types.ErrDuplicateID}},
		"layer's name": {
			second(store.CreateLayer(orlop.NewLayer{Names: []string{"base-name"}})),
			orlop.CodeDuplicateName, []error{types.ErrDuplicateName},
		},
		"image's name": {
			second(store.CreateImage(orlop.NewImage{Names: []string{"image-name"}})),
			orlop.CodeDuplicateName, []error{types.ErrDuplicateName},
		},
		"children":           {store.DeleteLayer(context.Background(), base.ID), orlop.CodeLayerHasChildren, []error{types.ErrLayerHasChildren}},
		"image's layer":      {store.DeleteLayer(context.Background(), top.ID), orlop.CodeLayerHasChildren, []error{types.ErrLayerHasChildren}},
		"container's layer":  {store.DeleteLayer(context.Background(), container.LayerID), orlop.CodeLayerUsedByContainer, []error{types.ErrLayerUsedByContainer}},
		"container's image":  {second(store.DeleteImage(context.Background(), image.ID)), orlop.CodeImageUsedByContainer, []error{types.ErrImageUsedByContainer}},
		"container's parent": {second(store.CreateLayer(orlop.NewLayer{Parent: container.LayerID})), orlop.CodeParentIsContainer, []error{types.ErrParentIsContainer}},
		"read-only":          {beside.SetNames("foreign", []string{"mine"}), orlop.CodeReadOnly, []error{types.ErrStoreIsReadOnly}},
		"data":               {second(store.ImageData("image", "none")), orlop.CodeDataUnknown, []error{fs.ErrNotExist}},
		"digest":             {second(store.ImagesByDigest("sha256:x")), orlop.CodeInvalidDigest, []error{digest.ErrDigestInvalidFormat}},
		"another digest": {
			second(store.ImportLayer(ctx, orlop.NewLayer{ExpectedDiffDigest: digest.FromString("x").String()}, bytes.NewReader(tar))),
			orlop.CodeDigestMismatch, nil,
		},
		"NUL":         {second(store.Exists("a\x00b")), orlop.CodeInvalidArgument, nil},
		"option":      {second(orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, File: "x"})), orlop.CodeInvalidArgument, nil},
		"flags":       {second(store.CreateLayer(orlop.NewLayer{Flags: map[string]any{"f": func() {}}})), orlop.CodeInvalidArgument, nil},
		"archive":     {second(store.ImportLayer(ctx, orlop.NewLayer{}, strings.NewReader("no tar"))), orlop.CodeInvalidArchive, nil},
		"compression": {second(store.Export(ctx, free.ID, &orlop.ExportOptions{Compression: orlop.CompressionBzip2}, new(bytes.Buffer))), orlop.CodeNotSupported, []error{types.ErrNotSupported, drivers.ErrNotSupported}},
		"driver":      {second(openDriver("btrfs")), orlop.CodeNotSupported, []error{types.ErrNotSupported}},
		"file":        {second(store.LoadPath(ctx, "/does/not/exist", nil)), orlop.CodeIO, []error{syscall.ENOENT, fs.ErrNotExist}},
		"configuration": {
			second(orlop.LoadConfig(&orlop.ConfigOptions{File: written(t, "[storage]\ndriver = 7\n")})),
			orlop.CodeConfig, nil,
		},
		"policy": {
			second(store.LoadPath(ctx, demoImage(t), &orlop.LoadOptions{Policy: written(t, `{"default":[{"type":"reject"}]}`)})),
			orlop.CodePolicyRejected, nil,
		},
		"another file system": {onMemory(t), orlop.CodeIncompatibleFS, []error{drivers.ErrIncompatibleFS}},
		"size":                {sizeless(t), orlop.CodeSizeUnknown, []error{types.ErrSizeUnknown}},
		"record":              {damaged(t), orlop.CodeCorrupt, nil},
		"image's only layer":  {imagesLayer(t, store), orlop.CodeLayerUsedByImage, []error{types.ErrLayerUsedByImage}},
	} {
		t.Run(name, func(t *testing.T) {
			var ours *orlop.Error
			if !errors.As(provoked.err, &ours) {
				t.Fatalf("%#v", provoked.err)
			}
			if ours.Code != provoked.code {
				t.Errorf("%v instead of %v: %v", ours.Code, provoked.code, ours)
			}
			for _, value := range provoked.is {
				if !errors.Is(provoked.err, value) {
					t.Errorf("not %v: %v", value, provoked.err)
				}
			}
			if !strings.HasPrefix(ours.Code.String(), "ORLOP_ERR_") || ours.Message == "" || strings.Contains(ours.Message, "\n") {
				t.Errorf("%v: %q", ours.Code, ours.Message)
			}
			for _, value := range []error{types.ErrLoadError, context.DeadlineExceeded} {
				if errors.Is(provoked.err, value) {
					t.Errorf("is %v, too", value)
				}
			}
		})
	}
}

func written(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func openDriver(name string) (*orlop.Store, error) {
	config, err := orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: "/nowhere/g", RunRoot: "/nowhere/r", Driver: name})
	if err != nil {
		return nil, err
	}
	defer config.Close()
	return orlop.Open(config)
}

// rootless is the error of a store without any root.
func rootless() error {
	config, err := orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, Driver: "vfs"})
	if err != nil {
		return err
	}
	defer config.Close()
	store, err := orlop.Open(config)
	if err == nil {
		store.Close()
	}
	return err
}

// onMemory is the error of a store with overlay upon an overlay file system.
func onMemory(t *testing.T) error {
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	merged := filepath.Join(dir, "merged")
	options := "lowerdir=" + dir + "/lower,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	must(t, syscall.Mount("overlay", merged, "overlay", 0, options))
	defer syscall.Unmount(merged, syscall.MNT_DETACH)
	// Layers there belong to the kernel: no program takes its place.
	must(t, os.MkdirAll(merged+"/g/overlay/layer", 0o755))
	config := got(orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: merged + "/g", RunRoot: dir + "/r", Driver: "overlay"}))(t)
	defer config.Close()
	store, err := orlop.Open(config)
	if err != nil {
		return err
	}
	defer store.Close()
	_, err = store.CreateLayer(orlop.NewLayer{})
	return err
}

// sizeless is the error for an image whose record has lost the size of a data item.
func sizeless(t *testing.T) error {
	r := newRoots(t)
	store := r.open(t, "overlay")
	got(store.CreateImage(orlop.NewImage{ID: "i", BigData: []orlop.DataItem{{Key: "k", Data: []byte("1")}}}))(t)
	path := filepath.Join(r.graph, "overlay-images/images.json")
	var records []map[string]any
	must(t, json.Unmarshal(got(os.ReadFile(path))(t), &records))
	delete(records[0], "big-data-sizes")
	must(t, os.WriteFile(path, got(json.Marshal(records))(t), 0o600))
	// Another one, which has not read the records yet.
	again := r.open(t, "overlay")
	_, err := again.ImageSize("i")
	return err
}

// damaged is the error for records that are none.
func damaged(t *testing.T) error {
	r := newRoots(t)
	got(r.open(t, "overlay").CreateLayer(orlop.NewLayer{}))(t)
	path := filepath.Join(r.graph, "overlay-layers/layers.json")
	whole := got(os.ReadFile(path))(t)
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	again := r.open(t, "overlay")
	_, err := again.Layers()
	must(t, os.WriteFile(path, whole, 0o600))
	return err
}

func imagesLayer(t *testing.T, store *orlop.Store) error {
	layer := got(store.CreateLayer(orlop.NewLayer{ReadOnly: true}))(t)
	got(store.CreateImage(orlop.NewImage{Layer: layer.ID}))(t)
	return store.DeleteLayer(context.Background(), layer.ID)
}

// The codes that no call on a sound store of this machine ends with stand for Go's values as well, and every number has its name.
func TestEveryCode(t *testing.T) {
	for code, value := range map[orlop.Code]error{
		orlop.CodeParentUnknown: types.ErrParentUnknown,
		orlop.CodePrerequisites: drivers.ErrPrerequisites,
		orlop.CodeBusy:          syscall.EBUSY,
		orlop.CodeCancelled:     context.Canceled,
	} {
		if err := error(&orlop.Error{Code: code}); !errors.Is(err, value) {
			t.Errorf("%v is not %v", code, value)
		}
	}
	const last = orlop.CodeIncompleteOptions
	names := map[string]bool{}
	for code := orlop.CodeLayerUnknown; code >= last; code-- {
		names[code.String()] = true
	}
	if count := int(orlop.CodeLayerUnknown-last) + 1; len(names) != count || names["ORLOP_OK"] {
		t.Errorf("%d codes have the names %v", count, names)
	}
	for code, name := range map[orlop.Code]string{0: "ORLOP_OK", 7: "Code(7)", last - 1: fmt.Sprintf("Code(%d)", last-1)} {
		if code.String() != name {
			t.Errorf("the package does not know %v, or takes it for another", code)
		}
	}
}
