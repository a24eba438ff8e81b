//! The codes that calls return; the numbers of `orlop::ErrorKind::code`.

use std::ffi::{CStr, c_char};

use orlop::ErrorKind;

/// It has worked. Failures are below zero.
pub const ORLOP_OK: i32 = 0;

/// No layer of that id or name (Go: ErrLayerUnknown).
pub const ORLOP_ERR_LAYER_UNKNOWN: i32 = -1;
/// No image of that id or name (Go: ErrImageUnknown).
pub const ORLOP_ERR_IMAGE_UNKNOWN: i32 = -2;
/// No container of that id or name (Go: ErrContainerUnknown).
pub const ORLOP_ERR_CONTAINER_UNKNOWN: i32 = -3;
/// Nothing of that id or name (Go: ErrNotAnID).
pub const ORLOP_ERR_NOT_FOUND: i32 = -4;
/// The id is not a layer's (Go: ErrNotALayer).
pub const ORLOP_ERR_NOT_A_LAYER: i32 = -5;
/// The id is not a container's (Go: ErrNotAContainer).
pub const ORLOP_ERR_NOT_A_CONTAINER: i32 = -6;
/// The id is taken (Go: ErrDuplicateID).
pub const ORLOP_ERR_DUPLICATE_ID: i32 = -7;
/// The name is taken (Go: ErrDuplicateName).
pub const ORLOP_ERR_DUPLICATE_NAME: i32 = -8;
/// A layer has children (Go: ErrLayerHasChildren).
pub const ORLOP_ERR_LAYER_HAS_CHILDREN: i32 = -9;
/// A layer is used by an image (Go: ErrLayerUsedByImage).
pub const ORLOP_ERR_LAYER_USED_BY_IMAGE: i32 = -10;
/// A layer is used by a container (Go: ErrLayerUsedByContainer).
pub const ORLOP_ERR_LAYER_USED_BY_CONTAINER: i32 = -11;
/// A container uses the image (Go: ErrImageUsedByContainer).
pub const ORLOP_ERR_IMAGE_USED_BY_CONTAINER: i32 = -12;
/// A container's layer cannot be a parent (Go: ErrParentIsContainer).
pub const ORLOP_ERR_PARENT_IS_CONTAINER: i32 = -13;
/// The parent layer is not known (Go: ErrParentUnknown).
pub const ORLOP_ERR_PARENT_UNKNOWN: i32 = -14;
/// The object belongs to a read-only store (Go: ErrStoreIsReadOnly).
pub const ORLOP_ERR_READ_ONLY: i32 = -15;
/// The size is not recorded (Go: ErrSizeUnknown).
pub const ORLOP_ERR_SIZE_UNKNOWN: i32 = -16;
/// No big data item of that key (Go: os.ErrNotExist).
pub const ORLOP_ERR_DATA_UNKNOWN: i32 = -17;
/// A digest is malformed (Go: digest.ErrDigestInvalidFormat).
pub const ORLOP_ERR_INVALID_DIGEST: i32 = -18;
/// Content does not match its digest.
pub const ORLOP_ERR_DIGEST_MISMATCH: i32 = -19;
/// An argument is malformed, NULL where something is needed, or an unknown option is set.
pub const ORLOP_ERR_INVALID_ARGUMENT: i32 = -20;
/// A configuration file, key or option is malformed.
pub const ORLOP_ERR_CONFIG: i32 = -21;
/// A record, link or other file of a store is malformed.
pub const ORLOP_ERR_CORRUPT: i32 = -22;
/// An archive or image file is malformed.
pub const ORLOP_ERR_INVALID_ARCHIVE: i32 = -23;
/// The driver, kernel or file system lacks what was asked for (Go: graphdriver.ErrNotSupported).
pub const ORLOP_ERR_NOT_SUPPORTED: i32 = -24;
/// A prerequisite of the driver is missing (Go: graphdriver.ErrPrerequisites).
pub const ORLOP_ERR_PREREQUISITES: i32 = -25;
/// The driver does not work on this file system (Go: graphdriver.ErrIncompatibleFS).
pub const ORLOP_ERR_INCOMPATIBLE_FS: i32 = -26;
/// More lower layers than the kernel takes.
pub const ORLOP_ERR_MAX_DEPTH: i32 = -27;
/// The object is in use or mounted.
pub const ORLOP_ERR_BUSY: i32 = -28;
/// The signature policy rejects the image.
pub const ORLOP_ERR_POLICY_REJECTED: i32 = -29;
/// A system call failed; orlop_error_errno tells how.
pub const ORLOP_ERR_IO: i32 = -30;
/// A defect of the library; the handle that was used answers nothing but this from now on.
pub const ORLOP_ERR_INTERNAL: i32 = -31;
/// Called off by orlop_cancel_now (Go: context.Canceled).
pub const ORLOP_ERR_CANCELLED: i32 = -32;
/// The id is not that of an image which could be deleted (Go: ErrNotAnImage).
pub const ORLOP_ERR_NOT_AN_IMAGE: i32 = -33;
/// A big data item cannot have that key (Go: ErrInvalidBigDataName).
pub const ORLOP_ERR_INVALID_DATA_NAME: i32 = -34;
/// A store is to be opened without the roots that it needs (Go: ErrIncompleteOptions).
pub const ORLOP_ERR_INCOMPLETE_OPTIONS: i32 = -35;

/// Every code, its name, and its kind.
const CODES: &[(i32, &CStr, ErrorKind)] = &[
    (ORLOP_ERR_LAYER_UNKNOWN, c"ORLOP_ERR_LAYER_UNKNOWN", ErrorKind::LayerUnknown),
    (ORLOP_ERR_IMAGE_UNKNOWN, c"ORLOP_ERR_IMAGE_UNKNOWN", ErrorKind::ImageUnknown),
    (ORLOP_ERR_CONTAINER_UNKNOWN, c"ORLOP_ERR_CONTAINER_UNKNOWN", ErrorKind::ContainerUnknown),
    (ORLOP_ERR_NOT_FOUND, c"ORLOP_ERR_NOT_FOUND", ErrorKind::NotFound),
    (ORLOP_ERR_NOT_A_LAYER, c"ORLOP_ERR_NOT_A_LAYER", ErrorKind::NotALayer),
    (ORLOP_ERR_NOT_A_CONTAINER, c"ORLOP_ERR_NOT_A_CONTAINER", ErrorKind::NotAContainer),
    (ORLOP_ERR_DUPLICATE_ID, c"ORLOP_ERR_DUPLICATE_ID", ErrorKind::DuplicateId),
    (ORLOP_ERR_DUPLICATE_NAME, c"ORLOP_ERR_DUPLICATE_NAME", ErrorKind::DuplicateName),
    (ORLOP_ERR_LAYER_HAS_CHILDREN, c"ORLOP_ERR_LAYER_HAS_CHILDREN", ErrorKind::LayerHasChildren),
    (ORLOP_ERR_LAYER_USED_BY_IMAGE, c"ORLOP_ERR_LAYER_USED_BY_IMAGE", ErrorKind::LayerUsedByImage),
    (
        ORLOP_ERR_LAYER_USED_BY_CONTAINER,
        c"ORLOP_ERR_LAYER_USED_BY_CONTAINER",
        ErrorKind::LayerUsedByContainer,
    ),
    (
        ORLOP_ERR_IMAGE_USED_BY_CONTAINER,
        c"ORLOP_ERR_IMAGE_USED_BY_CONTAINER",
        ErrorKind::ImageUsedByContainer,
    ),
    (ORLOP_ERR_PARENT_IS_CONTAINER, c"ORLOP_ERR_PARENT_IS_CONTAINER", ErrorKind::ParentIsContainer),
    (ORLOP_ERR_PARENT_UNKNOWN, c"ORLOP_ERR_PARENT_UNKNOWN", ErrorKind::ParentUnknown),
    (ORLOP_ERR_READ_ONLY, c"ORLOP_ERR_READ_ONLY", ErrorKind::ReadOnly),
    (ORLOP_ERR_SIZE_UNKNOWN, c"ORLOP_ERR_SIZE_UNKNOWN", ErrorKind::SizeUnknown),
    (ORLOP_ERR_DATA_UNKNOWN, c"ORLOP_ERR_DATA_UNKNOWN", ErrorKind::DataUnknown),
    (ORLOP_ERR_INVALID_DIGEST, c"ORLOP_ERR_INVALID_DIGEST", ErrorKind::InvalidDigest),
    (ORLOP_ERR_DIGEST_MISMATCH, c"ORLOP_ERR_DIGEST_MISMATCH", ErrorKind::DigestMismatch),
    (ORLOP_ERR_INVALID_ARGUMENT, c"ORLOP_ERR_INVALID_ARGUMENT", ErrorKind::InvalidArgument),
    (ORLOP_ERR_CONFIG, c"ORLOP_ERR_CONFIG", ErrorKind::Config),
    (ORLOP_ERR_CORRUPT, c"ORLOP_ERR_CORRUPT", ErrorKind::Corrupt),
    (ORLOP_ERR_INVALID_ARCHIVE, c"ORLOP_ERR_INVALID_ARCHIVE", ErrorKind::InvalidArchive),
    (ORLOP_ERR_NOT_SUPPORTED, c"ORLOP_ERR_NOT_SUPPORTED", ErrorKind::NotSupported),
    (ORLOP_ERR_PREREQUISITES, c"ORLOP_ERR_PREREQUISITES", ErrorKind::Prerequisites),
    (ORLOP_ERR_INCOMPATIBLE_FS, c"ORLOP_ERR_INCOMPATIBLE_FS", ErrorKind::IncompatibleFs),
    (ORLOP_ERR_MAX_DEPTH, c"ORLOP_ERR_MAX_DEPTH", ErrorKind::MaxDepth),
    (ORLOP_ERR_BUSY, c"ORLOP_ERR_BUSY", ErrorKind::Busy),
    (ORLOP_ERR_POLICY_REJECTED, c"ORLOP_ERR_POLICY_REJECTED", ErrorKind::PolicyRejected),
    (ORLOP_ERR_IO, c"ORLOP_ERR_IO", ErrorKind::Io),
    (ORLOP_ERR_INTERNAL, c"ORLOP_ERR_INTERNAL", ErrorKind::Internal),
    (ORLOP_ERR_CANCELLED, c"ORLOP_ERR_CANCELLED", ErrorKind::Cancelled),
    (ORLOP_ERR_NOT_AN_IMAGE, c"ORLOP_ERR_NOT_AN_IMAGE", ErrorKind::NotAnImage),
    (ORLOP_ERR_INVALID_DATA_NAME, c"ORLOP_ERR_INVALID_DATA_NAME", ErrorKind::InvalidDataName),
    (ORLOP_ERR_INCOMPLETE_OPTIONS, c"ORLOP_ERR_INCOMPLETE_OPTIONS", ErrorKind::IncompleteOptions),
];

/// The name of a code as in this header, such as "ORLOP_ERR_LAYER_UNKNOWN", or NULL for a number that is none.
///
/// Ownership: the text is the library's and never changes.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn orlop_code_name(code: i32) -> *const c_char {
    if code == ORLOP_OK {
        return c"ORLOP_OK".as_ptr();
    }
    let found = CODES.iter().find(|(number, ..)| *number == code);
    found.map_or(std::ptr::null(), |(_, name, _)| name.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_the_library_has_its_code() {
        for (code, _, kind) in CODES {
            assert_eq!(*code, kind.code(), "{kind:?}");
        }
        assert_eq!(CODES.len(), ErrorKind::ALL.len());
    }
}
