package orlop

import "github.com/orlop/orlop/go/internal/capi"

// Error is why a call has failed. Its fields are Code, Errno (of the system call that failed, or 0), Message (what was tried, on
// what, why it failed, what to do), Path, ID and Advice, each empty where there is none.
type Error = capi.Error

// Code is the kind of an error, the number of ORLOP_ERR_* in orlop.h; [errors.Is] with the values of go.podman.io/storage tells
// most of them, too.
type Code = capi.Code

// The codes.
const (
	// CodeLayerUnknown: no layer of that id or name.
	CodeLayerUnknown = capi.LayerUnknown
	// CodeImageUnknown: no image of that id or name.
	CodeImageUnknown = capi.ImageUnknown
	// CodeContainerUnknown: no container of that id or name.
	CodeContainerUnknown = capi.ContainerUnknown
	// CodeNotFound: nothing of that id or name.
	CodeNotFound = capi.NotFound
	// CodeNotALayer: the id is not a layer's.
	CodeNotALayer = capi.NotALayer
	// CodeNotAContainer: the id is not a container's.
	CodeNotAContainer = capi.NotAContainer
	// CodeDuplicateID: the id is taken.
	CodeDuplicateID = capi.DuplicateID
	// CodeDuplicateName: the name is taken.
	CodeDuplicateName = capi.DuplicateName
	// CodeLayerHasChildren: the layer has children.
	CodeLayerHasChildren = capi.LayerHasChildren
	// CodeLayerUsedByImage: the layer is used by an image.
	CodeLayerUsedByImage = capi.LayerUsedByImage
	// CodeLayerUsedByContainer: the layer is used by a container.
	CodeLayerUsedByContainer = capi.LayerUsedByContainer
	// CodeImageUsedByContainer: a container uses the image.
	CodeImageUsedByContainer = capi.ImageUsedByContainer
	// CodeParentIsContainer: a container's layer cannot be a parent.
	CodeParentIsContainer = capi.ParentIsContainer
	// CodeParentUnknown: the parent layer is not known.
	CodeParentUnknown = capi.ParentUnknown
	// CodeReadOnly: the object belongs to a read-only store.
	CodeReadOnly = capi.ReadOnly
	// CodeSizeUnknown: the size is not recorded.
	CodeSizeUnknown = capi.SizeUnknown
	// CodeDataUnknown: no big data item of that key.
	CodeDataUnknown = capi.DataUnknown
	// CodeInvalidDigest: a digest is malformed.
	CodeInvalidDigest = capi.InvalidDigest
	// CodeDigestMismatch: content does not match its digest.
	CodeDigestMismatch = capi.DigestMismatch
	// CodeInvalidArgument: an argument is malformed, or what it is for has been closed.
	CodeInvalidArgument = capi.InvalidArgument
	// CodeConfig: a configuration file, key or option is malformed.
	CodeConfig = capi.BadConfig
	// CodeCorrupt: a record, link or other file of a store is malformed.
	CodeCorrupt = capi.Corrupt
	// CodeInvalidArchive: an archive or image file is malformed.
	CodeInvalidArchive = capi.InvalidArchive
	// CodeNotSupported: the driver, kernel or file system lacks what was asked for.
	CodeNotSupported = capi.NotSupported
	// CodePrerequisites: a prerequisite of the driver is missing.
	CodePrerequisites = capi.Prerequisites
	// CodeIncompatibleFS: the driver does not work on this file system.
	CodeIncompatibleFS = capi.IncompatibleFS
	// CodeMaxDepth: more lower layers than the kernel takes.
	CodeMaxDepth = capi.MaxDepth
	// CodeBusy: the object is in use or mounted.
	CodeBusy = capi.Busy
	// CodePolicyRejected: the signature policy rejects the image.
	CodePolicyRejected = capi.PolicyRejected
	// CodeIO: a system call failed.
	CodeIO = capi.IO
	// CodeInternal: a defect of the library; the handle that was used answers nothing but this from now on.
	CodeInternal = capi.Internal
	// CodeCancelled: the context has ended.
	CodeCancelled = capi.Cancelled
	// CodeNotAnImage: the id is not that of an image which could be deleted.
	CodeNotAnImage = capi.NotAnImage
	// CodeInvalidDataName: a big data item cannot have that key.
	CodeInvalidDataName = capi.InvalidDataName
	// CodeIncompleteOptions: a store is to be opened without the roots that it needs.
	CodeIncompleteOptions = capi.IncompleteOptions
)
