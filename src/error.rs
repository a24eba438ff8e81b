//! The one error type of the library: what was tried, on what, why it failed, what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible operation of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What class of failure an [`Error`] is; each maps to one value of the Go library's `storage.Err…` set, [`Self::Cancelled`] to
/// Go's `context.Canceled`.
///
/// The phrase that [`ErrorKind::phrase`] gives is the Go library's own, so that scripts that match on it keep working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No layer of that id or name.
    LayerUnknown,
    /// No image of that id or name.
    ImageUnknown,
    /// No container of that id or name.
    ContainerUnknown,
    /// Nothing (layer, image or container) of that id or name.
    NotFound,
    /// The id is not a layer's.
    NotALayer,
    /// The id is not a container's.
    NotAContainer,
    /// The id is taken.
    DuplicateId,
    /// The name is taken by another record of the same kind.
    DuplicateName,
    /// A layer has children.
    LayerHasChildren,
    /// A layer is used by an image.
    LayerUsedByImage,
    /// A layer is used by a container.
    LayerUsedByContainer,
    /// A container uses the image.
    ImageUsedByContainer,
    /// The layer is a container's, and cannot be a parent.
    ParentIsContainer,
    /// The parent layer is not known.
    ParentUnknown,
    /// The object belongs to a read-only store.
    ReadOnly,
    /// The recorded size is not known.
    SizeUnknown,
    /// A big data item of that key does not exist.
    DataUnknown,
    /// A digest is malformed.
    InvalidDigest,
    /// Content does not match its digest.
    DigestMismatch,
    /// An id, name, key, option or other argument is malformed.
    InvalidArgument,
    /// A configuration file, key or option is malformed.
    Config,
    /// A record, link or other file of a store is malformed.
    Corrupt,
    /// An archive or an image file is malformed.
    InvalidArchive,
    /// The driver, kernel or file system lacks what was asked for.
    NotSupported,
    /// A prerequisite of the driver is missing.
    Prerequisites,
    /// The driver does not work on this backing file system.
    IncompatibleFs,
    /// More lower layers than the kernel takes.
    MaxDepth,
    /// The object is in use or mounted.
    Busy,
    /// The signature policy rejects the image.
    PolicyRejected,
    /// A system call failed.
    Io,
    /// A state that the library holds impossible: a defect in it.
    Internal,
    /// The caller called it off.
    Cancelled,
    /// The id is not that of an image which could be deleted.
    NotAnImage,
    /// A big data item cannot have that key.
    InvalidDataName,
    /// A store is to be opened without the roots that it needs.
    IncompleteOptions,
}

impl ErrorKind {
    /// Every kind, in the order of their codes.
    pub const ALL: &[Self] = &[
        Self::LayerUnknown,
        Self::ImageUnknown,
        Self::ContainerUnknown,
        Self::NotFound,
        Self::NotALayer,
        Self::NotAContainer,
        Self::DuplicateId,
        Self::DuplicateName,
        Self::LayerHasChildren,
        Self::LayerUsedByImage,
        Self::LayerUsedByContainer,
        Self::ImageUsedByContainer,
        Self::ParentIsContainer,
        Self::ParentUnknown,
        Self::ReadOnly,
        Self::SizeUnknown,
        Self::DataUnknown,
        Self::InvalidDigest,
        Self::DigestMismatch,
        Self::InvalidArgument,
        Self::Config,
        Self::Corrupt,
        Self::InvalidArchive,
        Self::NotSupported,
        Self::Prerequisites,
        Self::IncompatibleFs,
        Self::MaxDepth,
        Self::Busy,
        Self::PolicyRejected,
        Self::Io,
        Self::Internal,
        Self::Cancelled,
        Self::NotAnImage,
        Self::InvalidDataName,
        Self::IncompleteOptions,
    ];

    /// The number of this kind in the C ABI: negative, the same for ever, and never given to another kind.
    pub fn code(self) -> i32 {
        match self {
            Self::LayerUnknown => -1,
            Self::ImageUnknown => -2,
            Self::ContainerUnknown => -3,
            Self::NotFound => -4,
            Self::NotALayer => -5,
            Self::NotAContainer => -6,
            Self::DuplicateId => -7,
            Self::DuplicateName => -8,
            Self::LayerHasChildren => -9,
            Self::LayerUsedByImage => -10,
            Self::LayerUsedByContainer => -11,
            Self::ImageUsedByContainer => -12,
            Self::ParentIsContainer => -13,
            Self::ParentUnknown => -14,
            Self::ReadOnly => -15,
            Self::SizeUnknown => -16,
            Self::DataUnknown => -17,
            Self::InvalidDigest => -18,
            Self::DigestMismatch => -19,
            Self::InvalidArgument => -20,
            Self::Config => -21,
            Self::Corrupt => -22,
            Self::InvalidArchive => -23,
            Self::NotSupported => -24,
            Self::Prerequisites => -25,
            Self::IncompatibleFs => -26,
            Self::MaxDepth => -27,
            Self::Busy => -28,
            Self::PolicyRejected => -29,
            Self::Io => -30,
            Self::Internal => -31,
            Self::Cancelled => -32,
            Self::NotAnImage => -33,
            Self::InvalidDataName => -34,
            Self::IncompleteOptions => -35,
        }
    }

    /// The phrase of the Go library for this class, as printed by its command.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::LayerUnknown => "layer not known",
            Self::ImageUnknown => "image not known",
            Self::ContainerUnknown => "container not known",
            Self::NotFound => "identifier is not a layer, image, or container",
            Self::NotALayer => "identifier is not a layer",
            Self::NotAContainer => "identifier is not a container",
            Self::DuplicateId => "that ID is already in use",
            Self::DuplicateName => "that name is already in use",
            Self::LayerHasChildren => "layer has children",
            Self::LayerUsedByImage => "layer is in use by an image",
            Self::LayerUsedByContainer => "layer is in use by a container",
            Self::ImageUsedByContainer => "image is in use by a container",
            Self::ParentIsContainer => "would-be parent layer is a container",
            Self::ParentUnknown => "parent of layer not known",
            Self::ReadOnly => "called a write method on a read-only store",
            Self::SizeUnknown => "size is not known",
            Self::DataUnknown => "file does not exist",
            Self::InvalidDigest => "invalid checksum digest format",
            Self::DigestMismatch => "content differs from its digest",
            Self::InvalidArgument => "invalid argument",
            Self::Config => "invalid configuration",
            Self::Corrupt => "damaged store",
            Self::InvalidArchive => "invalid archive",
            Self::NotSupported => "driver not supported",
            Self::Prerequisites => "prerequisites for driver not satisfied (wrong filesystem?)",
            Self::IncompatibleFs => "backing file system is unsupported for this graph driver",
            Self::MaxDepth => "max depth exceeded",
            Self::Busy => "resource is in use",
            Self::PolicyRejected => "rejected by the signature policy",
            Self::Io => "input/output error",
            Self::Internal => "internal error",
            Self::Cancelled => "operation canceled",
            Self::NotAnImage => "identifier is not an image",
            Self::InvalidDataName => "not a valid name for a big data item",
            Self::IncompleteOptions => "missing necessary StoreOptions",
        }
    }
}

/// A failed operation: class, action, object, cause and advice.
///
/// ```
/// use orlop::{Error, ErrorKind};
/// let e = Error::new(ErrorKind::LayerUnknown, "mounting layer \"x\"").hint("list the layers with `orlop layers`");
/// assert_eq!(e.to_string(), "mounting layer \"x\": layer not known (list the layers with `orlop layers`)");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    action: String,
    detail: Option<String>,
    path: Option<PathBuf>,
    id: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// The kind is that of an error of ours in the cause, which says the phrase.
    inherited: bool,
}

impl Error {
    /// An error of class `kind` met while doing `action` (a phrase such as `mounting layer "x"`).
    pub fn new(kind: ErrorKind, action: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            action: action.into(),
            detail: None,
            path: None,
            id: None,
            hint: None,
            source: None,
            inherited: false,
        }))
    }

    /// A failed system call: `action` names the call's purpose, `path` its object. Of an error of ours inside `source`, the kind
    /// stays, as with [`Error::caused_by`].
    pub fn io(
        action: impl Into<String>,
        path: impl AsRef<Path>,
        source: impl Into<io::Error>,
    ) -> Self {
        let mut e = Self::new(ErrorKind::Io, action);
        e.0.path = Some(path.as_ref().to_path_buf());
        e.caused_by(source.into())
    }

    /// Says more exactly what is wrong, after the class's phrase.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names the file concerned.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Names the layer, image or container concerned.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Some(id.into());
        self
    }

    /// Says what to do about it; where the cause is an error of ours that came through a reader or writer, its own advice counts.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if !self.0.inherited {
            self.0.hint = Some(hint.into());
        }
        self
    }

    /// Keeps the error that caused this one.
    ///
    /// If that is, or has as its cause, an [`io::Error`] with an error of ours inside, which a caller's reader or writer has returned,
    /// the kind becomes the inner one's: what has failed there is not the stream. [`ErrorKind::Cancelled`] stays in any case.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        if let Some(kind) = carried_kind(&*source) {
            self.0.kind = kind;
            self.0.inherited = true;
            self.0.hint = None;
        }
        let errno = source.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if errno == Some(libc::EMFILE) && self.0.hint.is_none() {
            self.0.hint = too_many_files();
        }
        self.0.source = Some(source);
        self
    }

    /// Puts what was being done at a higher level in front: `while` reads as `loading image "x"`.
    #[must_use]
    pub fn context(mut self, outer: impl AsRef<str>) -> Self {
        self.0.action = format!("{}: {}", outer.as_ref(), self.0.action);
        self
    }

    /// The class of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file concerned, where there is one.
    pub fn file(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The layer, image or container concerned, where there is one.
    pub fn object_id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// The advice, where there is some.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The operating system's error that is the cause, where one is.
    pub fn os_error(&self) -> Option<io::ErrorKind> {
        let mut cause = std::error::Error::source(self);
        while let Some(e) = cause {
            if let Some(io) = e.downcast_ref::<io::Error>() {
                return Some(io.kind());
            }
            cause = e.source();
        }
        None
    }

    /// The number of the system call's error (`errno`) that is the cause, where one is.
    pub fn raw_os_error(&self) -> Option<i32> {
        causes(self).find_map(|e| {
            let io = e.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
            io.or_else(|| e.downcast_ref::<rustix::io::Errno>().map(|e| e.raw_os_error()))
                .or_else(|| e.downcast_ref::<nix::errno::Errno>().map(|e| *e as i32))
        })
    }
}

/// An error and what caused it, one behind the other. What is inside an [`io::Error`] is among them, which its `source` passes over.
fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |e| match e.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
        None => e.source(),
    })
}

/// The kind that an error with this cause has because of it.
fn carried_kind(source: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let mut in_stream = false;
    causes(source).find_map(|e| {
        in_stream |= e.is::<io::Error>();
        let kind = e.downcast_ref::<Error>().map(Error::kind);
        kind.filter(|kind| in_stream || *kind == ErrorKind::Cancelled)
    })
}

/// What to do where the process may not open more files.
fn too_many_files() -> Option<String> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    Some(format!("this process may have {limit} files open; raise that, as with `ulimit -n 1024`"))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.0;
        f.write_str(&e.action)?;
        if let Some(path) = &e.path
            && !e.action.contains(&*path.to_string_lossy())
        {
            write!(f, " {path:?}")?;
        }
        if let Some(id) = &e.id
            && !e.action.contains(id.as_str())
        {
            write!(f, " (id {id})")?;
        }
        if !(e.inherited || e.kind == ErrorKind::Io && e.source.is_some()) {
            write!(f, ": {}", e.kind.phrase())?;
        }
        if let Some(detail) = &e.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(source) = &e.source {
            write!(f, ": {source}")?;
        }
        if let Some(hint) = &e.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests;
