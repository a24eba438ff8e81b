//! The codes that calls return; the numbers of `orlop::ErrorKind::code`.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $kind:ident;)*) => {
        $($(#[$doc])* pub const $name: i32 = $number;)*

        /// The name of a code as in this header (`ORLOP_ERR_LAYER_UNKNOWN`), or NULL for a number that is none.
        ///
        /// Ownership: the text is the library's and never changes.
        /// Threads: any.
        #[unsafe(no_mangle)]
        pub extern "C" fn orlop_code_name(code: i32) -> *const std::ffi::c_char {
            let name = match code {
                ORLOP_OK => c"ORLOP_OK",
                $($name => match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => return std::ptr::null(),
                },)*
                _ => return std::ptr::null(),
            };
            name.as_ptr()
        }

        #[cfg(test)]
        const ALL: &[(i32, orlop::ErrorKind)] = &[$(($name, orlop::ErrorKind::$kind)),*];
    };
}

/// It has worked. Failures are below zero.
pub const ORLOP_OK: i32 = 0;

codes! {
    /// No layer of that id or name (Go: ErrLayerUnknown).
    ORLOP_ERR_LAYER_UNKNOWN = -1, LayerUnknown;
    /// No image of that id or name (Go: ErrImageUnknown).
    ORLOP_ERR_IMAGE_UNKNOWN = -2, ImageUnknown;
    /// No container of that id or name (Go: ErrContainerUnknown).
    ORLOP_ERR_CONTAINER_UNKNOWN = -3, ContainerUnknown;
    /// Nothing of that id or name (Go: ErrNotAnID).
    ORLOP_ERR_NOT_FOUND = -4, NotFound;
    /// The id is not a layer's (Go: ErrNotALayer).
    ORLOP_ERR_NOT_A_LAYER = -5, NotALayer;
    /// The id is not a container's (Go: ErrNotAContainer).
    ORLOP_ERR_NOT_A_CONTAINER = -6, NotAContainer;
    /// The id is taken (Go: ErrDuplicateID).
    ORLOP_ERR_DUPLICATE_ID = -7, DuplicateId;
    /// The name is taken (Go: ErrDuplicateName).
    ORLOP_ERR_DUPLICATE_NAME = -8, DuplicateName;
    /// A layer has children (Go: ErrLayerHasChildren).
    ORLOP_ERR_LAYER_HAS_CHILDREN = -9, LayerHasChildren;
    /// A layer is used by an image (Go: ErrLayerUsedByImage).
    ORLOP_ERR_LAYER_USED_BY_IMAGE = -10, LayerUsedByImage;
    /// A layer is used by a container (Go: ErrLayerUsedByContainer).
    ORLOP_ERR_LAYER_USED_BY_CONTAINER = -11, LayerUsedByContainer;
    /// A container uses the image (Go: ErrImageUsedByContainer).
    ORLOP_ERR_IMAGE_USED_BY_CONTAINER = -12, ImageUsedByContainer;
    /// A container's layer cannot be a parent (Go: ErrParentIsContainer).
    ORLOP_ERR_PARENT_IS_CONTAINER = -13, ParentIsContainer;
    /// The parent layer is not known (Go: ErrParentUnknown).
    ORLOP_ERR_PARENT_UNKNOWN = -14, ParentUnknown;
    /// The object belongs to a read-only store (Go: ErrStoreIsReadOnly).
    ORLOP_ERR_READ_ONLY = -15, ReadOnly;
    /// The size is not recorded (Go: ErrSizeUnknown).
    ORLOP_ERR_SIZE_UNKNOWN = -16, SizeUnknown;
    /// No big data item of that key (Go: os.ErrNotExist).
    ORLOP_ERR_DATA_UNKNOWN = -17, DataUnknown;
    /// A digest is malformed (Go: digest.ErrDigestInvalidFormat).
    ORLOP_ERR_INVALID_DIGEST = -18, InvalidDigest;
    /// Content does not match its digest.
    ORLOP_ERR_DIGEST_MISMATCH = -19, DigestMismatch;
    /// An argument is malformed, NULL where something is needed, or an unknown option is set.
    ORLOP_ERR_INVALID_ARGUMENT = -20, InvalidArgument;
    /// A configuration file, key or option is malformed.
    ORLOP_ERR_CONFIG = -21, Config;
    /// A record, link or other file of a store is malformed.
    ORLOP_ERR_CORRUPT = -22, Corrupt;
    /// An archive or image file is malformed.
    ORLOP_ERR_INVALID_ARCHIVE = -23, InvalidArchive;
    /// The driver, kernel or file system lacks what was asked for (Go: graphdriver.ErrNotSupported).
    ORLOP_ERR_NOT_SUPPORTED = -24, NotSupported;
    /// A prerequisite of the driver is missing (Go: graphdriver.ErrPrerequisites).
    ORLOP_ERR_PREREQUISITES = -25, Prerequisites;
    /// The driver does not work on this file system (Go: graphdriver.ErrIncompatibleFS).
    ORLOP_ERR_INCOMPATIBLE_FS = -26, IncompatibleFs;
    /// More lower layers than the kernel takes.
    ORLOP_ERR_MAX_DEPTH = -27, MaxDepth;
    /// The object is in use or mounted.
    ORLOP_ERR_BUSY = -28, Busy;
    /// The signature policy rejects the image.
    ORLOP_ERR_POLICY_REJECTED = -29, PolicyRejected;
    /// A system call failed; orlop_error_errno tells how.
    ORLOP_ERR_IO = -30, Io;
    /// A defect of the library; the handle that was used answers nothing but this from now on.
    ORLOP_ERR_INTERNAL = -31, Internal;
    /// Called off by orlop_cancel_now (Go: context.Canceled).
    ORLOP_ERR_CANCELLED = -32, Cancelled;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_the_library_has_its_code() {
        for (code, kind) in ALL {
            assert_eq!(*code, kind.code(), "{kind:?}");
        }
        assert_eq!(ALL.len(), orlop::ErrorKind::ALL.len());
    }
}
