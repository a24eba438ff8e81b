package capi

// #include <orlop.h>
import "C"

import "context"

// Progress tells how far one operation is.
type Progress struct{ handle *handle[*C.orlop_progress] }

// ProgressState is what an operation has done so far.
type ProgressState struct {
	BytesDone, BytesTotal, ItemsStarted, ItemsFinished uint64
}

// NewProgress makes one.
func NewProgress() (*Progress, error) {
	var progress *C.orlop_progress
	var e *C.orlop_error
	if err := failure(C.orlop_progress_new(&progress, &e), e); err != nil {
		return nil, err
	}
	return &Progress{newHandle("progress", progress, func(p *C.orlop_progress) { C.orlop_progress_free(p) })}, nil
}

// Close frees it once the operation has ended.
func (p *Progress) Close() { p.handle.close() }

// Read tells how far the operation is.
func (p *Progress) Read() (ProgressState, error) {
	state := C.struct_orlop_progress_state{size: C.sizeof_struct_orlop_progress_state}
	err := p.handle.do(nil, func(progress *C.orlop_progress, e **C.orlop_error) C.int32_t {
		return C.orlop_progress_read(progress, &state, e)
	})
	return ProgressState{
		BytesDone:     uint64(state.bytes_done),
		BytesTotal:    uint64(state.bytes_total),
		ItemsStarted:  uint64(state.items_started),
		ItemsFinished: uint64(state.items_finished),
	}, err
}

// Items reads the items into a value with the JSON names "what", "total", "done" and "note".
func (p *Progress) Items(items any) error {
	var buf C.orlop_buf
	err := p.handle.do(nil, func(progress *C.orlop_progress, e **C.orlop_error) C.int32_t {
		return C.orlop_progress_items(progress, &buf, e)
	})
	if err != nil {
		return err
	}
	return takeJSON(&buf, items)
}

// watched runs a call as an operation that ctx calls off and that tells progress, which may be nil, how far it is.
func watched(ctx context.Context, progress *Progress, run func(o *operation) error) error {
	var counters *C.orlop_progress
	if progress != nil {
		// Held, so that it is not freed before the library has a share in it.
		if err := progress.handle.acquire(); err != nil {
			return err
		}
		defer progress.handle.release()
		counters = progress.handle.pointer
	}
	o, err := newOperation(ctx, counters)
	if err != nil {
		return err
	}
	defer o.end()
	return run(o)
}
