package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// bench is the programs, a store for them in a folder, and how long to measure.
type bench struct {
	orlop, inProcess, self string
	dir, graph, run        string
	rounds                 int
	each                   time.Duration
	seconds                float64
}

// compare prints the rows, and tells the worst verdict of them.
func (b *bench) compare(parent string) (worst verdict, err error) {
	if b.self, err = os.Executable(); err != nil {
		return 0, err
	}
	if b.dir, err = os.MkdirTemp(parent, "bench-capi"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(b.dir)
	if !inMemory(b.dir) {
		fmt.Printf("%s is not memory: how a disk takes what is written will blur the figures.\n", parent)
	}
	b.graph, b.run = filepath.Join(b.dir, "graph"), filepath.Join(b.dir, "run")
	defer func() {
		// Releases the mount of the driver's home.
		if _, ended := b.command("shutdown"); err == nil {
			err = ended
		}
	}()
	for _, part := range []func() (verdict, error){b.calls, b.starts, b.streams} {
		found, err := part()
		if err != nil {
			return 0, err
		}
		worst = max(worst, found)
	}
	return worst, nil
}

// command runs the command on the store, and measures it.
func (b *bench) command(args ...string) (cost, error) {
	return measured(b.orlop, append([]string{"-g", b.graph, "-R", b.run, "-s", "overlay"}, args...)...)
}

// job runs this program on the store, and measures it.
func (b *bench) job(name string, args ...string) (cost, error) {
	return measured(b.self, append([]string{name, b.graph, b.run}, args...)...)
}

// inMemory tells whether a path is on a tmpfs.
func inMemory(path string) bool {
	const tmpfs = 0x01021994 // statfs(2)
	var stat syscall.Statfs_t
	return syscall.Statfs(path, &stat) == nil && stat.Type == tmpfs
}
