package capi

// #include <orlop.h>
import "C"

import (
	"os"
	"runtime"
)

// Partial is the directory of a layer's content that the caller writes, and how to write it.
type Partial struct {
	Target            string
	KeepWhiteouts     bool
	InUserNamespace   bool
	IgnoreChownErrors bool
	// ForceMask is the mode that all files are to have, nil for their own.
	ForceMask *uint32
	// ByDigest: only content is to be written, by digests, and the rest told to CommitPartialImage.
	ByDigest bool
}

// BeginPartial makes the directory. It is this process's until it is committed or discarded.
func (d *Driver) BeginPartial(o ApplyOptions) (Partial, error) {
	var a arena
	defer a.done()
	options := a.applyOptions(o)
	how := C.struct_orlop_partial{size: C.sizeof_struct_orlop_partial}
	target, err := d.text(&a, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_begin_partial(driver, options, &how, buf, e)
	})
	if err != nil {
		return Partial{}, err
	}
	partial := Partial{
		Target:            target,
		KeepWhiteouts:     how.keep_whiteouts != 0,
		InUserNamespace:   how.in_user_namespace != 0,
		IgnoreChownErrors: how.ignore_chown_errors != 0,
		ByDigest:          how.by_digest != 0,
	}
	if how.has_force_mask != 0 {
		mask := uint32(how.force_mask)
		partial.ForceMask = &mask
	}
	return partial, nil
}

// CommitPartial makes the directory the content of a layer, which has been created upon the parent; that may be empty.
func (d *Driver) CommitPartial(id, parent, target string, keepsMode bool) error {
	var a arena
	defer a.done()
	layer, below, path := a.text(id), a.optional(parent), a.text(target)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_commit_partial(driver, layer, below, path, flag(keepsMode), e)
	})
}

// CommitPartialImage makes the directory, with content by digests, a composefs layer of the files that the dump lists.
func (d *Driver) CommitPartialImage(id, parent, target string, keepsMode bool, dump *os.File) error {
	var a arena
	defer a.done()
	defer runtime.KeepAlive(dump)
	layer, below, path := a.text(id), a.optional(parent), a.text(target)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_commit_partial_image(driver, layer, below, path, flag(keepsMode), C.int32_t(dump.Fd()), e)
	})
}

// DiscardPartial deletes the directory; one that is gone is fine.
func (d *Driver) DiscardPartial(target string) error {
	var a arena
	defer a.done()
	path := a.text(target)
	return d.handle.do(&a, func(driver *C.orlop_driver, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_discard_partial(driver, path, e)
	})
}

// ContentPath is the directory with a layer's own files.
func (d *Driver) ContentPath(id string) (string, error) {
	var a arena
	defer a.done()
	layer := a.text(id)
	return d.text(&a, func(driver *C.orlop_driver, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_driver_content_path(driver, layer, buf, e)
	})
}
