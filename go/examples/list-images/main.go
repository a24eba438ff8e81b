// Command list-images reads storage.conf, as podman does, and lists the images of its store.
//
//	list-images [STORAGE.CONF]
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/orlop/orlop/go"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "list-images:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var options orlop.ConfigOptions
	if len(args) > 0 {
		options.File = args[0]
	}
	config, err := orlop.LoadConfig(&options)
	if err != nil {
		return err
	}
	defer config.Close()
	store, err := orlop.Open(config)
	if err != nil {
		return err
	}
	defer store.Close()
	images, err := store.Images()
	if err != nil {
		return err
	}
	for _, image := range images {
		size, err := store.ImageSize(image.ID)
		if err != nil {
			return err
		}
		fmt.Printf("%.12s  %s  %d bytes  %s\n", image.ID, image.Created.Format("2006-01-02"), size, strings.Join(image.Names, ", "))
	}
	return nil
}
