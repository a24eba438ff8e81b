package capi

// #include <orlop.h>
import "C"

import "context"

// Transfer is how files get from docker's layers to the store's.
type Transfer uint32

// The ways.
const (
	TransferEither  Transfer = C.ORLOP_TRANSFER_EITHER
	TransferReflink Transfer = C.ORLOP_TRANSFER_REFLINK
	TransferCopy    Transfer = C.ORLOP_TRANSFER_COPY
	TransferMove    Transfer = C.ORLOP_TRANSFER_MOVE
)

// MigrateDockerOptions are how images are taken over from docker.
type MigrateDockerOptions struct {
	Images     []string
	Transfer   Transfer
	Containers bool
	Unverified bool
	DryRun     bool
	TempDir    string
}

// MigrateDocker takes images over, reads what was done into report, and tells whether all of it was.
func (s *Store) MigrateDocker(ctx context.Context, progress *Progress, docker *Docker, m MigrateDockerOptions, report any) (bool, error) {
	var a arena
	defer a.done()
	options := &C.struct_orlop_migrate_docker_options{
		size:       C.sizeof_struct_orlop_migrate_docker_options,
		images:     a.strings(m.Images),
		transfer:   C.uint32_t(m.Transfer),
		containers: flag(m.Containers),
		unverified: flag(m.Unverified),
		dry_run:    flag(m.DryRun),
		temp_dir:   a.optional(m.TempDir),
	}
	var whole int
	err := watched(ctx, progress, func(o *operation) error {
		var buf C.orlop_buf
		// Held, so that neither of the two is freed meanwhile.
		if err := docker.handle.acquire(); err != nil {
			return err
		}
		defer docker.handle.release()
		var err error
		whole, err = s.handle.call(&a, func(store *C.orlop_store, e **C.orlop_error) C.int32_t {
			return C.orlop_migrate_docker(store, docker.handle.pointer, options, o.c, &buf, e)
		})
		if err != nil {
			return o.called(err)
		}
		return takeJSON(&buf, report)
	})
	return whole == 1, err
}

// MigrateLegacyOptions are how a store of the legacy layout is migrated.
type MigrateLegacyOptions struct {
	DryRun     bool
	Unverified bool
	Remove     bool
}

// MigrateLegacy turns the store's legacy layout into today's, and reads what was done into report.
func (s *Store) MigrateLegacy(ctx context.Context, m MigrateLegacyOptions, report any) error {
	if err := ended(ctx); err != nil {
		return err
	}
	options := &C.struct_orlop_migrate_legacy_options{
		size:       C.sizeof_struct_orlop_migrate_legacy_options,
		dry_run:    flag(m.DryRun),
		unverified: flag(m.Unverified),
		remove:     flag(m.Remove),
	}
	return s.json(nil, report, func(store *C.orlop_store, buf *C.orlop_buf, e **C.orlop_error) C.int32_t {
		return C.orlop_migrate_legacy(store, options, buf, e)
	})
}
