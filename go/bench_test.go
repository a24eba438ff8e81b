package orlop_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orlop/orlop/go"
)

// How these compare with Rust and with the command, "make bench-capi" tells.

func BenchmarkExists(b *testing.B) {
	store := overlay(b)
	got(store.CreateLayer(orlop.NewLayer{ID: "layer"}))(b)
	for b.Loop() {
		if exists, err := store.Exists("layer"); err != nil || !exists {
			b.Fatal(exists, err)
		}
	}
}

func BenchmarkImport(b *testing.B) {
	store, ctx := overlay(b), context.Background()
	tar := tarOf(b, [2]string{"large", strings.Repeat("0123456789abcdef", 1<<20)})
	path := filepath.Join(b.TempDir(), "layer.tar")
	must(b, os.WriteFile(path, tar, 0o600))
	for name, open := range map[string]func() io.Reader{
		"descriptor": func() io.Reader { return got(os.Open(path))(b) },
		"pipe":       func() io.Reader { return bytes.NewReader(tar) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(tar)))
			for b.Loop() {
				reader := open()
				layer := got(store.ImportLayer(ctx, orlop.NewLayer{}, reader))(b)
				if file, ok := reader.(*os.File); ok {
					must(b, file.Close())
				}
				must(b, store.DeleteLayer(context.Background(), layer.ID))
			}
		})
	}
}

func BenchmarkExport(b *testing.B) {
	store, ctx := overlay(b), context.Background()
	tar := tarOf(b, [2]string{"large", strings.Repeat("0123456789abcdef", 1<<20)})
	layer := got(store.ImportLayer(ctx, orlop.NewLayer{}, bytes.NewReader(tar)))(b)
	null := got(os.OpenFile(os.DevNull, os.O_WRONLY, 0))(b)
	defer null.Close()
	for name, writer := range map[string]io.Writer{"descriptor": null, "pipe": io.Discard} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(tar)))
			for b.Loop() {
				got(store.Export(ctx, layer.ID, nil, writer))(b)
			}
		})
	}
}
