package beside

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/orlop/orlop/go"
	"go.podman.io/storage/pkg/lockfile"
)

// tryLock asks for a write lock of the whole file from another process, and tells whether it got it.
const tryLock = `
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("got")
    except BlockingIOError:
        print("refused")
`

// store-format.md 9.1: what the Go library has locked in this process stays locked while a store of ours is opened, used and closed.
func TestGoKeepsItsLocks(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("skipped: needs python3, for a process that asks for a lock")
	}
	graph, libraries := both(t, "overlay")
	if err := libraries[1].createLayer("layer", "", "name"); err != nil {
		t.Fatal(err)
	}
	if _, err := libraries[1].(ours).CreateImage(orlop.NewImage{ID: "image", Layer: "layer"}); err != nil {
		t.Fatal(err)
	}
	if err := libraries[1].createContainer("container", "image", "c", ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"layers", "images", "containers"} {
		path := filepath.Join(graph, "overlay-"+name, name+".lock")
		ask := func() string {
			output, err := exec.Command(python, "-c", tryLock, path).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			return string(output)
		}
		lock, err := lockfile.GetLockFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lock.RLock()
		if answer := ask(); answer != "refused\n" {
			t.Fatalf("%s: before, another process %s", name, answer)
		}
		for range 3 {
			config, err := orlop.LoadConfig(&orlop.ConfigOptions{
				OnlyGiven: true, GraphRoot: graph, RunRoot: filepath.Join(filepath.Dir(graph), "run"), Driver: "overlay",
			})
			if err != nil {
				t.Fatal(err)
			}
			store, err := orlop.Open(config)
			config.Close()
			if err != nil {
				t.Fatal(err)
			}
			for _, list := range []func() error{
				func() error { _, err := store.Layers(); return err },
				func() error { _, err := store.Images(); return err },
				func() error { _, err := store.Containers(); return err },
			} {
				if err := list(); err != nil {
					t.Error(err)
				}
			}
			store.Close()
		}
		if answer := ask(); answer != "refused\n" {
			t.Errorf("%s: the Go library has lost its lock: another process %s", name, answer)
		}
		lock.Unlock()
		if answer := ask(); answer != "got\n" {
			t.Errorf("%s: after unlocking, another process %s", name, answer)
		}
	}
}
