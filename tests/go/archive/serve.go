package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/vbatts/tar-split/archive/tar"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/tarlog"
	"golang.org/x/sys/unix"
)

// serve unpacks archives as fast as they come. A request is a line "unpack|apply LENGTH DIRECTORY" and that many bytes, the
// answer a line: "ok", the digest of what went by and the ids that the layer's record would list, or "error" and why, quoted.
func serve() error {
	in := bufio.NewReader(os.Stdin)
	outside, err := os.Open("/")
	if err != nil {
		return err
	}
	for {
		var command, dir string
		var length int
		if _, err := fmt.Fscanf(in, "%s %d %s\n", &command, &length, &dir); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		layer := make([]byte, length)
		if _, err := io.ReadFull(in, layer); err != nil {
			return err
		}
		facts, err := confined(outside, dir, func() (string, error) { return applyDiff(command, layer) })
		if err != nil {
			fmt.Printf("error %q\n", err.Error())
		} else {
			fmt.Printf("ok %s\n", facts)
		}
	}
}

// confined runs do with dir for its root, as the library does in a process of its own.
func confined(outside *os.File, dir string, do func() (string, error)) (string, error) {
	if err := unix.Chroot(dir); err != nil {
		return "", err
	}
	if err := unix.Chdir("/"); err != nil {
		return "", err
	}
	facts, err := do()
	if e := unix.Fchdir(int(outside.Fd())); e != nil {
		panic(e)
	}
	if e := unix.Chroot("."); e != nil {
		panic(e)
	}
	return facts, err
}

// applyDiff puts together what the library's function of that name does with an uncompressed layer.
func applyDiff(command string, layer []byte) (facts string, err error) {
	uids, gids := map[int]struct{}{}, map[int]struct{}{}
	ids, err := tarlog.NewLogger(func(h *tar.Header) {
		if !strings.HasPrefix(path.Base(h.Name), archive.WhiteoutPrefix) {
			uids[int(uint32(h.Uid))] = struct{}{}
			gids[int(uint32(h.Gid))] = struct{}{}
		}
	})
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	seen := io.TeeReader(bytes.NewReader(layer), io.MultiWriter(ids, digest))
	payload, done, err := asm.NewInputTarStreamWithDone(seen, storage.NewJSONPacker(io.Discard), storage.NewDiscardFilePutter())
	if err != nil {
		return "", err
	}
	err = unpackInto(command, payload)
	if err == nil {
		_, err = io.Copy(io.Discard, payload)
	}
	payload.Close()
	if e := <-done; err == nil {
		err = e
	}
	ids.Close()
	sorted := func(set map[int]struct{}) []int { return slices.Sorted(maps.Keys(set)) }
	return fmt.Sprintf("sha256:%x %v %v", digest.Sum(nil), sorted(uids), sorted(gids)), err
}

func unpackInto(command string, payload io.Reader) error {
	if command == "unpack" {
		return archive.Unpack(payload, "/", &archive.TarOptions{WhiteoutFormat: archive.OverlayWhiteoutFormat})
	}
	temp, err := os.MkdirTemp("/", "temp-storage-extract")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	os.Setenv("TMPDIR", temp)
	_, err = archive.UnpackLayer("/", payload, &archive.TarOptions{})
	return err
}
