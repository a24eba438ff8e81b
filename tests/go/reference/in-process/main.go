// Command in-process carries out one operation of the reference library again
// and again in one process, for "make bench"; its twin for orlop is
// benches/in-process/main.rs.
//
//	in-process GRAPH RUN OPTION TAR SECONDS OPERATION
//
// It prints the mean of the operation's wall clock and processor time, in
// seconds, and how often it was carried out.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"go.podman.io/storage"
	graphdriver "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/idtools"
	"go.podman.io/storage/pkg/reexec"
)

func main() {
	if reexec.Init() {
		return
	}
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "usage: in-process GRAPH RUN OPTION TAR SECONDS OPERATION")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]); err != nil {
		fmt.Fprintf(os.Stderr, "in-process: %v\n", err)
		os.Exit(1)
	}
}

func run(graph, runRoot, option, tar, limit, name string) error {
	seconds, err := strconv.ParseFloat(limit, 64)
	if err != nil {
		return err
	}
	store, err := storage.GetStore(storage.StoreOptions{
		GraphRoot: graph, RunRoot: runRoot, GraphDriverName: "overlay", GraphDriverOptions: []string{option},
	})
	if err != nil {
		return err
	}
	operation, err := prepared(store, tar, name)
	if err != nil {
		return err
	}
	begin, aside, count := now(), spent{}, 0
	for count < 3 || begin.untilNow().wall.Seconds() < seconds {
		if operation.before != nil {
			from := now()
			if err := operation.before(); err != nil {
				return err
			}
			took := from.untilNow()
			aside.wall += took.wall
			aside.cpu += took.cpu
		}
		if err := operation.measured(); err != nil {
			return err
		}
		count++
	}
	all := begin.untilNow()
	mean := func(all, aside time.Duration) float64 { return (all - aside).Seconds() / float64(count) }
	fmt.Printf("%.9f %.9f %d\n", mean(all.wall, aside.wall), mean(all.cpu, aside.cpu), count)
	return nil
}

// spent is time of the clock and of all processors, this process's and its
// children's, from some point on.
type spent struct{ wall, cpu time.Duration }

var start = time.Now()

func now() spent {
	cpu := time.Duration(0)
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			panic(err) // it has no other way to fail than by its arguments
		}
		cpu += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return spent{time.Since(start), cpu}
}

func (s spent) untilNow() spent {
	end := now()
	return spent{end.wall - s.wall, end.cpu - s.cpu}
}

type operation struct {
	before   func() error // what each one needs done that does not count, or nil
	measured func() error
}

// prepared is the operation of that name, with what all of them need done.
func prepared(store storage.Store, tar, name string) (operation, error) {
	if name == "change owners" {
		return changeOwners(store, tar)
	}
	measured, err := alone(store, tar, name)
	return operation{nil, measured}, err
}

// alone is an operation that can follow itself.
func alone(store storage.Store, tar, name string) (func() error, error) {
	switch name {
	case "create, delete layer":
		return func() error {
			layer, err := store.CreateLayer("", "", nil, "", true, nil)
			if err != nil {
				return err
			}
			return store.DeleteLayer(layer.ID)
		}, nil
	case "list layers":
		return func() error {
			_, err := store.Layers()
			return err
		}, nil
	case "look up layer":
		return func() error {
			_, err := store.Layer("layer-7")
			return err
		}, nil
	case "import, delete tar":
		return func() error {
			id, err := importLayer(store, tar)
			if err != nil {
				return err
			}
			return store.DeleteLayer(id)
		}, nil
	case "export tar":
		id, err := importLayer(store, tar)
		return func() error { return export(store, id) }, err
	case "mount, unmount":
		layer, err := store.CreateLayer("", "", nil, "", true, nil)
		if err != nil {
			return nil, err
		}
		return func() error {
			if _, err := store.Mount(layer.ID, ""); err != nil {
				return err
			}
			_, err := store.Unmount(layer.ID, false)
			return err
		}, nil
	case "get, put of 10 layers":
		return getAndPut(store, 10)
	case "get, put of 400 layers":
		return getAndPut(store, 400)
	case "diff of a container":
		_, id, err := changedContainer(store, tar)
		return func() error { return export(store, id) }, err
	case "changes of a container":
		_, id, err := changedContainer(store, tar)
		return func() error {
			_, err := store.Changes("", id)
			return err
		}, err
	case "size of a container":
		_, id, err := changedContainer(store, tar)
		return func() error {
			_, err := store.DiffSize("", id)
			return err
		}, err
	case "changes over the base":
		base, id, err := changedContainer(store, tar)
		return func() error {
			_, err := store.Changes(base, id)
			return err
		}, err
	case "changes over another layer":
		_, id, err := changedContainer(store, tar)
		if err != nil {
			return nil, err
		}
		other, err := importLayer(store, tar)
		return func() error {
			_, err := store.Changes(other, id)
			return err
		}, err
	case "create, delete container":
		return func() error {
			container, err := store.CreateContainer("", nil, "", "", "", nil)
			if err != nil {
				return err
			}
			return store.DeleteContainer(container.ID)
		}, nil
	}
	return nil, fmt.Errorf("no operation %q", name)
}

// getAndPut mounts and unmounts a chain of that many layers, without the records of a store.
func getAndPut(store storage.Store, layers int) (func() error, error) {
	driver, err := store.GraphDriver()
	if err != nil {
		return nil, err
	}
	top, parent := "", ""
	for n := 1; n <= layers; n++ {
		create := driver.Create
		if n == layers {
			create = driver.CreateReadWrite
		}
		top = fmt.Sprintf("%064x", n)
		if !driver.Exists(top) {
			if err := create(top, parent, nil); err != nil {
				return nil, err
			}
		}
		parent = top
	}
	return func() error {
		if _, err := driver.Get(top, graphdriver.MountOpts{}); err != nil {
			return err
		}
		return driver.Put(top)
	}, nil
}

// changeOwners gives a new layer over one with the tar's content other id maps,
// by which all files get other owners.
func changeOwners(store storage.Store, tar string) (operation, error) {
	base, err := importLayer(store, tar)
	if err != nil {
		return operation{}, err
	}
	driver, err := store.GraphDriver()
	if err != nil {
		return operation{}, err
	}
	layer := fmt.Sprintf("%064x", 1)
	maps := []idtools.IDMap{{ContainerID: 0, HostID: 100_000, Size: 65_536}}
	toHost := idtools.NewIDMappingsFromMaps(maps, maps)
	before := func() error {
		if driver.Exists(layer) {
			if err := driver.Remove(layer); err != nil {
				return err
			}
		}
		return driver.CreateReadWrite(layer, base, nil)
	}
	measured := func() error { return driver.UpdateLayerIDMap(layer, nil, toHost, "") }
	return operation{before, measured}, nil
}

func importLayer(store storage.Store, tar string) (string, error) {
	file, err := os.Open(tar)
	if err != nil {
		return "", err
	}
	defer file.Close()
	layer, _, err := store.PutLayer("", "", nil, "", false, nil, file)
	if err != nil {
		return "", err
	}
	return layer.ID, nil
}

func export(store storage.Store, id string) error {
	plain := archive.Uncompressed
	stream, err := store.Diff("", id, &storage.DiffOptions{Compression: &plain})
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return err
	}
	return stream.Close()
}

// changedContainer makes a layer with the tar's content and one two layers
// above it, in which programs changed some files and renamed a directory.
func changedContainer(store storage.Store, tar string) (string, string, error) {
	base, err := importLayer(store, tar)
	if err != nil {
		return "", "", err
	}
	image, err := store.CreateLayer("", base, nil, "", false, nil)
	if err != nil {
		return "", "", err
	}
	container, err := store.CreateLayer("", image.ID, nil, "", true, nil)
	if err != nil {
		return "", "", err
	}
	merged, err := store.Mount(container.ID, "")
	if err != nil {
		return "", "", err
	}
	if err := change(merged); err != nil {
		return "", "", err
	}
	_, err = store.Unmount(container.ID, false)
	return base, container.ID, err
}

func change(merged string) error {
	var files []string
	err := filepath.WalkDir(merged, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(files)
	for number, file := range files {
		var err error
		switch number % 1000 {
		case 0, 500:
			err = os.Chmod(file, 0o600)
		case 1:
			err = appendTo(file)
		case 2:
			err = os.Remove(file)
		}
		if err != nil {
			return err
		}
	}
	// Refused by a mount without redirects.
	if len(files) > 0 {
		folder := filepath.Dir(files[len(files)-1])
		_ = os.Rename(folder, filepath.Join(filepath.Dir(folder), "renamed"))
	}
	return nil
}

func appendTo(path string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString("more")
	return errors.Join(err, file.Close())
}
