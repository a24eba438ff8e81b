package orlop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orlop/orlop/go"
)

// The examples are built and run on a store of their own.
func TestExamples(t *testing.T) {
	needRoot(t)
	programs := t.TempDir()
	if output, err := exec.Command("go", "build", "-tags", "orlop_checkout", "-o", programs+"/", "./examples/...").CombinedOutput(); err != nil {
		t.Fatalf("building the examples: %v: %s", err, output)
	}
	r := newRoots(t)
	store := r.open(t, "overlay")
	conf := written(t, fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", r.graph, r.run))
	run := func(t *testing.T, input *os.File, name string, args ...string) (stdout, stderr string, err error) {
		var out, errs bytes.Buffer
		command := exec.Command(filepath.Join(programs, name), args...)
		command.Env = []string{"PATH=" + os.Getenv("PATH"), "CONTAINERS_STORAGE_CONF=" + conf}
		command.Stdout, command.Stderr = &out, &errs
		if input != nil {
			command.Stdin = input
		}
		err = command.Run()
		return out.String(), errs.String(), err
	}
	want := func(t *testing.T, text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("no %q in %q", part, text)
			}
		}
	}
	const image = "localhost/orlop/tour:1"

	out, errs, err := run(t, nil, "load-progress", demoImage(t))
	if err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	want(t, out, image, "bytes, done")
	record := got(store.Image(image))(t)

	for _, args := range [][]string{nil, {conf}} {
		out, errs, err = run(t, nil, "list-images", args...)
		if err != nil {
			t.Fatalf("%v: %s", err, errs)
		}
		want(t, out, record.ID[:12], image)
	}

	out, errs, err = run(t, nil, "mount-container", image)
	if err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	want(t, out, "d bin/")
	if left := got(store.Containers())(t); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	_, errs, err = run(t, nil, "mount-container", "none")
	if err == nil {
		t.Error("there is no such image")
	}
	want(t, errs, "image not known", "pull it")

	out, errs, err = run(t, nil, "export-layer", image)
	if err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	want(t, errs, "bytes before compression")
	top := got(store.Layer(record.TopLayer))(t)
	got(store.ImportLayer(context.Background(), orlop.NewLayer{ExpectedDiffDigest: top.UncompressedDigest}, strings.NewReader(out)))(t)

	before := len(got(store.Layers())(t))
	reader, writer, err := os.Pipe()
	must(t, err)
	go endless(writer)
	_, errs, err = run(t, reader, "cancel-import", "300ms")
	must(t, reader.Close())
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	want(t, errs, "nothing is left")
	if after := len(got(store.Layers())(t)); after != before {
		t.Errorf("%d layers, before %d", after, before)
	}
	file := got(os.Open(written(t, string(tarOf(t, [2]string{"one", "1"})))))(t)
	defer file.Close()
	out, errs, err = run(t, file, "cancel-import", "1m")
	if err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	want(t, out, "sha256:")
}
