package orlop_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/orlop/orlop/go"
	"github.com/orlop/orlop/go/internal/capi"
)

func descriptors(t *testing.T) int {
	t.Helper()
	return len(got(os.ReadDir("/proc/self/fd"))(t))
}

// After a thousand operations, of which some fail and some are called off, there are the descriptors, handles, goroutines and
// threads that there were; the registry of locks has its own from the first round on (store-format.md 9.1).
func TestNothingLeaks(t *testing.T) {
	store := overlay(t)
	ctx := context.Background()
	tar := tarOf(t, [2]string{"one", "1"})
	ended, cancel := context.WithCancel(ctx)
	cancel()
	round := func() {
		progress := got(orlop.NewProgress())(t)
		defer progress.Close()
		watched, done := context.WithCancel(orlop.WithProgress(ctx, progress))
		defer done()
		layer := got(store.ImportLayer(watched, orlop.NewLayer{}, bytes.NewReader(tar)))(t)
		got(store.Export(watched, layer.ID, nil, new(bytes.Buffer)))(t)
		got(store.Mount(layer.ID, nil))(t)
		got(store.Unmount(layer.ID, false))(t)
		must(t, store.SetLayerData(context.Background(), layer.ID, "k", bytes.NewReader(tar)))
		must(t, store.LayerData(context.Background(), layer.ID, "k", new(bytes.Buffer)))
		if _, err := store.ImportLayer(ended, orlop.NewLayer{}, bytes.NewReader(tar)); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := store.ImportLayer(watched, orlop.NewLayer{}, bytes.NewReader([]byte("no tar at all"))); err == nil {
			t.Fatal("that was no tar")
		}
		must(t, store.DeleteLayer(context.Background(), layer.ID))
		config := got(orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: "/nowhere/g", RunRoot: "/nowhere/r", Driver: "vfs"}))(t)
		defer config.Close()
		other := got(orlop.Open(config))(t)
		defer other.Close()
		got(other.Options())(t)
	}
	threads := func() int { return len(got(os.ReadDir("/proc/self/task"))(t)) }
	round()
	runtime.GC()
	before := [4]int{descriptors(t), int(capi.Handles()), runtime.NumGoroutine(), threads()}
	for range 100 { // of ten operations
		round()
	}
	var after [4]int
	for range 50 { // goroutines of contexts may still be ending
		after = [4]int{descriptors(t), int(capi.Handles()), runtime.NumGoroutine(), threads()}
		if after[2] <= before[2] {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	// Go keeps the threads that it has made for calls into C.
	if slack := [4]int{0, 0, 0, 8}; after[0] > before[0]+slack[0] || after[1] > before[1] || after[2] > before[2] || after[3] > before[3]+slack[3] {
		t.Errorf("descriptors, handles, goroutines, threads: before %v, after %v", before, after)
	}
}

// What has been closed refuses, says so, and may be closed again.
func TestClosed(t *testing.T) {
	config := got(orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: "/nowhere/g", RunRoot: "/nowhere/r", Driver: "vfs"}))(t)
	store := got(orlop.Open(config))(t)
	progress := got(orlop.NewProgress())(t)
	for range 2 {
		progress.Close()
		store.Close()
		config.Close()
	}
	_, opening := orlop.Open(config)
	_, options := config.Options()
	_, listing := store.Layers()
	_, state := progress.Read()
	_, import_ := store.ImportLayer(orlop.WithProgress(context.Background(), progress), orlop.NewLayer{}, neverRead{t})
	for _, err := range []error{opening, options, listing, state, import_} {
		var ours *orlop.Error
		if !errors.As(err, &ours) || ours.Code != orlop.CodeInvalidArgument {
			t.Errorf("%v", err)
		}
	}
}

// Closing waits for a call that is running.
func TestCloseWhileCalled(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	r.open(t, "overlay") // which shuts down in the end
	config := got(orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: r.graph, RunRoot: r.run, Driver: "overlay"}))(t)
	defer config.Close()
	store := got(orlop.Open(config))(t)
	reader, writer, err := os.Pipe()
	must(t, err)
	defer reader.Close()
	imported := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		close(begun)
		_, err := store.ImportLayer(context.Background(), orlop.NewLayer{ID: "slow"}, reader)
		imported <- err
	}()
	<-begun
	time.Sleep(100 * time.Millisecond)
	closed := make(chan struct{})
	go func() {
		store.Close()
		close(closed)
	}()
	select {
	case <-closed:
		t.Error("closed while a call was running")
	case <-time.After(200 * time.Millisecond):
	}
	got(writer.Write(tarOf(t, [2]string{"one", "1"})))(t)
	must(t, writer.Close())
	must(t, <-imported)
	<-closed
}
