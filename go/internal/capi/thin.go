package capi

// #include <orlop.h>
//
// int32_t orlop_go_put(void *userdata, char *digest, int32_t fd, uint64_t bytes);
// int32_t orlop_go_status(void *userdata, char *digest, uint32_t *publication);
import "C"

import (
	"context"
	"errors"
	"io"
	"runtime/cgo"
	"syscall"
	"time"
	"unsafe"
)

// ThinJSON checks a thin.json, and gives it as it is to be written.
func ThinJSON(document []byte) ([]byte, error) {
	return ofDocument(document, func(data *C.uint8_t, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_thin_json(data, C.size_t(len(document)), buf, e)
	})
}

// ThinArchive makes the tar of a thin image's layer.
func ThinArchive(document []byte) ([]byte, error) {
	return ofDocument(document, func(data *C.uint8_t, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_thin_archive(data, C.size_t(len(document)), buf, e)
	})
}

func ofDocument(document []byte, run func(data *C.uint8_t, buf *C.orlop_buf, e **C.orlop_error) C.int32_t) ([]byte, error) {
	var a arena
	defer a.done()
	data := a.bytes(document)
	if data == nil {
		data = (*C.uint8_t)(a.array(1, 1))
	}
	var buf C.orlop_buf
	var e *C.orlop_error
	if err := failure(run(data, &buf, &e), e); err != nil {
		return nil, err
	}
	return take(&buf), nil
}

// Publication is how far the publishing of a layer is.
type Publication uint32

// How far it can be.
const (
	PublicationUnderWay Publication = C.ORLOP_PUBLICATION_UNDER_WAY
	PublicationDone     Publication = C.ORLOP_PUBLICATION_DONE
	PublicationUnknown  Publication = C.ORLOP_PUBLICATION_UNKNOWN
)

// LayerUpload takes layers and publishes them in a repository.
type LayerUpload interface {
	// Repository is where the layers appear, such as "unpacked.cern.ch": each in the folder "layers", under the hexadecimal digits of
	// its digest.
	Repository() string
	// Put takes a layer, a gzip-compressed tar with that digest, which may have been taken before. The layer is gone when it returns.
	Put(ctx context.Context, digest string, layer *io.SectionReader) error
	// Status tells how far the layer with that digest is.
	Status(ctx context.Context, digest string) (Publication, error)
}

// MakeThinOptions are how a thin image is made.
type MakeThinOptions struct {
	Name    string
	TempDir string
	Pause   time.Duration
	Limit   time.Duration
}

// MakeThin has the layers of an image published, and reads the thin image that it makes ("id", "names").
func (s *Store) MakeThin(ctx context.Context, progress *Progress, image string, upload LayerUpload, m MakeThinOptions, made any) error {
	if upload == nil {
		return refusal("making a thin image: there is nobody who takes the layers")
	}
	var a arena
	defer a.done()
	id := a.text(image)
	options := &C.struct_orlop_make_thin_options{
		size:     C.sizeof_struct_orlop_make_thin_options,
		name:     a.optional(m.Name),
		temp_dir: a.optional(m.TempDir),
		pause_ms: a.units(m.Pause, time.Millisecond),
		limit_s:  a.units(m.Limit, time.Second),
	}
	return watched(ctx, progress, func(o *operation) error {
		u := &uploading{o: o, to: upload}
		handle := cgo.NewHandle(u)
		defer handle.Delete()
		// C keeps a number that stands for u.
		userdata := a.array(1, unsafe.Sizeof(handle))
		*(*cgo.Handle)(userdata) = handle
		how := &C.struct_orlop_layer_upload{
			size:       C.sizeof_struct_orlop_layer_upload,
			repository: a.text(upload.Repository()),
			put:        (*[0]byte)(C.orlop_go_put),
			status:     (*[0]byte)(C.orlop_go_status),
			userdata:   userdata,
		}
		err := s.json(&a, made, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
			return C.orlop_make_thin(store, id, how, options, o.c, buf, e)
		})
		if u.failed.panicked != nil {
			panic(u.failed.panicked)
		}
		return o.verdict(err, u.failed.err, reading)
	})
}

// units is a time in whole units, at least one of what is more than nothing.
func (a *arena) units(d, unit time.Duration) C.uint32_t {
	count := (d + unit - 1) / unit
	if (d < 0 || count > 1<<32-1) && a.err == nil {
		a.err = refusal("taking " + d.String() + ": it is too short or too long a time")
	}
	return C.uint32_t(count)
}

// uploading is an upload that the library calls, by one thread at a time.
type uploading struct {
	o  *operation
	to LayerUpload
	// failed is what went wrong first.
	failed outcome
}

// run has a function of the caller's do its work in a goroutine of its own, so that whatever it ends in does not end the library's
// call; it gives the errno of what went wrong. After is run when the function has returned.
func (u *uploading) run(work func() error, after func()) C.int32_t {
	served, returned := wait(u.o.ctx, beside(work, func(outcome) { after() }))
	if !returned {
		served.err = u.o.ctx.Err()
	}
	if !served.failed() {
		return 0
	}
	if !u.failed.failed() {
		u.failed = served
	}
	var errno syscall.Errno
	if errors.As(served.err, &errno) && errno != 0 {
		return C.int32_t(errno)
	}
	return C.int32_t(syscall.EIO)
}
