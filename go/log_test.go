package orlop_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orlop/orlop/go"
	"github.com/orlop/orlop/go/internal/capi"
)

// The log goes to one function at a time, which may call the library and may be changed while others log.
func TestSetLog(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	store := r.open(t, "overlay")
	got(store.CreateLayer(orlop.NewLayer{}))(t)
	t.Cleanup(func() { must(t, orlop.SetLog(slog.LevelError, nil)) })
	var lock sync.Mutex
	var lines []string
	keep := func(level slog.Level, line string) {
		if _, err := store.Exists("anything"); err != nil {
			t.Error(err)
		}
		lock.Lock()
		defer lock.Unlock()
		lines = append(lines, level.String()+" "+line)
	}
	create := func(id string) {
		if err := os.MkdirAll(filepath.Join(r.graph, "overlay", id, "diff"), 0o755); err != nil {
			t.Error(err)
		}
		if _, err := store.CreateLayer(orlop.NewLayer{ID: id}); err != nil {
			t.Error(err)
		}
	}
	about := func(id string) int {
		lock.Lock()
		defer lock.Unlock()
		return len(slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			return !strings.HasPrefix(line, "WARN ") || !strings.Contains(line, "/"+id+`"`)
		}))
	}
	must(t, orlop.SetLog(slog.LevelWarn, keep))
	create("heard")
	must(t, orlop.SetLog(slog.LevelError, keep))
	create("too-low")
	must(t, orlop.SetLog(slog.LevelWarn, nil))
	create("silent")
	for id, count := range map[string]int{"heard": 1, "too-low": 0, "silent": 0} {
		if about(id) != count {
			t.Errorf("%d lines about %s: %q", about(id), id, lines)
		}
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 8 {
				create(fmt.Sprintf("layer-%d-%d", worker, i))
				if worker == 0 {
					_ = orlop.SetLog(slog.LevelDebug, keep)
					_ = orlop.SetLog(slog.LevelDebug, nil)
					_ = orlop.SetLog(slog.LevelInfo, keep)
				}
			}
		})
	}
	group.Wait()
	if len(lines) < 8 {
		t.Errorf("only %q", lines)
	}
}

// When the lines of a call come, nothing that it has used is in use any more: the function may close it all, or panic.
func TestLogAfterTheCall(t *testing.T) {
	needRoot(t)
	r := newRoots(t)
	store, ctx := r.open(t, "overlay"), context.Background()
	t.Cleanup(func() { must(t, orlop.SetLog(slog.LevelError, nil)) })
	tar := tarOf(t, [2]string{"one", "1"})
	path := written(t, string(tar))
	// A directory in the layer's place is told of.
	place := func(id string) orlop.NewLayer {
		must(t, os.MkdirAll(filepath.Join(r.graph, "overlay", id, "diff"), 0o755))
		return orlop.NewLayer{ID: id}
	}
	got(store.CreateLayer(orlop.NewLayer{}))(t)

	progress, file := got(orlop.NewProgress())(t), got(os.Open(path))(t)
	heard := 0
	must(t, orlop.SetLog(slog.LevelWarn, func(slog.Level, string) {
		heard++
		progress.Close()
		_ = file.Close()
	}))
	layer, watched := place("closed"), orlop.WithProgress(ctx, progress)
	ended := make(chan error, 1)
	go func() {
		_, err := store.ImportLayer(watched, layer, file)
		ended <- err
	}()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("the function waits for the call that it is called by")
	}
	if heard == 0 {
		t.Error("no line came")
	}

	must(t, orlop.SetLog(slog.LevelWarn, func(slog.Level, string) { panic("mine") }))
	round := func(id string) {
		layer := place(id)
		progress := got(orlop.NewProgress())(t)
		defer progress.Close()
		defer func() {
			if value := recover(); value != "mine" {
				t.Errorf("panicked with %v", value)
			}
		}()
		// Neither a file nor what lies in memory: served by a goroutine.
		_, err := store.ImportLayer(orlop.WithProgress(ctx, progress), layer, plain2(tar))
		t.Errorf("no panic, but %v", err)
	}
	round("first")
	before := [3]int{descriptors(t), int(capi.Handles()), runtime.NumGoroutine()}
	for i := range 5 {
		round(fmt.Sprintf("more-%d", i))
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

// What the library has said before the level was raised goes to nobody; what is said without a store comes with its call.
func TestLogOfEachCall(t *testing.T) {
	needRoot(t)
	t.Cleanup(func() { must(t, orlop.SetLog(slog.LevelError, nil)) })
	var lock sync.Mutex
	heard := map[string][]string{}
	keep := func(who string) func(slog.Level, string) {
		return func(level slog.Level, line string) {
			lock.Lock()
			defer lock.Unlock()
			heard[who] = append(heard[who], level.String()+" "+line)
		}
	}
	tar := tarOf(t, [2]string{"large", strings.Repeat("x", 8<<20)})
	// The first call on a store finds out what the kernel can do, and tells it, before it reads. A pipe has room for one MiB.
	load := func(after func()) {
		store, once := newRoots(t).open(t, "overlay"), sync.OnceFunc(after)
		rest := tar
		got(store.ImportLayer(context.Background(), orlop.NewLayer{}, stream(func(p []byte) (int, error) {
			if len(rest) < len(tar)/2 {
				once()
			}
			n := copy(p, rest)
			rest = rest[n:]
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		})))(t)
	}
	must(t, orlop.SetLog(slog.LevelDebug, keep("first")))
	load(func() {})
	if len(heard["first"]) == 0 {
		t.Error("nothing is told")
	}
	load(func() {
		must(t, orlop.SetLog(slog.LevelDebug, keep("before")))
		must(t, orlop.SetLog(slog.LevelError, keep("raised")))
	})
	if len(heard["before"])+len(heard["raised"]) > 0 {
		t.Errorf("the next one hears %q and %q", heard["before"], heard["raised"])
	}
	must(t, orlop.SetLog(slog.LevelDebug, keep("configuration")))
	config := got(orlop.LoadConfig(&orlop.ConfigOptions{File: written(t, "[storage]\ndriver = \"vfs\"\nunheard_of = 1\n")}))(t)
	if !strings.Contains(strings.Join(heard["configuration"], "\n"), "unheard_of") {
		t.Errorf("of the configuration is told %q", heard["configuration"])
	}
	config.Close()
}
