package graphdriver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/orlop/orlop/go/internal/capi"
	"github.com/sirupsen/logrus"
	drivers "go.podman.io/storage/drivers"
)

// hook keeps what logrus is given, and calls the driver from within.
type hook struct {
	lock    sync.Mutex
	entries []string
	driver  drivers.Driver
}

func (h *hook) Levels() []logrus.Level { return logrus.AllLevels }

func (h *hook) Fire(entry *logrus.Entry) error {
	h.driver.Exists("anything")
	h.lock.Lock()
	defer h.lock.Unlock()
	h.entries = append(h.entries, entry.Level.String()+": "+entry.Message)
	return nil
}

// about counts the lines at a level that have a word.
func (h *hook) about(level, word string) int {
	h.lock.Lock()
	defer h.lock.Unlock()
	count := 0
	for _, entry := range h.entries {
		if strings.HasPrefix(entry, level+": overlay: ") && strings.Contains(entry, word) {
			count++
		}
	}
	return count
}

// hooked is a driver whose lines are kept.
func hooked(t *testing.T, level logrus.Level) (roots, drivers.Driver, *hook) {
	needRoot(t)
	before := logrus.GetLevel()
	logrus.SetLevel(level)
	r := newRoots(t)
	d := r.open(t)
	h := &hook{driver: d}
	old := logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(h)
	t.Cleanup(func() {
		logrus.StandardLogger().ReplaceHooks(old)
		logrus.SetLevel(before)
		must(t, capi.SetDefaultLog(logLevel(), toLogrus))
	})
	return r, d, h
}

// inTheWay makes a folder where a layer's is to be, at which the library warns.
func inTheWay(t testing.TB, r roots, id string) {
	must(t, os.MkdirAll(filepath.Join(r.root, name, id, "diff"), 0o755))
}

// Each call's warnings are with logrus when it returns, also with many at once and a hook that calls the driver.
func TestWarningsGoToLogrus(t *testing.T) {
	r, d, h := hooked(t, logrus.WarnLevel)
	const each, workers = 8, 8
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := range each {
				id := fmt.Sprintf("layer-%d-%d", worker, i)
				inTheWay(t, r, id)
				if err := d.Create(id, "", nil); err != nil {
					t.Error(err)
				}
				// Opening another one sets the log again, in the midst of all that.
				if i%4 == 0 {
					_ = setLog()
				}
			}
		})
	}
	group.Wait()
	if count := h.about("warning", "exists; removing it first"); count != each*workers {
		t.Errorf("%d warnings of %d: %q", count, each*workers, h.entries)
	}
	for worker := range workers {
		if count := h.about("warning", fmt.Sprintf("layer-%d-0\"", worker)); count != 1 {
			t.Errorf("%d warnings about one layer", count)
		}
	}
}

// A level that logrus would not print is not asked for, one that it would is.
func TestLevelsOfLogrus(t *testing.T) {
	for level, heard := range map[logrus.Level]int{logrus.ErrorLevel: 0, logrus.WarnLevel: 1, logrus.DebugLevel: 1} {
		r, d, h := hooked(t, level)
		inTheWay(t, r, "one")
		must(t, d.Create("one", "", nil))
		if count := h.about("warning", "exists"); count != heard {
			t.Errorf("at %v %d warnings", level, count)
		}
	}
}
