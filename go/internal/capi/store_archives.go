package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"io"
	"time"
)

// LoadOptions are how images are loaded.
type LoadOptions struct {
	Platform       string
	Policy         string
	AcceptAnything bool
	Names          []string
	TempDir        string
}

// Load loads the images of a path, or of a reader where there is one, and reads what they are ("id", "names").
func (s *Store) Load(ctx context.Context, progress *Progress, path string, reader io.Reader, l LoadOptions, loaded any) error {
	var a arena
	defer a.done()
	options := &C.struct_orlop_load_options{
		size:            C.sizeof_struct_orlop_load_options,
		platform:        a.optional(l.Platform),
		policy:          a.optional(l.Policy),
		accept_anything: flag(l.AcceptAnything),
		names:           a.strings(l.Names),
		temp_dir:        a.optional(l.TempDir),
	}
	return watched(ctx, progress, func(o *operation) error {
		load := func(path *C.char, fd C.int32_t) error {
			return s.json(&a, loaded, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
				return C.orlop_load(store, path, fd, options, o.c, buf, e)
			})
		}
		if reader == nil {
			return o.called(load(a.text(path), -1))
		}
		return fromReader(o, reader, func(fd C.int32_t) error { return load(nil, fd) })
	})
}

// SaveOptions are how images are saved.
type SaveOptions struct {
	Format  string
	TempDir string
}

// Save saves images to a path, or to a writer where there is one.
func (s *Store) Save(ctx context.Context, progress *Progress, names []string, path string, writer io.Writer, w SaveOptions) error {
	var a arena
	defer a.done()
	images := a.strings(names)
	options := &C.struct_orlop_save_options{
		size:     C.sizeof_struct_orlop_save_options,
		format:   a.optional(w.Format),
		temp_dir: a.optional(w.TempDir),
	}
	return watched(ctx, progress, func(o *operation) error {
		save := func(path *C.char, fd C.int32_t) error {
			return s.handle.do(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
				return C.orlop_save(store, images, path, fd, options, o.c, e)
			})
		}
		if writer == nil {
			return o.called(save(a.text(path), -1))
		}
		return toWriter(o, writer, func(fd C.int32_t) error { return save(nil, fd) })
	})
}

// CommitOptions are how a container is committed.
type CommitOptions struct {
	Author  string
	Message string
	Changes []string
	Created time.Time
	Format  string
	TempDir string
}

// Commit makes an image of a container; it returns the image's id.
func (s *Store) Commit(ctx context.Context, progress *Progress, container, name string, c CommitOptions) (string, error) {
	var a arena
	defer a.done()
	id, image := a.text(container), a.text(name)
	options := &C.struct_orlop_commit_options{
		size:     C.sizeof_struct_orlop_commit_options,
		author:   a.optional(c.Author),
		message:  a.optional(c.Message),
		changes:  a.strings(c.Changes),
		created:  a.time(c.Created),
		format:   a.optional(c.Format),
		temp_dir: a.optional(c.TempDir),
	}
	var made string
	err := watched(ctx, progress, func(o *operation) (err error) {
		made, err = s.text(&a, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
			return C.orlop_commit(store, id, image, options, o.c, buf, e)
		})
		return o.called(err)
	})
	return made, err
}
