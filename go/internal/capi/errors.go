package capi

// #include <orlop.h>
import "C"

import (
	"context"
	"fmt"
	"os"
	"syscall"

	digest "github.com/opencontainers/go-digest"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/types"
)

// Code tells what kind of error it is; the numbers are those of orlop.h.
type Code int

// The codes.
const (
	LayerUnknown         Code = C.ORLOP_ERR_LAYER_UNKNOWN
	ImageUnknown         Code = C.ORLOP_ERR_IMAGE_UNKNOWN
	ContainerUnknown     Code = C.ORLOP_ERR_CONTAINER_UNKNOWN
	NotFound             Code = C.ORLOP_ERR_NOT_FOUND
	NotALayer            Code = C.ORLOP_ERR_NOT_A_LAYER
	NotAContainer        Code = C.ORLOP_ERR_NOT_A_CONTAINER
	DuplicateID          Code = C.ORLOP_ERR_DUPLICATE_ID
	DuplicateName        Code = C.ORLOP_ERR_DUPLICATE_NAME
	LayerHasChildren     Code = C.ORLOP_ERR_LAYER_HAS_CHILDREN
	LayerUsedByImage     Code = C.ORLOP_ERR_LAYER_USED_BY_IMAGE
	LayerUsedByContainer Code = C.ORLOP_ERR_LAYER_USED_BY_CONTAINER
	ImageUsedByContainer Code = C.ORLOP_ERR_IMAGE_USED_BY_CONTAINER
	ParentIsContainer    Code = C.ORLOP_ERR_PARENT_IS_CONTAINER
	ParentUnknown        Code = C.ORLOP_ERR_PARENT_UNKNOWN
	ReadOnly             Code = C.ORLOP_ERR_READ_ONLY
	SizeUnknown          Code = C.ORLOP_ERR_SIZE_UNKNOWN
	DataUnknown          Code = C.ORLOP_ERR_DATA_UNKNOWN
	InvalidDigest        Code = C.ORLOP_ERR_INVALID_DIGEST
	DigestMismatch       Code = C.ORLOP_ERR_DIGEST_MISMATCH
	InvalidArgument      Code = C.ORLOP_ERR_INVALID_ARGUMENT
	BadConfig            Code = C.ORLOP_ERR_CONFIG
	Corrupt              Code = C.ORLOP_ERR_CORRUPT
	InvalidArchive       Code = C.ORLOP_ERR_INVALID_ARCHIVE
	NotSupported         Code = C.ORLOP_ERR_NOT_SUPPORTED
	Prerequisites        Code = C.ORLOP_ERR_PREREQUISITES
	IncompatibleFS       Code = C.ORLOP_ERR_INCOMPATIBLE_FS
	MaxDepth             Code = C.ORLOP_ERR_MAX_DEPTH
	Busy                 Code = C.ORLOP_ERR_BUSY
	PolicyRejected       Code = C.ORLOP_ERR_POLICY_REJECTED
	IO                   Code = C.ORLOP_ERR_IO
	Internal             Code = C.ORLOP_ERR_INTERNAL
	Cancelled            Code = C.ORLOP_ERR_CANCELLED
	NotAnImage           Code = C.ORLOP_ERR_NOT_AN_IMAGE
	InvalidDataName      Code = C.ORLOP_ERR_INVALID_DATA_NAME
	IncompleteOptions    Code = C.ORLOP_ERR_INCOMPLETE_OPTIONS
)

// String is the name of the code in orlop.h, or Code(number) of one that the library does not know.
func (c Code) String() string {
	if name := C.orlop_code_name(C.int32_t(c)); name != nil {
		return C.GoString(name)
	}
	if c == 0 {
		return "ORLOP_OK"
	}
	return fmt.Sprintf("Code(%d)", int(c))
}

// meanings are the error values of the Go world that a code stands for.
var meanings = map[Code][]error{
	LayerUnknown:     {types.ErrLayerUnknown, drivers.ErrLayerUnknown},
	ImageUnknown:     {types.ErrImageUnknown},
	ContainerUnknown: {types.ErrContainerUnknown},
	// Metadata and SetMetadata there give the one, Lookup, Names and SetNames the other.
	NotFound:             {types.ErrNotAnID, types.ErrLayerUnknown},
	NotALayer:            {types.ErrNotALayer},
	NotAContainer:        {types.ErrNotAContainer},
	DuplicateID:          {types.ErrDuplicateID},
	DuplicateName:        {types.ErrDuplicateName},
	LayerHasChildren:     {types.ErrLayerHasChildren},
	LayerUsedByImage:     {types.ErrLayerUsedByImage},
	LayerUsedByContainer: {types.ErrLayerUsedByContainer},
	ImageUsedByContainer: {types.ErrImageUsedByContainer},
	ParentIsContainer:    {types.ErrParentIsContainer},
	ParentUnknown:        {types.ErrParentUnknown},
	ReadOnly:             {types.ErrStoreIsReadOnly},
	SizeUnknown:          {types.ErrSizeUnknown},
	DataUnknown:          {os.ErrNotExist},
	InvalidDigest:        {digest.ErrDigestInvalidFormat},
	NotSupported:         {types.ErrNotSupported, drivers.ErrNotSupported},
	Prerequisites:        {drivers.ErrPrerequisites},
	IncompatibleFS:       {drivers.ErrIncompatibleFS},
	Busy:                 {syscall.EBUSY},
	Cancelled:            {context.Canceled},
	NotAnImage:           {types.ErrNotAnImage},
	InvalidDataName:      {types.ErrInvalidBigDataName},
	IncompleteOptions:    {types.ErrIncompleteOptions},
}

// Error is why a call has failed. [errors.Is] finds in it the values of go.podman.io/storage/types and
// go.podman.io/storage/drivers, [os.ErrNotExist], [context.Canceled] and the errno.
type Error struct {
	// Code is the kind of the error.
	Code Code
	// Errno is that of the system call that failed, 0 where there was none.
	Errno syscall.Errno
	// Message is one line: what was tried, on what, why it failed, what to do.
	Message string
	// Path is the file concerned, or empty.
	Path string
	// ID is that of the layer, image or container concerned, or empty.
	ID string
	// Advice is what to do about it, or empty; the message has it, too.
	Advice string

	// cause is why the caller's context has ended.
	cause error
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the error values that it stands for.
func (e *Error) Unwrap() []error {
	var found []error
	// The context tells how it has ended: by its deadline is not context.Canceled.
	if e.Code != Cancelled || e.cause == nil {
		found = append(found, meanings[e.Code]...)
	}
	if e.Errno != 0 {
		found = append(found, e.Errno)
	}
	if e.cause != nil {
		found = append(found, e.cause)
	}
	return found
}

// refusal is the error for an argument that C cannot be given.
func refusal(what string) error {
	return &Error{Code: InvalidArgument, Message: what}
}

// failure makes an error out of what a call has returned, and frees the library's.
func failure(code C.int32_t, e *C.orlop_error) error {
	if code >= C.ORLOP_OK {
		return nil
	}
	defer C.orlop_error_free(e)
	text := func(s *C.char) string {
		if s == nil {
			return ""
		}
		return C.GoString(s)
	}
	return &Error{
		Code:    Code(code),
		Errno:   syscall.Errno(C.orlop_error_errno(e)),
		Message: text(C.orlop_error_message(e)),
		Path:    text(C.orlop_error_path(e)),
		ID:      text(C.orlop_error_id(e)),
		Advice:  text(C.orlop_error_advice(e)),
	}
}
