package orlop_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/orlop/orlop/go"
	"github.com/orlop/orlop/go/internal/capi"
)

// Whatever gives a tar, and in whatever pieces, the layer is the same; whatever takes it, the tar is.
func TestKindsOfReadersAndWriters(t *testing.T) {
	store, ctx := overlay(t), context.Background()
	tar := tarOf(t, [2]string{"d/", ""}, [2]string{"d/large", strings.Repeat("0123456789abcdef", 1<<18)}, [2]string{"small", "1"})
	plain := func() io.Reader { return struct{ io.Reader }{bytes.NewReader(tar)} }
	var digest string
	for name, reader := range map[string]io.Reader{
		"plain": plain(), "memory": bytes.NewReader(tar), "buffer": bytes.NewBuffer(bytes.Clone(tar)),
		"text": strings.NewReader(string(tar)), "buffered": bufio.NewReader(plain()), "part": io.LimitReader(plain(), int64(len(tar))),
		"section": io.NewSectionReader(bytes.NewReader(tar), 0, int64(len(tar))), "halves": iotest.HalfReader(plain()),
		"end with data": iotest.DataErrReader(plain()),
		"several":       io.MultiReader(bytes.NewReader(tar[:1000]), plain2(tar[1000:])),
	} {
		layer := got(store.ImportLayer(ctx, orlop.NewLayer{}, reader))(t)
		if digest == "" {
			digest = layer.UncompressedDigest
		}
		if layer.UncompressedDigest != digest {
			t.Errorf("%s: %s, not %s", name, layer.UncompressedDigest, digest)
		}
		var memory bytes.Buffer
		got(store.Export(ctx, layer.ID, nil, &memory))(t)
		var behind bytes.Buffer
		buffered := bufio.NewWriter(struct{ io.Writer }{&behind})
		got(store.Export(ctx, layer.ID, nil, buffered))(t)
		must(t, buffered.Flush())
		if !bytes.Equal(memory.Bytes(), tar) || !bytes.Equal(behind.Bytes(), tar) {
			t.Errorf("%s: the export is another one", name)
		}
		must(t, store.DeleteLayer(ctx, layer.ID))
	}
}

func plain2(b []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(b)} }

type stream func(p []byte) (int, error)

func (s stream) Read(p []byte) (int, error)  { return s(p) }
func (s stream) Write(p []byte) (int, error) { return s(p) }

// A reader or writer that panics does so where the call was made; one that writes too little, gives nothing or ends its goroutine
// fails the call. Nothing of it is left.
func TestReadersAndWritersThatMisbehave(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	store, ctx := r.open(t, "overlay"), context.Background()
	whole := tarOf(t, [2]string{"one", strings.Repeat("1", 1<<20)})
	recovered := func(run func()) (value any) {
		defer func() { value = recover() }()
		run()
		return nil
	}
	panics := stream(func([]byte) (int, error) { panic("mine") })
	round := func() {
		for _, reader := range []io.Reader{panics, io.MultiReader(bytes.NewReader(whole[:4096]), panics), bufio.NewReader(panics)} {
			if value := recovered(func() { _, _ = store.ImportLayer(ctx, orlop.NewLayer{}, reader) }); value != "mine" {
				t.Errorf("panicked with %v", value)
			}
		}
		exits := stream(func([]byte) (int, error) { runtime.Goexit(); return 0, nil })
		if _, err := store.ImportLayer(ctx, orlop.NewLayer{}, exits); err == nil || !strings.Contains(err.Error(), "goroutine") {
			t.Error(err)
		}
		if _, err := store.ImportLayer(ctx, orlop.NewLayer{}, iotest.ErrReader(nil)); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
		nothingLeft(t, r, store)
		layer := got(store.ImportLayer(ctx, orlop.NewLayer{}, bytes.NewReader(whole)))(t)
		if value := recovered(func() { _, _ = store.Export(ctx, layer.ID, nil, panics) }); value != "mine" {
			t.Errorf("panicked with %v", value)
		}
		if _, err := store.Export(ctx, layer.ID, nil, exits); err == nil || !strings.Contains(err.Error(), "goroutine") {
			t.Error(err)
		}
		short := stream(func(p []byte) (int, error) { return len(p) - 1, nil })
		if _, err := store.Export(ctx, layer.ID, nil, short); !errors.Is(err, io.ErrShortWrite) {
			t.Error(err)
		}
		must(t, store.DeleteLayer(ctx, layer.ID))
	}
	round()
	before := [3]int{descriptors(t), int(capi.Handles()), runtime.NumGoroutine()}
	for range 5 {
		round()
	}
	for range 50 { // a goroutine that has told its outcome may still be ending
		if runtime.NumGoroutine() <= before[2] {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if after := [3]int{descriptors(t), int(capi.Handles()), runtime.NumGoroutine()}; after[0] > before[0] || after[1] > before[1] || after[2] > before[2] {
		t.Errorf("descriptors, handles, goroutines: before %v, after %v", before, after)
	}
}

// A reader that does the copying itself is called off as others are.
func TestCancelledWhileAReaderWrites(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	store := r.open(t, "overlay")
	reader, writer := io.Pipe()
	defer reader.Close()
	go endless(writer)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := store.ImportLayer(ctx, orlop.NewLayer{}, bufio.NewReader(reader))
	if took := time.Since(begin); took > 3*time.Second || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after %v: %v", took, err)
	}
	nothingLeft(t, r, store)
}
