package orlop_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/orlop/orlop/go"
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
