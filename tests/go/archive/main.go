// Command archive packs, unpacks and compares trees with the Go library, for the tests to hold ours against.
package main

import (
	"fmt"
	"io"
	"os"

	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/idtools"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "serve":
		return serve()
	case "tree":
		return stream(archive.TarWithOptions(args[0], &archive.TarOptions{}))
	case "upper":
		return stream(archive.TarWithOptions(args[0], &archive.TarOptions{
			WhiteoutFormat: archive.OverlayWhiteoutFormat,
			WhiteoutData:   args[1:],
		}))
	case "changes":
		changes, err := archive.OverlayChanges(args[1:], args[0])
		return list(changes, err)
	case "between":
		changes, err := archive.ChangesDirs(args[0], &idtools.IDMappings{}, args[1], &idtools.IDMappings{})
		return list(changes, err)
	case "export":
		changes, err := archive.ChangesDirs(args[0], &idtools.IDMappings{}, args[1], &idtools.IDMappings{})
		if err != nil {
			return err
		}
		return stream(archive.ExportChanges(args[0], changes, nil, nil))
	case "unpack":
		return archive.Unpack(os.Stdin, args[0], &archive.TarOptions{WhiteoutFormat: archive.OverlayWhiteoutFormat})
	case "apply":
		_, err := archive.ApplyUncompressedLayer(args[0], os.Stdin, &archive.TarOptions{})
		return err
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

func list(changes []archive.Change, err error) error {
	for _, change := range changes {
		fmt.Println(change.String())
	}
	return err
}
