package main

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The limits that issue and README give.
const (
	moreForACall = 2e-6
	ratio        = 1.05
)

// bench is the programs, and a store for them in a folder.
type bench struct{ orlop, inProcess, self, dir, graph, run string }

// compare prints the rows, and tells whether the limits are kept.
func compare(orlop, inProcess string, rounds int, seconds float64) (kept bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "bench-capi")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	b := bench{orlop, inProcess, self, dir, filepath.Join(dir, "graph"), filepath.Join(dir, "run")}
	defer func() {
		// Releases the mount of the driver's home.
		if _, ended := b.command("shutdown"); err == nil {
			err = ended
		}
	}()
	called, err := b.calls(seconds)
	if err != nil {
		return false, err
	}
	streamed, err := b.streams(rounds)
	return called && streamed, err
}

// command runs the command on the store, and measures it.
func (b bench) command(args ...string) (time.Duration, error) {
	return timed(b.orlop, append([]string{"-g", b.graph, "-R", b.run, "-s", "overlay"}, args...)...)
}

// job runs this program on the store, and measures it.
func (b bench) job(name string, args ...string) (time.Duration, error) {
	return timed(b.self, append([]string{name, b.graph, b.run}, args...)...)
}

func timed(program string, args ...string) (time.Duration, error) {
	begin := time.Now()
	output, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, output)
	}
	return time.Since(begin), nil
}

// calls compares the time of a short call.
func (b bench) calls(seconds float64) (bool, error) {
	for i := range 10 {
		if _, err := b.command("create-layer", "-i", "layer-"+strconv.Itoa(i)); err != nil {
			return false, err
		}
	}
	limit := strconv.FormatFloat(seconds, 'f', -1, 64)
	var rust, cgo []float64
	for range 5 {
		a, err := mean(b.inProcess, b.graph, b.run, "sync=none", "", limit, "exists")
		if err != nil {
			return false, err
		}
		c, err := mean(b.self, "exists", b.graph, b.run, limit)
		if err != nil {
			return false, err
		}
		rust, cgo = append(rust, a), append(cgo, c)
	}
	a, c := median(rust), median(cgo)
	kept := c-a <= moreForACall
	fmt.Printf("%-28s rust %8.3f us   go %8.3f us   %+.3f us (limit +%.0f)  %s\n",
		"exists", a*1e6, c*1e6, (c-a)*1e6, moreForACall*1e6, verdict(kept))
	return kept, nil
}

// mean is the mean time that a program prints, in seconds.
func mean(program string, args ...string) (float64, error) {
	output, err := exec.Command(program, args...).Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", program, err)
	}
	first, _, _ := strings.Cut(string(output), " ")
	return strconv.ParseFloat(first, 64)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

func verdict(kept bool) string {
	if kept {
		return "ok"
	}
	return "TOO SLOW"
}

// streams compares import and export.
func (b bench) streams(rounds int) (bool, error) {
	many, large := filepath.Join(b.dir, "many.tar"), filepath.Join(b.dir, "large.tar")
	if err := writeTar(many, 10_000, 4096); err != nil {
		return false, err
	}
	if err := writeTar(large, 16, 16<<20); err != nil {
		return false, err
	}
	all := true
	for _, input := range []struct{ name, path string }{{"10,000 files of 4 KiB", many}, {"16 files of 16 MiB", large}} {
		kept, err := b.stream(input.name, input.path, rounds)
		if err != nil {
			return false, err
		}
		all = all && kept
	}
	return all, nil
}

// stream does so with one tar. The programs take turns, and who is first turns every round.
func (b bench) stream(name, path string, rounds int) (bool, error) {
	out := filepath.Join(b.dir, "out.tar")
	imports := []func() (time.Duration, error){
		func() (time.Duration, error) { return b.command("import-layer", "-r", "-i", "it", "-f", path) },
		func() (time.Duration, error) { return b.job("import", "it", path, "descriptor") },
		func() (time.Duration, error) { return b.job("import", "it", path, "pipe") },
	}
	exports := []func() (time.Duration, error){
		func() (time.Duration, error) { return b.command("diff", "-u", "-f", out, "it") },
		func() (time.Duration, error) { return b.job("export", "it", out, "descriptor") },
		func() (time.Duration, error) { return b.job("export", "it", out, "pipe") },
	}
	var importing, exporting [3][]float64
	// The first round warms the caches.
	for round := range rounds + 1 {
		for turn := range imports {
			who := (round + turn) % len(imports)
			// Nobody pays for what another one has written.
			if _, err := timed("sync"); err != nil {
				return false, err
			}
			in, err := imports[who]()
			if err != nil {
				return false, err
			}
			outward, err := exports[who]()
			if err != nil {
				return false, err
			}
			if err := equal(path, out); err != nil {
				return false, err
			}
			if err := os.Remove(out); err != nil {
				return false, err
			}
			if _, err := b.command("delete-layer", "it"); err != nil {
				return false, err
			}
			if round > 0 {
				importing[who] = append(importing[who], in.Seconds())
				exporting[who] = append(exporting[who], outward.Seconds())
			}
		}
	}
	kept := row("import "+name, importing)
	return row("export "+name, exporting) && kept, nil
}

// row prints the times of the command, and of Go by a descriptor and by a pipe, and tells whether the limit is kept.
func row(name string, times [3][]float64) bool {
	command, descriptor, pipe := median(times[0]), median(times[1]), median(times[2])
	kept := descriptor <= ratio*command
	fmt.Printf("%-28s command %7.1f ms   go %7.1f ms   %.3f (limit %.2f)  %s   by a pipe %.3f\n",
		name, command*1e3, descriptor*1e3, descriptor/command, ratio, verdict(kept), pipe/command)
	return kept
}

// equal fails unless a file has been exported as it was imported.
func equal(a, b string) error {
	_, err := timed("cmp", a, b)
	return err
}

// writeTar writes a tar of files with bytes that do not repeat.
func writeTar(path string, files, size int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	writer := tar.NewWriter(file)
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, size)
	for i := range files {
		header := &tar.Header{Name: fmt.Sprintf("d%d/f%d", i%100, i), Mode: 0o644, Size: int64(size)}
		if err := writer.WriteHeader(header); err != nil {
			return err
		}
		if _, err := random.Read(content); err != nil {
			return err
		}
		if _, err := writer.Write(content); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return file.Close()
}
