package beside

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/orlop/orlop/go"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/reexec"
)

func TestMain(m *testing.M) {
	// The Go library runs its own program again, for what it does in a namespace of its own.
	if reexec.Init() {
		return
	}
	os.Exit(m.Run())
}

// object is a layer or container as both libraries list it.
type object struct {
	Names    []string
	Metadata string
}

// library is one of the two, on the same root.
type library interface {
	String() string
	createLayer(id, parent, name string) error
	createContainer(id, image, name, metadata string) error
	addName(id, name string) error
	mount(id string) (string, error)
	unmount(id string) error
	deleteLayer(id string) error
	deleteContainer(id string) error
	exists(id string) (bool, error)
	layers() (map[string]object, error)
	containers() (map[string]object, error)
	mounted(id string) (int, error)
}

// twice is the error for a list that has an id two times.
var twice = errors.New("an id is listed twice")

type pure struct{ storage.Store }

func (pure) String() string { return "Go" }

func (p pure) createLayer(id, parent, name string) error {
	_, err := p.CreateLayer(id, parent, []string{name}, "", true, nil)
	return err
}

func (p pure) createContainer(id, image, name, metadata string) error {
	_, err := p.CreateContainer(id, []string{name}, image, "", metadata, nil)
	return err
}

func (p pure) addName(id, name string) error   { return p.AddNames(id, []string{name}) }
func (p pure) mount(id string) (string, error) { return p.Mount(id, "") }
func (p pure) deleteLayer(id string) error     { return p.DeleteLayer(id) }
func (p pure) deleteContainer(id string) error { return p.DeleteContainer(id) }
func (p pure) exists(id string) (bool, error)  { return p.Exists(id), nil }
func (p pure) mounted(id string) (int, error)  { return p.Mounted(id) }
func (p pure) unmount(id string) error {
	_, err := p.Unmount(id, false)
	return err
}

func (p pure) layers() (map[string]object, error) {
	list, err := p.Layers()
	found := map[string]object{}
	for _, layer := range list {
		found[layer.ID] = object{layer.Names, layer.Metadata}
	}
	if err == nil && len(found) != len(list) {
		err = twice
	}
	return found, err
}

func (p pure) containers() (map[string]object, error) {
	list, err := p.Containers()
	found := map[string]object{}
	for _, container := range list {
		found[container.ID] = object{container.Names, container.Metadata}
	}
	if err == nil && len(found) != len(list) {
		err = twice
	}
	return found, err
}

type ours struct{ *orlop.Store }

func (ours) String() string { return "orlop" }

func (o ours) createLayer(id, parent, name string) error {
	_, err := o.CreateLayer(orlop.NewLayer{ID: id, Parent: parent, Names: []string{name}})
	return err
}

func (o ours) createContainer(id, image, name, metadata string) error {
	_, err := o.CreateContainer(orlop.NewContainer{ID: id, Image: image, Names: []string{name}, Metadata: metadata})
	return err
}

func (o ours) addName(id, name string) error   { return o.AddNames(id, []string{name}) }
func (o ours) mount(id string) (string, error) { return o.Mount(id, nil) }
func (o ours) deleteLayer(id string) error     { return o.DeleteLayer(context.Background(), id) }
func (o ours) deleteContainer(id string) error { return o.DeleteContainer(context.Background(), id) }
func (o ours) exists(id string) (bool, error)  { return o.Exists(id) }
func (o ours) mounted(id string) (int, error)  { return o.Mounted(id) }
func (o ours) unmount(id string) error {
	_, err := o.Unmount(id, false)
	return err
}

func (o ours) layers() (map[string]object, error) {
	list, err := o.Layers()
	found := map[string]object{}
	for _, layer := range list {
		found[layer.ID] = object{layer.Names, layer.Metadata}
	}
	if err == nil && len(found) != len(list) {
		err = twice
	}
	return found, err
}

func (o ours) containers() (map[string]object, error) {
	list, err := o.Containers()
	found := map[string]object{}
	for _, container := range list {
		found[container.ID] = object{container.Names, container.Metadata}
	}
	if err == nil && len(found) != len(list) {
		err = twice
	}
	return found, err
}

// both opens the two libraries on one new root.
func both(t *testing.T, driver string) (graph string, libraries [2]library) {
	t.Helper()
	if os.Geteuid() != 0 {
		const reason = "needs root, to mount"
		if os.Getenv("ORLOP_NO_SKIP") != "" {
			t.Fatalf("this must not be skipped here: %s", reason)
		}
		t.Skipf("skipped: %s", reason)
	}
	dir := t.TempDir()
	graph, run := dir+"/graph", dir+"/run"
	theirs, err := storage.GetStore(storage.StoreOptions{GraphRoot: graph, RunRoot: run, GraphDriverName: driver})
	if err != nil {
		t.Fatal(err)
	}
	config, err := orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: graph, RunRoot: run, Driver: driver})
	if err != nil {
		t.Fatal(err)
	}
	defer config.Close()
	store, err := orlop.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What a failed test has left mounted, and then the driver's own mount.
		_ = store.Shutdown(true)
		if err := store.Shutdown(true); err != nil {
			t.Errorf("orlop shuts down: %v", err)
		}
		if _, err := theirs.Shutdown(true); err != nil {
			t.Errorf("Go shuts down: %v", err)
		}
		store.Close()
	})
	return graph, [2]library{pure{theirs}, ours{store}}
}
