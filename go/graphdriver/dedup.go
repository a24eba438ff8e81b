package graphdriver

import (
	"fmt"
	"runtime"

	"github.com/orlop/orlop/go/internal/capi"
	drivers "go.podman.io/storage/drivers"
)

// Dedup has equal files of layers share their space, where the file system can.
func (d *driver[Cleanup, Addition]) Dedup(args drivers.DedupArgs) (drivers.DedupResult, error) {
	defer runtime.KeepAlive(d)
	// The names of these numbers are in an internal package, and in the one with the store.
	methods := map[int]capi.DedupMethod{1: capi.DedupCRC, 2: capi.DedupSize, 3: capi.DedupSHA256}
	method, known := methods[int(args.Options.HashMethod)]
	if !known {
		return drivers.DedupResult{}, fmt.Errorf("invalid hash method: %v", args.Options.HashMethod)
	}
	bytes, err := d.opened.Dedup(args.Layers, method)
	return drivers.DedupResult{Deduped: bytes}, err
}
