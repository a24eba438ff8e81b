// Command archive packs, unpacks and compares trees with the Go library, for the tests to hold ours against.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/idtools"
)

func main() {
	if err := options(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// What stands before the command: map=, parent-map= (container:host:size, of users and groups alike) and mask= (octal).
var (
	ownMaps, parentMaps = &idtools.IDMappings{}, &idtools.IDMappings{}
	mask                *os.FileMode
)

func options(args []string) error {
	name, value, isOption := strings.Cut(args[0], "=")
	if !isOption {
		return run(args[0], args[1:])
	}
	switch name {
	case "map", "parent-map":
		list, err := idtools.ParseIDMap([]string{value}, name)
		if err != nil {
			return err
		}
		both := idtools.NewIDMappingsFromMaps(list, list)
		if name == "map" {
			ownMaps = both
		} else {
			parentMaps = both
		}
	case "mask":
		bits, err := strconv.ParseUint(value, 8, 32)
		if err != nil {
			return err
		}
		mode := os.FileMode(bits)
		mask = &mode
	}
	return options(args[1:])
}

func run(command string, args []string) error {
	switch command {
	case "serve":
		return serve()
	case "tree":
		return stream(archive.TarWithOptions(args[0], &archive.TarOptions{UIDMaps: ownMaps.UIDs(), GIDMaps: ownMaps.GIDs()}))
	case "upper":
		return stream(archive.TarWithOptions(args[0], &archive.TarOptions{
			WhiteoutFormat: archive.OverlayWhiteoutFormat,
			WhiteoutData:   args[1:],
			UIDMaps:        ownMaps.UIDs(),
			GIDMaps:        ownMaps.GIDs(),
		}))
	case "changes":
		changes, err := archive.OverlayChanges(args[1:], args[0])
		return list(changes, err)
	case "between":
		changes, err := archive.ChangesDirs(args[0], ownMaps, args[1], parentMaps)
		return list(changes, err)
	case "export":
		changes, err := archive.ChangesDirs(args[0], ownMaps, args[1], parentMaps)
		if err != nil {
			return err
		}
		return stream(archive.ExportChanges(args[0], changes, ownMaps.UIDs(), ownMaps.GIDs()))
	case "unpack":
		return archive.Unpack(os.Stdin, args[0], &archive.TarOptions{
			WhiteoutFormat: archive.OverlayWhiteoutFormat, UIDMaps: ownMaps.UIDs(), GIDMaps: ownMaps.GIDs(), ForceMask: mask,
		})
	case "apply":
		_, err := archive.ApplyUncompressedLayer(args[0], os.Stdin, &archive.TarOptions{UIDMaps: ownMaps.UIDs(), GIDMaps: ownMaps.GIDs()})
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
