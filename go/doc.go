// Package orlop keeps container images, layers and containers in a store that it shares with podman, buildah, skopeo and CRI-O:
// what they write it reads, what it writes they read, at the same time and under the same locks. It calls liborlop through cgo.
//
//	config, err := orlop.LoadConfig(nil)
//	if err != nil {
//		return err
//	}
//	defer config.Close()
//	store, err := orlop.Open(config)
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	images, err := store.Images()
//
// A [Store] may be used by any number of goroutines, and beside the store of go.podman.io/storage in the same process.
//
// # What is freed
//
// [Config], [Store] and [Progress] hold memory and descriptors of the library's until their Close, which waits for the calls on them
// to end and may be called twice. Nothing is freed by the garbage collector. The locks of a store, once used, keep one
// descriptor each until the process ends, as a file that has been locked must not be closed beside Go's own locks.
//
// # Long calls
//
// Those that take a context end with its error soon after it ends, and leave nothing behind but what their comments say. It takes
// longer while the call waits for a lock of the store that another process holds, while a path of LoadPath or SavePath is a named
// pipe that nobody has opened at its other end, and up to a second for a reader or writer that does not come back. Deletions
// look at the context only before they begin: half of one would be no use.
// [WithProgress] puts a [Progress] into the context, which tells how far the call is.
//
// Readers and writers that are an [os.File] are used by the library itself, from where they stand. Others are copied through a
// pipe, in a goroutine; an [io.WriterTo] writes itself. None is used after the call, but for a Read or Write that does not come back
// within a second after the context has ended. One that panics does so where the call was made. To close an [os.File] that a call
// uses waits for the call, and does not end it: its context does.
//
// # Errors
//
// Every error of the library is an [*Error]. [errors.Is] finds in it the values of go.podman.io/storage and its drivers
// ([go.podman.io/storage/types.ErrLayerUnknown] and so on), os.ErrNotExist for data, the error of the context, and the errno.
//
// These values of go.podman.io/storage are never found, because no call here can fail so:
//
//   - ErrDigestUnknown: no call computes the digest of a data item; records have them.
//   - ErrDuplicateImageNames, ErrDuplicateLayerNames: of two records of a read-only store with one name the later has it.
//   - ErrLayerNotMounted: it is of ParentOwners, which is not here.
//   - ErrInvalidMappings, ErrNoAvailableIDs: the ids of user namespaces are not chosen here.
//   - ErrLoadError, which nothing gives, and ErrParentUnknown: a missing parent is ErrLayerUnknown, as in CreateLayer there.
//   - The findings of Check, which is not here: ErrLayerUnaccounted, ErrLayerUnreferenced, ErrLayerIncorrectContentDigest,
//     ErrLayerIncorrectContentSize, ErrLayerContentModified, ErrLayerDataMissing, ErrLayerMissing, ErrImageLayerMissing,
//     ErrImageDataMissing, ErrImageDataIncorrectSize, ErrContainerImageMissing, ErrContainerDataMissing and
//     ErrContainerDataIncorrectSize.
package orlop
