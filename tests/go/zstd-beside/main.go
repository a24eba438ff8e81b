// Command zstd-beside links liborlop.a and a Go package that brings its own copy of zstd in C into one program.
// It packs a layer with the one, imports it with the other, and exports it back. Argument: an empty folder.
package main

/*
#include <fcntl.h>
#include <stdlib.h>
#include <orlop.h>

static int32_t open_store(const char *root, const char *run, orlop_store **store, orlop_error **error) {
    orlop_config_options options = {.size = sizeof options, .only_given = 1, .graph_root = root, .run_root = run};
    options.driver = "vfs";
    orlop_config *config = NULL;
    int32_t code = orlop_config_load(&options, &config, error);
    if (code == ORLOP_OK) {
        code = orlop_store_open(config, store, error);
    }
    orlop_config_free(config);
    return code;
}

static int32_t import_layer(orlop_store *store, const char *id, int32_t fd, orlop_error **error) {
    orlop_new_layer layer = {.size = sizeof layer, .id = id};
    return orlop_import_layer(store, &layer, fd, NULL, NULL, error);
}
*/
import "C"

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/DataDog/zstd"
)

func must(code C.int32_t, failure *C.orlop_error) {
	if code < 0 {
		log.Fatalf("%d: %s", code, C.GoString(C.orlop_error_message(failure)))
	}
}

func archive() []byte {
	var packed bytes.Buffer
	writer := tar.NewWriter(&packed)
	content := bytes.Repeat([]byte("content "), 1<<16)
	header := tar.Header{Name: "file", Mode: 0o644, Size: int64(len(content))}
	if err := writer.WriteHeader(&header); err != nil {
		log.Fatal(err)
	}
	if _, err := writer.Write(content); err != nil {
		log.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		log.Fatal(err)
	}
	return packed.Bytes()
}

func main() {
	folder := os.Args[1]
	plain := archive()
	packed, err := zstd.Compress(nil, plain)
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.Create(filepath.Join(folder, "layer"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(packed); err != nil {
		log.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		log.Fatal(err)
	}

	var failure *C.orlop_error
	var store *C.orlop_store
	root, run, id := C.CString(filepath.Join(folder, "root")), C.CString(filepath.Join(folder, "run")), C.CString("base")
	defer C.free(unsafe.Pointer(root))
	defer C.free(unsafe.Pointer(run))
	defer C.free(unsafe.Pointer(id))
	must(C.open_store(root, run, &store, &failure), failure)
	defer C.orlop_store_free(store)
	must(C.import_layer(store, id, C.int32_t(file.Fd()), &failure), failure)

	out, err := os.Create(filepath.Join(folder, "out"))
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	must(C.orlop_export(store, id, nil, C.ORLOP_COMPRESSION_ZSTD, C.int32_t(out.Fd()), nil, nil, &failure), failure)
	exported, err := os.ReadFile(out.Name())
	if err != nil {
		log.Fatal(err)
	}
	again, err := zstd.Decompress(nil, exported)
	if err != nil {
		log.Fatal(err)
	}
	if !bytes.Equal(again, plain) {
		log.Fatal("another tar has come out than went in")
	}
	fmt.Println("the same tar through both copies of zstd")
}
