//! Images in and out: load, save, commit.

use std::ffi::c_char;
use std::path::PathBuf;

use orlop::Result;
use orlop::config::{Environment, User};
use orlop::image::{
    self, CommitFormat, CommitOptions, LoadOptions, Loaded, Output, Platform, SaveFormat,
    SaveOptions, Source,
};
use serde::Serialize;

use crate::buffer::{BufferOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{
    self, Options, descriptor, flag, invalid, optional_path, options, orlop_strings, strings, text,
};
use crate::json;
use crate::operation::{Watch, orlop_operation};
use crate::store::orlop_store;
use crate::store_input::{some_string, some_text, some_time};
use crate::stream::{Stream, gathered};

/// How to load. NULL in its place: this machine's platform, the policy that podman would obey, the names of the source.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_load_options {
    /// sizeof(struct orlop_load_options).
    pub size: usize,
    /// The platform to take from a multi-platform index, as "linux/arm/v7"; NULL: this machine's.
    pub platform: *const c_char,
    /// The signature policy (a containers-policy.json(5)) to obey; NULL: the one that podman would obey, where there is one: the
    /// user's, else that of /etc/containers or /usr/share/containers.
    pub policy: *const c_char,
    /// 1: obey no policy, accept everything; not with `policy`.
    pub accept_anything: u32,
    /// Zero.
    pub reserved: u32,
    /// The names to give, in place of those that the source holds; only for a source with a single image.
    pub names: orlop_strings,
    /// Where large temporary files go; NULL: /var/tmp.
    pub temp_dir: *const c_char,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_load_options {
    const NAME: &'static str = "orlop_load_options";
}

/// How to save. NULL in its place: a docker archive.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_save_options {
    /// sizeof(struct orlop_save_options).
    pub size: usize,
    /// "docker-archive", "oci-archive" or "oci-dir"; NULL: docker-archive.
    pub format: *const c_char,
    /// Where large temporary files go; NULL: /var/tmp.
    pub temp_dir: *const c_char,
}

// SAFETY: pointers which may be NULL, `size` first.
unsafe impl Options for orlop_save_options {
    const NAME: &'static str = "orlop_save_options";
}

/// How to commit. NULL in its place: as OCI, now, without further words.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_commit_options {
    /// sizeof(struct orlop_commit_options).
    pub size: usize,
    /// The author, for config and history.
    pub author: *const c_char,
    /// A message, for the history.
    pub message: *const c_char,
    /// Instructions such as `CMD ["/bin/sh"]`: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD (docker only), STOPSIGNAL, USER, VOLUME,
    /// WORKDIR.
    pub changes: orlop_strings,
    /// When the image was created, as RFC 3339 has it; NULL: now.
    pub created: *const c_char,
    /// "oci" or "docker", the kind of manifest; NULL: oci.
    pub format: *const c_char,
    /// Where large temporary files go; NULL: /var/tmp.
    pub temp_dir: *const c_char,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_commit_options {
    const NAME: &'static str = "orlop_commit_options";
}

/// An image that was loaded, in print.
#[derive(Serialize)]
struct Printed<'a> {
    id: &'a str,
    names: &'a [String],
}

impl<'a> From<&'a Loaded> for Printed<'a> {
    fn from(loaded: &'a Loaded) -> Self {
        Self { id: &loaded.image_id, names: &loaded.names }
    }
}

/// # Safety
/// What `given` leads to lives as long as the call.
unsafe fn policy(given: &orlop_load_options) -> Result<Option<PathBuf>> {
    // SAFETY: as the caller promises.
    let path = unsafe { optional_path(given.policy) };
    match (path, flag(given.accept_anything, "accept_anything")?) {
        (Some(_), true) => {
            return Err(invalid("policy").detail("it goes with accept_anything = 0"));
        }
        (None, true) => return Ok(None),
        (Some(path), false) => return Ok(Some(path)),
        (None, false) => {}
    }
    let env = Environment::of_process();
    let home = || User::of_process(&env).home.map(|home| home.join(".config"));
    let config = env.non_empty("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Ok(image::find_policy(config.as_deref()))
}

/// Whether it is a path or a descriptor that was given.
fn one_of(path: Option<PathBuf>, fd: i32) -> Result<Option<PathBuf>> {
    match path {
        Some(_) if fd >= 0 => {
            Err(invalid("fd").detail("there is a path, too").hint("give -1 with a path"))
        }
        path => Ok(path),
    }
}

/// Loads the images of a docker archive, an OCI archive (each plain or compressed) or an OCI layout directory, which its content
/// tells: of `path`, with `fd` -1, or an archive from `fd`, with `path` NULL. Gives [{"id": "...", "names": [...]}, ...].
///
/// Each blob is checked against its digest. Names are completed as podman load does and taken away from other images. The progress
/// has one item for each layer, and one for a stream that is copied first.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; the descriptor stays the caller's.
/// Threads: any; without `policy` and `accept_anything` it reads the environment, so that no other thread may call setenv meanwhile.
/// Errors: ORLOP_ERR_INVALID_ARCHIVE, ORLOP_ERR_DIGEST_MISMATCH, ORLOP_ERR_POLICY_REJECTED, ORLOP_ERR_CANCELLED; ORLOP_ERR_IO for the
/// file. The layers and images that the call has made are deleted again. To open a named pipe waits for its writer and cannot be
/// called off: give a descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_load(
    store: *const orlop_store,
    path: *const c_char,
    fd: i32,
    given: *const orlop_load_options,
    operation: *const orlop_operation,
    loaded: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; the descriptor stays open for the call.
    unsafe {
        run(error, || {
            let out = BufferOut::new(loaded);
            let store = handle::borrow(store)?;
            let given = options(given)?;
            input::reserved(given.reserved)?;
            let names = strings(given.names, "names")?;
            let platform = some_text(given.platform, "platform")?;
            let policy = policy(&given)?;
            let path = one_of(optional_path(path), fd)?;
            let stream = if path.is_none() { Some(descriptor(fd, "fd")?) } else { None };
            let watch = Watch::new(operation)?;
            let how = LoadOptions {
                platform: platform.map(str::parse::<Platform>).transpose()?,
                policy,
                names: Some(names).filter(|names| !names.is_empty()),
                temp_dir: optional_path(given.temp_dir),
                progress: &watch,
            };
            let source = match (path, stream) {
                (Some(path), _) => Source::Path(path),
                (None, Some(fd)) => Source::Stream(Box::new(Stream::new(fd, &watch))),
                (None, None) => return Err(input::missing("path")),
            };
            let images = image::load(&store, source, &how)?;
            out.put(json::text(&images.iter().map(Printed::from).collect::<Vec<_>>())?);
            Ok(())
        })
    }
}

/// Saves images, given by ids or names, to `path`, at which there may be nothing with content, with `fd` -1; or an archive to `fd`,
/// with `path` NULL. Those given by name are saved with it; layers that they share are written once. The progress has one item for
/// each layer.
///
/// Ownership: the descriptor stays the caller's.
/// Threads: any.
/// Errors: ORLOP_ERR_IMAGE_UNKNOWN, ORLOP_ERR_DIGEST_MISMATCH for a layer that is no longer what it was, ORLOP_ERR_CANCELLED; ORLOP_ERR_IO
/// for the file. A path is then as it was; what was written to a descriptor stays. To open a named pipe waits for its reader and
/// cannot be called off: give a descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_save(
    store: *const orlop_store,
    names: orlop_strings,
    path: *const c_char,
    fd: i32,
    given: *const orlop_save_options,
    operation: *const orlop_operation,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; the descriptor stays open for the call.
    unsafe {
        run(error, || {
            let store = handle::borrow(store)?;
            let given = options(given)?;
            let names = strings(names, "names")?;
            let format = some_text(given.format, "format")?;
            let format = format.map_or(Ok(SaveFormat::default()), str::parse)?;
            let path = one_of(optional_path(path), fd)?;
            let stream = if path.is_none() { Some(descriptor(fd, "fd")?) } else { None };
            let watch = Watch::new(operation)?;
            let how = SaveOptions { temp_dir: optional_path(given.temp_dir), progress: &watch };
            let Some(fd) = stream else {
                let output = Output::Path(path.unwrap_or_default());
                return image::save(&store, &names, format, output, &how);
            };
            gathered(Stream::new(fd, &watch), 1 << 18, "saving images", |out| {
                image::save(&store, &names, format, Output::Writer(out), &how)
            })
        })
    }
}

/// Makes an image of a container's root file system as it is now, with `name` (NULL: none; completed as podman commit does, and
/// taken away from other images), and gives its id. The progress has one item, which counts the bytes of the changes.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_CONTAINER_UNKNOWN; ORLOP_ERR_INVALID_ARGUMENT for a name, a format or an instruction; ORLOP_ERR_CANCELLED.
/// Nothing is left then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_commit(
    store: *const orlop_store,
    container: *const c_char,
    name: *const c_char,
    given: *const orlop_commit_options,
    operation: *const orlop_operation,
    image: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(image);
            let store = handle::borrow(store)?;
            let (container, name) = (text(container, "container")?, some_text(name, "name")?);
            let given = options(given)?;
            let format = some_text(given.format, "format")?;
            let watch = Watch::new(operation)?;
            let how = CommitOptions {
                author: some_string(given.author, "author")?,
                message: some_string(given.message, "message")?,
                changes: strings(given.changes, "changes")?,
                created: some_time(given.created, "created")?,
                format: format.map_or(Ok(CommitFormat::default()), str::parse)?,
                temp_dir: optional_path(given.temp_dir),
                progress: &watch,
            };
            out.put(image::commit(&store, container, name.unwrap_or_default(), &how)?);
            Ok(())
        })
    }
}
