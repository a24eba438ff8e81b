// Command imagecopy copies one image file into a containers-storage store
// with the reference image library, so that tests can compare what it
// records with what "orlop load" records. The flag -option KEY=VALUE, as often
// as needed, sets a driver option.
//
//	imagecopy -graph DIR -run DIR [-driver NAME] SOURCE NAME
//	imagecopy -graph DIR -run DIR [-driver NAME] -hold DIGEST
//	imagecopy -graph DIR -run DIR [-driver NAME] -out NAME oci:DIR[:TAG]
//
// SOURCE is oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:REF].
// NAME may be empty ("-"): the image is then stored without a name.
// The second form takes the lock of a digest, says so, and holds it until its
// standard input ends. The third form copies an image out of the store.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/copy"
	dockerarchive "go.podman.io/image/v5/docker/archive"
	ociarchive "go.podman.io/image/v5/oci/archive"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	imagestorage "go.podman.io/image/v5/storage"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/reexec"
)

func main() {
	if reexec.Init() {
		return
	}
	var options []string
	flag.Func("option", "storage driver option", func(option string) error {
		options = append(options, option)
		return nil
	})
	graph := flag.String("graph", "", "graph root")
	run := flag.String("run", "", "run root")
	driver := flag.String("driver", "overlay", "storage driver")
	held := flag.String("hold", "", "digest whose lock to hold")
	out := flag.String("out", "", "image to copy out of the store")
	flag.Parse()
	if *held != "" && *graph != "" && *run != "" {
		if err := hold(*graph, *run, *driver, *held); err != nil {
			fmt.Fprintf(os.Stderr, "imagecopy: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if *out != "" && *graph != "" && *run != "" && flag.NArg() == 1 {
		if err := save(*graph, *run, *driver, options, *out, flag.Arg(0)); err != nil {
			fmt.Fprintf(os.Stderr, "imagecopy: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if flag.NArg() != 2 || *graph == "" || *run == "" {
		flag.Usage()
		os.Exit(2)
	}
	id, err := load(*graph, *run, *driver, options, flag.Arg(0), flag.Arg(1))
	if err != nil {
		fmt.Fprintf(os.Stderr, "imagecopy: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(id)
}

func hold(graph, run, driver, text string) error {
	store, err := storage.GetStore(storage.StoreOptions{
		GraphRoot: graph, RunRoot: run, GraphDriverName: driver,
	})
	if err != nil {
		return err
	}
	parsed, err := digest.Parse(text)
	if err != nil {
		return err
	}
	lock, err := store.GetDigestLock(parsed)
	if err != nil {
		return err
	}
	lock.Lock()
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	lock.Unlock()
	return nil
}

func source(text string) (types.ImageReference, error) {
	transport, rest, found := strings.Cut(text, ":")
	if !found {
		return nil, fmt.Errorf("no transport in %q", text)
	}
	switch transport {
	case "oci":
		return ocilayout.ParseReference(rest)
	case "oci-archive":
		return ociarchive.ParseReference(rest)
	case "docker-archive":
		return dockerarchive.ParseReference(rest)
	}
	return nil, fmt.Errorf("unknown transport %q", transport)
}

func load(graph, run, driver string, options []string, from, name string) (string, error) {
	store, err := storage.GetStore(storage.StoreOptions{
		GraphRoot: graph, RunRoot: run, GraphDriverName: driver, GraphDriverOptions: options,
	})
	if err != nil {
		return "", err
	}
	defer func() { _, _ = store.Shutdown(false) }()
	src, err := source(from)
	if err != nil {
		return "", err
	}
	if name == "-" {
		return "", fmt.Errorf("an image needs a name here")
	}
	dst, err := imagestorage.Transport.ParseStoreReference(store, name)
	if err != nil {
		return "", err
	}
	if err := copyImage(dst, src); err != nil {
		return "", err
	}
	stored, err := store.Image(dst.DockerReference().String())
	if err != nil {
		return "", err
	}
	return stored.ID, nil
}

func save(graph, run, driver string, options []string, name, to string) error {
	store, err := storage.GetStore(storage.StoreOptions{
		GraphRoot: graph, RunRoot: run, GraphDriverName: driver, GraphDriverOptions: options,
	})
	if err != nil {
		return err
	}
	defer func() { _, _ = store.Shutdown(false) }()
	src, err := imagestorage.Transport.ParseStoreReference(store, name)
	if err != nil {
		return err
	}
	dst, err := source(to)
	if err != nil {
		return err
	}
	return copyImage(dst, src)
}

func copyImage(dst, src types.ImageReference) error {
	policy, err := signature.NewPolicyContext(&signature.Policy{
		Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()},
	})
	if err != nil {
		return err
	}
	defer func() { _ = policy.Destroy() }()
	_, err = copy.Image(context.Background(), policy, dst, src, &copy.Options{})
	return err
}
