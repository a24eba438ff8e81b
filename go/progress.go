package orlop

import (
	"context"

	"github.com/orlop/orlop/go/internal/capi"
)

// Progress tells how far one operation is, to whoever looks, at any time.
type Progress struct{ progress *capi.Progress }

// ProgressState is what an operation has done so far.
type ProgressState struct {
	// BytesDone are the bytes that have been worked through, of all items.
	BytesDone uint64
	// BytesTotal are the bytes of all items whose size is known.
	BytesTotal uint64
	// ItemsStarted are the items (layers, files) that have begun.
	ItemsStarted uint64
	// ItemsFinished are those that have ended.
	ItemsFinished uint64
}

// ProgressItem is a layer or file that an operation works on.
type ProgressItem struct {
	// What it is.
	What string `json:"what"`
	// Total is its bytes, nil where they are not known.
	Total *uint64 `json:"total"`
	// Done are the bytes that have been worked through.
	Done uint64 `json:"done"`
	// Note is how it has ended ("done", "already exists", empty where it failed), nil as long as it has not.
	Note *string `json:"note"`
}

// NewProgress makes one, for one operation. It is to be closed.
func NewProgress() (*Progress, error) {
	progress, err := capi.NewProgress()
	if err != nil {
		return nil, err
	}
	return &Progress{progress}, nil
}

// Read tells how far the operation is.
func (p *Progress) Read() (ProgressState, error) {
	state, err := p.progress.Read()
	return ProgressState(state), err
}

// Items lists what the operation has begun, in that order.
func (p *Progress) Items() ([]ProgressItem, error) {
	var items []ProgressItem
	err := p.progress.Items(&items)
	return items, err
}

// Close frees it, once the operation has ended.
func (p *Progress) Close() { p.progress.Close() }

type progressKey struct{}

// WithProgress is a context whose operation tells p how far it is.
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// progressOf is that of a context, nil where it has none.
func progressOf(ctx context.Context) *capi.Progress {
	if p, ok := ctx.Value(progressKey{}).(*Progress); ok && p != nil {
		return p.progress
	}
	return nil
}
