// Command mount-container makes a container of an image in the store of storage.conf, mounts it, lists its root directory, and
// deletes it again.
//
//	mount-container IMAGE
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/orlop/orlop/go"
	"go.podman.io/storage/types"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mount-container IMAGE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "mount-container:", err)
		os.Exit(1)
	}
}

func run(image string) (err error) {
	config, err := orlop.LoadConfig(nil)
	if err != nil {
		return err
	}
	defer config.Close()
	store, err := orlop.Open(config)
	if err != nil {
		return err
	}
	defer store.Close()

	container, err := store.CreateContainer(orlop.NewContainer{Image: image})
	if errors.Is(err, types.ErrImageUnknown) {
		return fmt.Errorf("%w; pull it with podman, or load it", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.DeleteContainer(context.Background(), container.ID)) }()

	root, err := store.Mount(container.ID, nil)
	if err != nil {
		return err
	}
	defer func() {
		_, unmounting := store.Unmount(container.ID, false)
		err = errors.Join(err, unmounting)
	}()
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		fmt.Println(entry)
	}
	return nil
}
