// Command archive-1.24 packs trees and their changes with the Go library of
// 1.24, for the tests to hold the old form of our tars against.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/containers/storage/pkg/archive"
	"github.com/containers/storage/pkg/idtools"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "tree":
		return stream(archive.TarWithOptions(args[0], &archive.TarOptions{}))
	case "upper":
		return stream(archive.TarWithOptions(args[0], &archive.TarOptions{
			WhiteoutFormat: archive.OverlayWhiteoutFormat,
			WhiteoutData:   args[1:],
		}))
	case "export":
		none := &idtools.IDMappings{}
		changes, err := archive.ChangesDirs(args[0], none, args[1], none)
		if err != nil {
			return err
		}
		return stream(archive.ExportChanges(args[0], changes, nil, nil))
	}
	return fmt.Errorf("unknown command %q", command)
}

func stream(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(os.Stdout, r)
	return err
}
