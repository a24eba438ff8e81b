package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/orlop/orlop/go"
)

// jobs are what the program does when it measures itself.
var jobs = map[string]func(args []string) error{"exists": exists, "import": importLayer, "export": exportLayer}

func open(graph, run string) (*orlop.Store, error) {
	config, err := orlop.LoadConfig(&orlop.ConfigOptions{OnlyGiven: true, GraphRoot: graph, RunRoot: run, Driver: "overlay"})
	if err != nil {
		return nil, err
	}
	defer config.Close()
	return orlop.Open(config)
}

// exists GRAPH RUN SECONDS: prints the mean time of a call in seconds, as benches/in-process/main.rs does, which has the same loop.
func exists(args []string) error {
	store, err := open(args[0], args[1])
	if err != nil {
		return err
	}
	defer store.Close()
	seconds, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return err
	}
	begin, count := time.Now(), 0
	for count < 3 || time.Since(begin).Seconds() < seconds {
		found, err := store.Exists("layer-7")
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("layer-7 is not there")
		}
		count++
	}
	fmt.Printf("%.9f %d\n", time.Since(begin).Seconds()/float64(count), count)
	return nil
}

// importLayer GRAPH RUN ID FILE WAY: what "orlop import-layer" does, by the file's descriptor or by a pipe, as the way says.
func importLayer(args []string) error {
	store, err := open(args[0], args[1])
	if err != nil {
		return err
	}
	defer store.Close()
	file, err := os.Open(args[3])
	if err != nil {
		return err
	}
	defer file.Close()
	var reader io.Reader = file
	if args[4] == "pipe" {
		reader = struct{ io.Reader }{file}
	}
	_, err = store.ImportLayer(context.Background(), orlop.NewLayer{ID: args[2], ReadOnly: true}, reader)
	return err
}

// exportLayer GRAPH RUN ID FILE WAY: what "orlop diff -u" does, by the file's descriptor or by a pipe, as the way says.
func exportLayer(args []string) error {
	store, err := open(args[0], args[1])
	if err != nil {
		return err
	}
	defer store.Close()
	file, err := os.Create(args[3])
	if err != nil {
		return err
	}
	defer file.Close()
	var writer io.Writer = file
	if args[4] == "pipe" {
		writer = struct{ io.Writer }{file}
	}
	if _, err = store.Export(context.Background(), args[2], nil, writer); err != nil {
		return err
	}
	return file.Close()
}
