//! Thin images: their document, and making them of stored ones.

use std::ffi::{CString, c_char, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{Whence, lseek};
use orlop::image::{ThinOptions, make_thin};
use orlop::progress::ProgressItem;
use orlop::thin::{
    LayerUpload, PackedLayer, Patience, Publication, Repository, ThinImage, write_archive,
};
use orlop::{Digest, Error, ErrorKind, Result};
use serde::Serialize;

use crate::buffer::{BufferOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{self, Options, data, optional_path, options, text};
use crate::json;
use crate::operation::{Watch, orlop_operation};
use crate::store::orlop_store;
use crate::store_input::some_string;

/// The layer is on its way into the repository.
pub const ORLOP_PUBLICATION_UNDER_WAY: u32 = 0;
/// The repository has it.
pub const ORLOP_PUBLICATION_DONE: u32 = 1;
/// Nobody there has heard of it.
pub const ORLOP_PUBLICATION_UNKNOWN: u32 = 2;

/// Who takes layers and publishes them in a repository, for orlop_make_thin. The functions are called one after the other within the
/// call, maybe by another thread than the caller's; they must return.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_layer_upload {
    /// sizeof(struct orlop_layer_upload).
    pub size: usize,
    /// The repository that layers appear in, as "unpacked.cern.ch"; each in its folder "layers", under the hexadecimal digits of its
    /// digest.
    pub repository: *const c_char,
    /// Takes a layer, which may have been taken before: `bytes` bytes from `fd`, a gzip-compressed tar with the digest `digest`. The
    /// descriptor is the library's, to be read until the function returns; it stands at the first byte. 0, or the errno of what went
    /// wrong; nothing is published then.
    pub put: Option<
        unsafe extern "C" fn(
            userdata: *mut c_void,
            digest: *const c_char,
            fd: i32,
            bytes: u64,
        ) -> i32,
    >,
    /// Sets *publication to how far the layer with that digest is, one of ORLOP_PUBLICATION_*. 0, or the errno of what went wrong;
    /// EAGAIN if there is no answer now. Asked before the first `put`, too: a layer that is published, or about to be, is not sent. Where
    /// there is no answer, and where a layer is still unknown after it was sent, it is asked again for two minutes, with pauses of up to
    /// 15 seconds.
    pub status: Option<
        unsafe extern "C" fn(
            userdata: *mut c_void,
            digest: *const c_char,
            publication: *mut u32,
        ) -> i32,
    >,
    /// What the functions get.
    pub userdata: *mut c_void,
}

// SAFETY: pointers which may be NULL, functions which may be absent, `size` first.
unsafe impl Options for orlop_layer_upload {
    const NAME: &'static str = "orlop_layer_upload";
}

/// How to make a thin image. NULL in its place: without a name, asking each second for an hour.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_make_thin_options {
    /// sizeof(struct orlop_make_thin_options).
    pub size: usize,
    /// The name of the thin image, completed as podman does; NULL: none.
    pub name: *const c_char,
    /// Where large temporary files go; NULL: /var/tmp.
    pub temp_dir: *const c_char,
    /// Milliseconds between two questions whether a layer is published; 0: 1000.
    pub pause_ms: u32,
    /// Seconds after which a layer that is not published makes the call fail; 0: 3600.
    pub limit_s: u32,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_make_thin_options {
    const NAME: &'static str = "orlop_make_thin_options";
}

/// The caller's functions.
struct Functions {
    put: unsafe extern "C" fn(*mut c_void, *const c_char, i32, u64) -> i32,
    status: unsafe extern "C" fn(*mut c_void, *const c_char, *mut u32) -> i32,
    userdata: *mut c_void,
}

// SAFETY: the header says that any thread may call them.
unsafe impl Send for Functions {}

struct Upload {
    repository: Repository,
    /// One call at a time.
    functions: Mutex<Functions>,
}

impl Upload {
    /// # Safety
    /// As [`options`]; the strings, functions and data live as long as the upload.
    ///
    /// # Errors
    /// When something of it is missing, or the repository is none.
    unsafe fn new(given: *const orlop_layer_upload) -> Result<Self> {
        if given.is_null() {
            return Err(input::missing("upload"));
        }
        // SAFETY: as the caller promises.
        let given = unsafe { options(given) }?;
        // SAFETY: as the caller promises.
        let repository = Repository::new(unsafe { text(given.repository, "repository") }?)?;
        let functions = Functions {
            put: given.put.ok_or_else(|| input::missing("put"))?,
            status: given.status.ok_or_else(|| input::missing("status"))?,
            userdata: given.userdata,
        };
        Ok(Self { repository, functions: Mutex::new(functions) })
    }

    /// What a function of the caller's has returned.
    fn ended(&self, code: i32, action: &str, digest: &Digest) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Io,
            format!("{action} the layer {digest} of {}", self.repository),
        )
        .detail("the function of the program that uploads has failed")
        .caused_by(io::Error::from_raw_os_error(code)))
    }
}

fn c_text(digest: &Digest) -> Result<CString> {
    CString::new(digest.as_str())
        .map_err(|e| Error::new(ErrorKind::Internal, "handing out a digest").caused_by(e))
}

impl LayerUpload for Upload {
    fn repository(&self) -> &Repository {
        &self.repository
    }

    fn put(&self, layer: &PackedLayer, item: &dyn ProgressItem) -> Result<()> {
        let fd = layer.as_fd();
        lseek(fd, 0, Whence::SeekSet)
            .map_err(|e| Error::new(ErrorKind::Io, "handing out a packed layer").caused_by(e))?;
        let digest = c_text(layer.digest())?;
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: a function of the caller's, as the header asks; text and descriptor live for the call.
        let code = unsafe {
            (functions.put)(functions.userdata, digest.as_ptr(), fd.as_raw_fd(), layer.size())
        };
        if code != 0 && item.is_cancelled() {
            return Err(Error::new(
                ErrorKind::Cancelled,
                format!("sending the layer {}", layer.digest()),
            ));
        }
        self.ended(code, "sending", layer.digest())?;
        item.advance(layer.size());
        Ok(())
    }

    fn status(&self, digest: &Digest) -> Result<Publication> {
        let text = c_text(digest)?;
        let mut publication = ORLOP_PUBLICATION_UNKNOWN;
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: a function of the caller's, as the header asks; text and number live for the call.
        let code =
            unsafe { (functions.status)(functions.userdata, text.as_ptr(), &raw mut publication) };
        if code == libc::EAGAIN {
            return Ok(Publication::NoAnswer(
                "the function that tells has no answer now".to_owned(),
            ));
        }
        self.ended(code, "asking for", digest)?;
        match publication {
            ORLOP_PUBLICATION_UNDER_WAY => Ok(Publication::Publishing),
            ORLOP_PUBLICATION_DONE => Ok(Publication::Done),
            ORLOP_PUBLICATION_UNKNOWN => Ok(Publication::Unknown),
            other => {
                Err(input::invalid("publication")
                    .detail(format!("{other} is no ORLOP_PUBLICATION_*")))
            }
        }
    }
}

fn patience(given: &orlop_make_thin_options) -> Patience {
    let usual = Patience::default();
    let chosen = |number: u32| (number != 0).then(|| u64::from(number));
    Patience {
        pause: chosen(given.pause_ms).map_or(usual.pause, Duration::from_millis),
        limit: chosen(given.limit_s).map_or(usual.limit, Duration::from_secs),
        ..usual
    }
}

/// Checks a thin.json, which lists the layers of a thin image, and gives it as it is to be written: {"version", "min_version", "origin",
/// "layers": [{"digest" (hexadecimal digits of a sha256), "url" (cvmfs://REPOSITORY/FOLDER)}] (base first), "comment"}; what is empty is
/// left out, and so are keys that are not known.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_CORRUPT for what is no such document, for digests and addresses that are none, and for more layers than can be
/// mounted; ORLOP_ERR_NOT_SUPPORTED if it is for readers of a later format.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_thin_json(
    document: *const u8,
    len: usize,
    checked: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(checked);
            out.put(read(document, len)?.to_json()?);
            Ok(())
        })
    }
}

/// # Safety
/// As for [`data`].
unsafe fn read(document: *const u8, len: usize) -> Result<ThinImage> {
    if document.is_null() {
        return Err(input::missing("document"));
    }
    // SAFETY: the same promise.
    ThinImage::read(unsafe { data(document, len, "document") }?)
}

/// Makes the tar of a thin image's one layer: the thin.json of `document`, checked as by orlop_thin_json, and nothing else. Equal
/// documents give equal bytes.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: as for orlop_thin_json.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_thin_archive(
    document: *const u8,
    len: usize,
    archive: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(archive);
            let mut tar = Vec::new();
            write_archive(&read(document, len)?, &mut tar)?;
            out.put(tar);
            Ok(())
        })
    }
}

/// Has the layers of `image`, an id or a name, published by `upload`, and makes a thin image of them, with the same configuration.
/// Layers that are thin already are taken over as they are; the image stays. Gives {"id", "names"}. The progress has two items for each
/// layer that is sent: its packing and its sending.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; what `upload` leads to must live as long as the call.
/// Threads: any.
/// Errors: ORLOP_ERR_NOT_SUPPORTED if the store is not of the dialect "cvmfs"; ORLOP_ERR_IMAGE_UNKNOWN; ORLOP_ERR_IO if a layer is not
/// published, with the errno of a function of `upload`; ORLOP_ERR_CANCELLED, once the function that runs has returned. The store is as
/// before then. Layers that have been published stay so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_make_thin(
    store: *const orlop_store,
    image: *const c_char,
    upload: *const orlop_layer_upload,
    given: *const orlop_make_thin_options,
    operation: *const orlop_operation,
    made: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    #[derive(Serialize)]
    struct Made<'a> {
        id: &'a str,
        names: &'a [String],
    }
    // SAFETY: pointers and functions of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(made);
            let store = handle::borrow(store)?;
            let image = text(image, "image")?;
            let upload = Upload::new(upload)?;
            let given = options(given)?;
            let watch = Watch::new(operation)?;
            let how = ThinOptions {
                name: some_string(given.name, "name")?,
                patience: patience(&given),
                temp_dir: optional_path(given.temp_dir),
                progress: &watch,
            };
            let loaded = make_thin(&store, image, &upload, &how)?;
            out.put(json::text(&Made { id: &loaded.image_id, names: &loaded.names })?);
            Ok(())
        })
    }
}
