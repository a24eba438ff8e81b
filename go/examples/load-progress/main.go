// Command load-progress loads the images of an archive into the store of storage.conf, and tells how far it is.
//
//	load-progress ARCHIVE
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/orlop/orlop/go"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: load-progress ARCHIVE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "load-progress:", err)
		os.Exit(1)
	}
}

func run(archive string) error {
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
	progress, err := orlop.NewProgress()
	if err != nil {
		return err
	}
	defer progress.Close()

	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch(progress, done)
	}()
	loaded, err := store.LoadPath(orlop.WithProgress(context.Background(), progress), archive, nil)
	close(done)
	<-watched
	if err != nil {
		return err
	}
	items, err := progress.Items()
	if err != nil {
		return err
	}
	for _, item := range items {
		if item.Note != nil {
			fmt.Printf("%s: %d bytes, %s\n", item.What, item.Done, *item.Note)
		}
	}
	for _, image := range loaded {
		fmt.Println(image.ID, strings.Join(image.Names, ", "))
	}
	return nil
}

// watch prints how far it is, five times in a second, until done.
func watch(progress *orlop.Progress, done <-chan struct{}) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			state, err := progress.Read()
			if err != nil {
				return
			}
			fmt.Fprintf(os.Stderr, "%d of %d layers, %d bytes\n", state.ItemsFinished, state.ItemsStarted, state.BytesDone)
		}
	}
}
