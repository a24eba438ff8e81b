package orlop_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/orlop/orlop/go"
)

// endless is a tar that never ends: files of a MiB, until its reader has gone.
func endless(out io.WriteCloser) {
	defer out.Close()
	writer := tar.NewWriter(out)
	content := bytes.Repeat([]byte("orlop "), 1<<20/6)
	for i := 0; ; i++ {
		name := "file" + time.Duration(i).String()
		if writer.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}) != nil {
			return
		}
		if _, err := writer.Write(content); err != nil {
			return
		}
	}
}

// nothingLeft fails if a store has a layer, or its driver a directory of one.
func nothingLeft(t *testing.T, r roots, store *orlop.Store) {
	t.Helper()
	if layers := got(store.Layers())(t); len(layers) != 0 {
		t.Errorf("left layers %+v", layers)
	}
	for _, pattern := range []string{"overlay/*/diff", "overlay/tempdirs/*", "overlay-layers/tmp/*", "overlay-layers/*.tar-split.gz"} {
		if left := got(filepath.Glob(filepath.Join(r.graph, pattern)))(t); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	}
}

func TestCancelledImportLeavesNothing(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	store := r.open(t, "overlay")
	// Within a buffer of data; the rest is for a machine with other things to do.
	const bound = 3 * time.Second
	because := errors.New("because")
	for name, readerOf := range map[string]func() io.ReadCloser{
		"reader": func() io.ReadCloser {
			reader, writer := io.Pipe()
			go endless(writer)
			return reader
		},
		"descriptor": func() io.ReadCloser {
			reader, writer, err := os.Pipe()
			must(t, err)
			go endless(writer)
			return reader
		},
		"descriptor from which nothing comes": func() io.ReadCloser {
			reader, writer, err := os.Pipe()
			must(t, err)
			t.Cleanup(func() { writer.Close() })
			return reader
		},
	} {
		t.Run(name, func(t *testing.T) {
			tar := readerOf()
			defer tar.Close()
			ctx, cancel := context.WithCancelCause(context.Background())
			var asked time.Time
			time.AfterFunc(300*time.Millisecond, func() {
				asked = time.Now()
				cancel(because)
			})
			_, err := store.ImportLayer(ctx, orlop.NewLayer{ID: "long"}, tar)
			if took := time.Since(asked); took > bound {
				t.Errorf("it went on for %v", took)
			}
			var ours *orlop.Error
			if !errors.Is(err, ctx.Err()) || !errors.Is(err, because) || !errors.As(err, &ours) || ours.Code != orlop.CodeCancelled {
				t.Errorf("%#v: %v", err, err)
			}
			nothingLeft(t, r, store)
		})
	}
	t.Run("deadline", func(t *testing.T) {
		reader, writer := io.Pipe()
		defer reader.Close()
		go endless(writer)
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := store.ImportLayer(ctx, orlop.NewLayer{}, reader)
		if took := time.Since(begin); took > bound || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("after %v: %v", took, err)
		}
		nothingLeft(t, r, store)
	})
	t.Run("reader that fails at the end of the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err := store.ImportLayer(ctx, orlop.NewLayer{}, until{ctx, because})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, because) {
			t.Error(err)
		}
		nothingLeft(t, r, store)
	})
	t.Run("no reader", func(t *testing.T) {
		var ours *orlop.Error
		if _, err := store.ImportLayer(context.Background(), orlop.NewLayer{}, nil); !errors.As(err, &ours) || ours.Code != orlop.CodeInvalidArgument {
			t.Error(err)
		}
		if _, err := store.Export(context.Background(), "none", nil, nil); !errors.As(err, &ours) || ours.Code != orlop.CodeInvalidArgument {
			t.Error(err)
		}
	})
	t.Run("before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := store.ImportLayer(ctx, orlop.NewLayer{}, neverRead{t})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("load", func(t *testing.T) {
		reader, writer := io.Pipe()
		defer reader.Close()
		go endless(writer)
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := store.Load(ctx, reader, nil)
		if took := time.Since(begin); took > bound || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", took, err)
		}
		nothingLeft(t, r, store)
	})
}

// until has nothing to read until a context ends, and then an error, as a connection has that is closed with it.
type until struct {
	ctx context.Context
	err error
}

func (u until) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, u.err
}

// Write takes nothing before the context ends.
func (u until) Write([]byte) (int, error) { return u.Read(nil) }

type neverRead struct{ t *testing.T }

func (n neverRead) Read([]byte) (int, error) {
	n.t.Error("it was read")
	return 0, io.EOF
}

// failing gives some bytes and then an error.
type failing struct {
	data io.Reader
	err  error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.data.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func (f failing) Write(p []byte) (int, error) { return 0, f.err }

// What a reader or writer of the caller's says is what the call says, and a tar that is cut off is none.
func TestErrorsOfReadersAndWriters(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	store := r.open(t, "overlay")
	ctx, mine := context.Background(), errors.New("mine")
	whole := tarOf(t, [2]string{"one", "1"}, [2]string{"two", "2"})
	for _, cut := range []int{0, 512, 1024, len(whole)} {
		_, err := store.ImportLayer(ctx, orlop.NewLayer{}, failing{bytes.NewReader(whole[:cut]), mine})
		if !errors.Is(err, mine) {
			t.Errorf("cut at %d: %v", cut, err)
		}
		nothingLeft(t, r, store)
	}
	layer := got(store.ImportLayer(ctx, orlop.NewLayer{}, bytes.NewReader(whole)))(t)
	if _, err := store.Export(ctx, layer.ID, nil, failing{err: mine}); !errors.Is(err, mine) {
		t.Error(err)
	}
	must(t, store.SetLayerData(context.Background(), layer.ID, "k", bytes.NewReader([]byte("before"))))
	if err := store.SetLayerData(context.Background(), layer.ID, "k", failing{bytes.NewReader([]byte("half")), mine}); !errors.Is(err, mine) {
		t.Error(err)
	}
	var data bytes.Buffer
	must(t, store.LayerData(context.Background(), layer.ID, "k", &data))
	if data.String() != "before" {
		t.Errorf("a reader that failed has stored %q", data.String())
	}
}

// Deletions are asked for by a context that has ended: nothing goes. Data of layers are called off like all streams.
func TestDeletionsAndDataTakeContexts(t *testing.T) {
	needRoot(t)
	store := newRoots(t).open(t, "overlay")
	layer := got(store.CreateLayer(orlop.NewLayer{ID: "layer", ReadOnly: true}))(t)
	got(store.CreateImage(orlop.NewImage{ID: "image", Layer: layer.ID}))(t)
	got(store.CreateContainer(orlop.NewContainer{ID: "container", Image: "image"}))(t)
	got(store.CreateLayer(orlop.NewLayer{ID: "free"}))(t)
	ctx, because := context.Background(), errors.New("because")
	must(t, store.SetLayerData(ctx, "free", "k", bytes.NewReader(bytes.Repeat([]byte("before"), 1<<20))))
	ended, end := context.WithCancelCause(ctx)
	end(because)
	second := func(_ []string, err error) error { return err }
	for what, err := range map[string]error{
		"Delete":          store.Delete(ended, "free"),
		"DeleteLayer":     store.DeleteLayer(ended, "free"),
		"DeleteContainer": store.DeleteContainer(ended, "container"),
		"DeleteImage":     second(store.DeleteImage(ended, "image")),
		"TestDeleteImage": second(store.TestDeleteImage(ended, "image")),
		"Wipe":            store.Wipe(ended),
		"LayerData":       store.LayerData(ended, "free", "k", io.Discard),
		"SetLayerData":    store.SetLayerData(ended, "free", "k", neverRead{t}),
	} {
		var ours *orlop.Error
		if !errors.Is(err, because) || !errors.Is(err, context.Canceled) || !errors.As(err, &ours) || ours.Code != orlop.CodeCancelled {
			t.Errorf("%s: %v", what, err)
		}
	}
	if count := len(got(store.Layers())(t)); count != 3 {
		t.Errorf("%d layers are left", count)
	}

	// On their way, with a reader from which nothing more comes and a writer that takes nothing more.
	reader, writer, err := os.Pipe()
	must(t, err)
	defer writer.Close()
	defer reader.Close()
	for what, call := range map[string]func(ctx context.Context) error{
		"from a pipe":   func(ctx context.Context) error { return store.SetLayerData(ctx, "free", "k", reader) },
		"to a pipe":     func(ctx context.Context) error { return store.LayerData(ctx, "free", "k", writer) },
		"from a reader": func(ctx context.Context) error { return store.SetLayerData(ctx, "free", "k", until{ctx, because}) },
		"to a writer":   func(ctx context.Context) error { return store.LayerData(ctx, "free", "k", until{ctx, because}) },
	} {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		begin := time.Now()
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s: it went on for %v", what, took)
		}
		cancel()
	}
	var data bytes.Buffer
	must(t, store.LayerData(ctx, "free", "k", &data))
	if data.Len() != 6<<20 {
		t.Errorf("%d bytes", data.Len())
	}
}

// A writer that takes nothing has not got what the library could write before the context ended.
func TestWritersThatNeverTakeAnything(t *testing.T) {
	needRoot(t)
	store := newRoots(t).open(t, "overlay")
	ctx := context.Background()
	got(store.ImportLayer(ctx, orlop.NewLayer{ID: "layer"}, bytes.NewReader(tarOf(t, [2]string{"one", "1"}))))(t)
	must(t, store.SetLayerData(ctx, "layer", "k", bytes.NewReader([]byte("data"))))
	never := make(chan struct{})
	defer close(never)
	blocked := stream(func([]byte) (int, error) { <-never; return 0, io.ErrClosedPipe })
	for what, call := range map[string]func(ctx context.Context) error{
		"data":   func(ctx context.Context) error { return store.LayerData(ctx, "layer", "k", blocked) },
		"export": func(ctx context.Context) error { _, err := store.Export(ctx, "layer", nil, blocked); return err },
	} {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		begin := time.Now()
		err := call(ctx)
		var ours *orlop.Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &ours) || ours.Code != orlop.CodeCancelled {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s: it went on for %v", what, took)
		}
		cancel()
	}
}

// What the library and the reader say are both told, where neither is the other's reason.
func TestErrorsOfBothSides(t *testing.T) {
	needRoot(t)
	store := newRoots(t).open(t, "overlay")
	mine := errors.New("mine")
	late := stream(func([]byte) (int, error) {
		time.Sleep(200 * time.Millisecond)
		return 0, mine
	})
	err := store.SetLayerData(context.Background(), "none", "k", late)
	var ours *orlop.Error
	if !errors.Is(err, mine) || !errors.As(err, &ours) || ours.Code != orlop.CodeLayerUnknown {
		t.Error(err)
	}
}
