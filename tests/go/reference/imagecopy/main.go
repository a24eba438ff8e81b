// Command imagecopy copies one image file into a containers-storage store
// with the reference image library, so that tests can compare what it
// records with what "orlop load" records. The flag -option KEY=VALUE, as often
// as needed, sets a driver option.
//
//	imagecopy -graph DIR -run DIR [-driver NAME] [-partial] SOURCE NAME
//	imagecopy -graph DIR -run DIR [-driver NAME] -hold DIGEST
//	imagecopy -graph DIR -run DIR [-driver NAME] [-chunked] -out NAME oci:DIR[:TAG]
//
// SOURCE is oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF]
// or docker://HOST:PORT/NAME:TAG, a registry without TLS; with -partial, of its
// layers only what the store lacks is fetched. With -chunked, layers that go
// out are compressed as zstd:chunked, which such a pull needs.
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
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	dockerarchive "go.podman.io/image/v5/docker/archive"
	ociarchive "go.podman.io/image/v5/oci/archive"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/pkg/compression"
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
	partial := flag.Bool("partial", false, "fetch what the store lacks")
	chunked := flag.Bool("chunked", false, "compress as zstd:chunked")
	flag.Parse()
	if *held != "" && *graph != "" && *run != "" {
		if err := hold(*graph, *run, *driver, *held); err != nil {
			fmt.Fprintf(os.Stderr, "imagecopy: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if *out != "" && *graph != "" && *run != "" && flag.NArg() == 1 {
		if err := save(*graph, *run, *driver, options, *chunked, *out, flag.Arg(0)); err != nil {
			fmt.Fprintf(os.Stderr, "imagecopy: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if flag.NArg() != 2 || *graph == "" || *run == "" {
		flag.Usage()
		os.Exit(2)
	}
	id, err := load(*graph, *run, *driver, options, *partial, flag.Arg(0), flag.Arg(1))
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
	case "docker":
		return docker.ParseReference(rest)
	}
	return nil, fmt.Errorf("unknown transport %q", transport)
}

func load(graph, run, driver string, options []string, partial bool, from, name string) (string, error) {
	store, err := storage.GetStore(storage.StoreOptions{
		GraphRoot: graph, RunRoot: run, GraphDriverName: driver, GraphDriverOptions: options,
		PullOptions: map[string]string{"enable_partial_images": strconv.FormatBool(partial)},
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
	if err := copyImage(dst, src, &copy.Options{
		SourceCtx: &types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolTrue},
	}); err != nil {
		return "", err
	}
	stored, err := store.Image(dst.DockerReference().String())
	if err != nil {
		return "", err
	}
	return stored.ID, nil
}

func save(graph, run, driver string, options []string, chunked bool, name, to string) error {
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
	how := &copy.Options{}
	if chunked {
		how.DestinationCtx = &types.SystemContext{CompressionFormat: &compression.ZstdChunked}
		how.ForceCompressionFormat = true
	}
	return copyImage(dst, src, how)
}

func copyImage(dst, src types.ImageReference, how *copy.Options) error {
	policy, err := signature.NewPolicyContext(&signature.Policy{
		Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()},
	})
	if err != nil {
		return err
	}
	defer func() { _ = policy.Destroy() }()
	_, err = copy.Image(context.Background(), policy, dst, src, how)
	return err
}
