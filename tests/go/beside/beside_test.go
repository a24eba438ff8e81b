package beside

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/orlop/orlop/go"
)

const goroutines = 12

// duration is ORLOP_BESIDE_SECONDS, or six seconds for each driver.
func duration(t *testing.T) time.Duration {
	seconds := os.Getenv("ORLOP_BESIDE_SECONDS")
	if seconds == "" {
		return 6 * time.Second
	}
	count, err := strconv.Atoi(seconds)
	if err != nil {
		t.Fatalf("ORLOP_BESIDE_SECONDS: %v", err)
	}
	return time.Duration(count) * time.Second
}

// worker does one thing after the other, each by one of the two libraries, and knows what must be there of it.
type worker struct {
	name      string
	libraries [2]library
	random    *rand.Rand
	layers    map[string]object
	// files are the contents that were written into layers.
	files      map[string]string
	containers map[string]object
	next       int
	done       map[string]int
}

func (w *worker) any() library { return w.libraries[w.random.IntN(2)] }

// id is a new id. None is the beginning of another one, which would stand for that one, too.
func (w *worker) id() string {
	w.next++
	return fmt.Sprintf("%s-%06d", w.name, w.next)
}

// one is any of the ids, or empty.
func (w *worker) one(of map[string]object) string {
	ids := slices.Sorted(maps.Keys(of))
	if len(ids) == 0 {
		return ""
	}
	return ids[w.random.IntN(len(ids))]
}

// step does something, and tells by which library and what.
func (w *worker) step() error {
	by := w.any()
	layer := w.one(w.layers)
	container := w.one(w.containers)
	var what, id string
	var err error
	switch chance := w.random.IntN(10); {
	case layer == "" || chance < 2 && len(w.layers) < 5:
		what, id = "creating layer", w.id()
		if err = by.createLayer(id, "base", id+"-name"); err == nil {
			w.layers[id] = object{Names: []string{id + "-name"}}
		}
	case container == "" || chance < 4 && len(w.containers) < 5:
		what, id = "creating container", w.id()
		metadata := "of " + by.String()
		if err = by.createContainer(id, "image", id+"-name", metadata); err == nil {
			w.containers[id] = object{Names: []string{id + "-name"}, Metadata: metadata}
		}
	case chance < 5:
		what, id = "naming layer", layer
		err = w.rename(by, w.layers, id)
	case chance < 6:
		what, id = "naming container", container
		err = w.rename(by, w.containers, id)
	case chance < 8:
		what, id = "writing to layer", layer
		err = w.write(by, id)
	case chance < 9:
		what, id = "deleting layer", layer
		if err = by.deleteLayer(id); err == nil {
			delete(w.layers, id)
			delete(w.files, id)
		}
	default:
		what, id = "deleting container", container
		if err = by.deleteContainer(id); err == nil {
			delete(w.containers, id)
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s by %s: %w", what, id, by, err)
	}
	w.done[what+" by "+by.String()]++
	return w.look(what, id)
}

func (w *worker) rename(by library, of map[string]object, id string) error {
	name := w.id() + "-more"
	if err := by.addName(id, name); err != nil {
		return err
	}
	changed := of[id]
	changed.Names = append([]string{name}, changed.Names...)
	of[id] = changed
	return nil
}

// write mounts a layer by one library, reads what was written before, writes, and gives the mount back by any of the two.
func (w *worker) write(by library, id string) error {
	root, err := by.mount(id)
	if err != nil {
		return err
	}
	path := filepath.Join(root, "file")
	if before, ok := w.files[id]; ok {
		if content, err := os.ReadFile(path); err != nil || string(content) != before {
			return fmt.Errorf("it has %q (%v), %q was written", content, err, before)
		}
	}
	content := w.id()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	w.files[id] = content
	other := w.any()
	if err := other.unmount(id); err != nil {
		return fmt.Errorf("giving the mount back by %s: %w", other, err)
	}
	return nil
}

// look asks both libraries at once whether what was acknowledged is so.
func (w *worker) look(what, id string) error {
	_, layer := w.layers[id]
	_, container := w.containers[id]
	for _, library := range w.libraries {
		exists, err := library.exists(id)
		if err != nil {
			return err
		}
		if exists != (layer || container) {
			return fmt.Errorf("after %s %s: for %s it exists: %v", what, id, library, exists)
		}
	}
	return nil
}

// In one process, many goroutines change one store, each step by the Go library or by orlop. Every step that was acknowledged is
// seen by both at once and still there at the end, nothing else is, and nothing is there twice.
func TestBesideGo(t *testing.T) {
	for _, driver := range []string{"overlay", "vfs"} {
		t.Run(driver, func(t *testing.T) { beside(t, driver) })
	}
}

func beside(t *testing.T, driver string) {
	_, libraries := both(t, driver)
	ours := libraries[1].(ours)
	if _, err := ours.CreateLayer(orlop.NewLayer{ID: "base", ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.CreateImage(orlop.NewImage{ID: "image", Layer: "base"}); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	end := time.Now().Add(duration(t))
	workers := make([]*worker, goroutines)
	var group sync.WaitGroup
	for i := range workers {
		w := &worker{
			name: fmt.Sprintf("w%d", i), libraries: libraries, random: rand.New(rand.NewPCG(seed, uint64(i))),
			layers: map[string]object{}, containers: map[string]object{}, files: map[string]string{}, done: map[string]int{},
		}
		workers[i] = w
		group.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				if err := w.step(); err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
			}
		})
	}
	group.Wait()

	layers, containers, done := map[string]object{"base": {}}, map[string]object{}, map[string]int{}
	for _, w := range workers {
		maps.Copy(layers, w.layers)
		maps.Copy(containers, w.containers)
		for what, count := range w.done {
			done[what] += count
		}
	}
	t.Logf("done: %v", done)
	for _, library := range libraries {
		listed, err := library.containers()
		compare(t, library.String()+"'s containers", listed, containers, err)
		listed, err = library.layers()
		if err != nil {
			t.Fatal(err)
		}
		// Those of containers have ids that the libraries chose.
		own := 0
		for id := range listed {
			if _, ok := layers[id]; !ok {
				own++
				delete(listed, id)
			}
		}
		if own != len(containers) {
			t.Errorf("%s has %d layers of containers, of which there are %d", library, own, len(containers))
		}
		compare(t, library.String()+"'s layers", listed, layers, nil)
		for id := range layers {
			if count, err := library.mounted(id); err != nil || count != 0 {
				t.Errorf("%s: layer %s is mounted %d times: %v", library, id, count, err)
			}
		}
	}
	for _, w := range workers {
		for id := range w.files {
			for _, library := range libraries {
				if err := w.write(library, id); err != nil {
					t.Errorf("%s: %s by %s: %v", w.name, id, library, err)
				}
			}
		}
	}
	for _, what := range []string{"creating layer", "creating container", "naming layer", "writing to layer", "deleting layer", "deleting container"} {
		for _, library := range libraries {
			if done[what+" by "+library.String()] == 0 {
				t.Errorf("no %s by %s", what, library)
			}
		}
	}
}

func compare(t *testing.T, what string, listed, expected map[string]object, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	for id, object := range expected {
		is, ok := listed[id]
		if !ok {
			t.Errorf("%s: %s is lost", what, id)
		} else if !slices.Equal(is.Names, object.Names) || !reflect.DeepEqual(is.Metadata, object.Metadata) {
			t.Errorf("%s: %s is %+v, not %+v", what, id, is, object)
		}
	}
	for id := range listed {
		if _, ok := expected[id]; !ok {
			t.Errorf("%s: %s should not be there", what, id)
		}
	}
}
