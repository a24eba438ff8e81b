// Command export-layer writes a layer of the store of storage.conf, by id or name, or the top layer of an image, to standard output
// as a tar, zstd-compressed.
//
//	export-layer LAYER|IMAGE >layer.tar.zst
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/orlop/orlop/go"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: export-layer LAYER|IMAGE >layer.tar.zst")
		os.Exit(2)
	}
	// Control-C ends the call, and with it the program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "export-layer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, id string) error {
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
	object, err := store.Lookup(id)
	if err != nil {
		return err
	}
	if object.Image != nil {
		id = object.Image.TopLayer
	}
	// The library writes to a file by itself; any other io.Writer does as well.
	bytes, err := store.Export(ctx, id, &orlop.ExportOptions{Compression: orlop.CompressionZstd}, os.Stdout)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, bytes, "bytes before compression")
	return nil
}
