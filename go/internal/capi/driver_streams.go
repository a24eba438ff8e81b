package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"io"
	"os"

	"go.podman.io/storage/pkg/idtools"
)

// ApplyOptions are how a tar is unpacked.
type ApplyOptions struct {
	MountLabel        string
	UIDMap            []idtools.IDMap
	GIDMap            []idtools.IDMap
	IgnoreChownErrors bool
	// ForceMask is the mode that all files are to have, nil for their own.
	ForceMask *uint32
}

func (a *arena) applyOptions(o ApplyOptions) *C.struct_orlop_apply_options {
	options := &C.struct_orlop_apply_options{
		size:                C.sizeof_struct_orlop_apply_options,
		mount_label:         a.optional(o.MountLabel),
		uid_map:             a.idMaps(o.UIDMap),
		gid_map:             a.idMaps(o.GIDMap),
		ignore_chown_errors: flag(o.IgnoreChownErrors),
		has_force_mask:      flag(o.ForceMask != nil),
	}
	if o.ForceMask != nil {
		options.force_mask = C.uint32_t(*o.ForceMask)
	}
	return options
}

// ApplyDiff unpacks an uncompressed tar upon a layer's content; it returns the bytes of the files.
func (d *Driver) ApplyDiff(ctx context.Context, id string, tar io.Reader, o ApplyOptions) (uint64, error) {
	var a arena
	defer a.done()
	operation, err := newOperation(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer operation.end()
	layer, options := a.text(id), a.applyOptions(o)
	var bytes C.uint64_t
	err = fromReader(operation, tar, func(fd C.int32_t) error {
		return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
			return C.orlop_driver_apply_diff(driver, layer, fd, options, operation.c, &bytes, e)
		})
	})
	return uint64(bytes), err
}

// Staged is the content of a layer that does not exist yet.
type Staged struct{ handle *handle[*C.orlop_staged] }

// Free gives it up; after a commit there is nothing to do.
func (s *Staged) Free() { s.handle.close() }

// Stage unpacks an uncompressed tar without the store's locks; it returns the bytes of the files.
func (d *Driver) Stage(ctx context.Context, parent string, tar io.Reader, o ApplyOptions) (*Staged, uint64, error) {
	var a arena
	defer a.done()
	operation, err := newOperation(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	defer operation.end()
	below, options := a.optional(parent), a.applyOptions(o)
	var staged *C.orlop_staged
	taken := false
	defer func() {
		// The reader may have failed, or panicked, after the library was content.
		if !taken {
			C.orlop_staged_free(staged)
		}
	}()
	var bytes C.uint64_t
	err = fromReader(operation, tar, func(fd C.int32_t) error {
		return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
			return C.orlop_driver_stage(driver, below, fd, options, operation.c, &staged, &bytes, e)
		})
	})
	if err != nil {
		return nil, 0, err
	}
	taken = true
	return &Staged{newHandle("staged layer", staged, func(s *C.orlop_staged) { C.orlop_staged_free(s) })}, uint64(bytes), nil
}

// CommitStaged makes staged content that of a layer, which has been created and has none; it is used up whatever the outcome.
func (d *Driver) CommitStaged(id string, s *Staged) error {
	var a arena
	defer a.done()
	layer := a.text(id)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		// NULL, which the library refuses, when it has been used up already.
		return C.orlop_driver_commit_staged(driver, layer, s.handle.take(), e)
	})
}

// DiffOptions are how a layer is compared with its parent.
type DiffOptions struct {
	// UIDMap and GIDMap are the layer's.
	UIDMap []idtools.IDMap
	GIDMap []idtools.IDMap
	// ParentUIDMap and ParentGIDMap are the parent's.
	ParentUIDMap []idtools.IDMap
	ParentGIDMap []idtools.IDMap
	MountLabel   string
}

func (a *arena) diffOptions(o DiffOptions) *C.struct_orlop_diff_options {
	return &C.struct_orlop_diff_options{
		size:           C.sizeof_struct_orlop_diff_options,
		uid_map:        a.idMaps(o.UIDMap),
		gid_map:        a.idMaps(o.GIDMap),
		parent_uid_map: a.idMaps(o.ParentUIDMap),
		parent_gid_map: a.idMaps(o.ParentGIDMap),
		mount_label:    a.optional(o.MountLabel),
	}
}

// Diff writes what a layer changes upon another one, which may be empty, as an uncompressed tar.
func (d *Driver) Diff(ctx context.Context, id, parent string, o DiffOptions, tar io.Writer) error {
	var a arena
	defer a.done()
	return d.diff(ctx, &a, id, parent, o, tar)
}

func (d *Driver) diff(ctx context.Context, a *arena, id, parent string, o DiffOptions, tar io.Writer) error {
	operation, err := newOperation(ctx, nil)
	if err != nil {
		return err
	}
	defer operation.end()
	layer, below, options := a.text(id), a.optional(parent), a.diffOptions(o)
	return toWriter(operation, tar, func(fd C.int32_t) error {
		return d.handle.do(a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
			return C.orlop_driver_diff(driver, layer, below, options, fd, operation.c, e)
		})
	})
}

// DiffReader is the tar of [Driver.Diff], made while it is read.
type DiffReader struct {
	pipe *os.File
	// begin is what was read of it to see that it can be made.
	begin []byte
	*making
}

// making is the work on a tar. It does not know the reader: one that is forgotten is collected, its pipe closed, and the work ends.
type making struct {
	// made is closed when the work has ended, with err then set.
	made chan struct{}
	err  error
}

// OpenDiff begins to write the tar into a pipe, and waits for its first bytes: what keeps it from being made at all is an error of this
// call, and only what comes later one of Read. The reader is to be closed.
func (d *Driver) OpenDiff(id, parent string, o DiffOptions) (*DiffReader, error) {
	ours, theirs, err := newPipe(true)
	if err != nil {
		return nil, err
	}
	work := &making{made: make(chan struct{})}
	go func() {
		defer close(work.made)
		// Nothing is to call it off: with nobody to read, its next write fails.
		// Here nobody is whom the log could be given to.
		var a arena
		defer a.free()
		work.err = d.diff(context.Background(), &a, id, parent, o, theirs)
		_ = theirs.Close()
	}()
	reader := &DiffReader{pipe: ours, making: work}
	begin := make([]byte, 512)
	n, err := reader.Read(begin)
	if err != nil && err != io.EOF {
		_ = reader.Close()
		return nil, err
	}
	reader.begin = begin[:n]
	return reader, nil
}

// Read reads the tar; at its end comes the error of the one who has made it.
func (r *DiffReader) Read(p []byte) (int, error) {
	if len(r.begin) > 0 {
		n := copy(p, r.begin)
		r.begin = r.begin[n:]
		return n, nil
	}
	n, err := r.pipe.Read(p)
	if err == io.EOF {
		<-r.made
		if r.err != nil {
			return n, r.err
		}
	}
	return n, err
}

// Close ends the work and waits for its end; what was not read is lost.
func (r *DiffReader) Close() error {
	defer passLog()
	err := r.pipe.Close()
	<-r.made
	return err
}

// Files are the files of a layer's own content.
type Files struct{ handle *handle[*C.orlop_files] }

// Files opens a layer's files.
func (d *Driver) Files(id string) (*Files, error) {
	var a arena
	defer a.done()
	layer := a.text(id)
	var files *C.orlop_files
	err := d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_files(driver, layer, &files, e)
	})
	if err != nil {
		return nil, err
	}
	return &Files{newHandle("list of files", files, func(f *C.orlop_files) { C.orlop_files_free(f) })}, nil
}

// Open opens one for reading.
func (f *Files) Open(name string) (*os.File, error) {
	var a arena
	defer a.done()
	path := a.text(name)
	var fd C.int32_t
	err := f.handle.do(&a, func(files *C.orlop_files, e **C.orlop_error) C.int32_t {
		return C.orlop_files_open(files, path, &fd, e)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Close frees the list; files that were opened stay open.
func (f *Files) Close() { f.handle.close() }
