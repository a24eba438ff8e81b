// Command cancel-import makes a layer of the tar on standard input, in the store of storage.conf, but gives up after some time, or
// at Control-C. Then nothing is left of it.
//
//	cancel-import DURATION <layer.tar
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/orlop/orlop/go"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cancel-import DURATION <layer.tar")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cancel-import:", err)
		os.Exit(1)
	}
}

func run(limit string) error {
	duration, err := time.ParseDuration(limit)
	if err != nil {
		return err
	}
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

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	layer, err := store.ImportLayer(ctx, orlop.NewLayer{ReadOnly: true}, os.Stdin)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no end of the tar within %v; nothing is left of it", duration)
	}
	if err != nil {
		return err
	}
	fmt.Println(layer.ID, layer.UncompressedDigest)
	return nil
}
