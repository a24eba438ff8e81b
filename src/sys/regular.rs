//! Opening a store's own files: regular ones, never through a symbolic link, and never waiting for whoever serves a pipe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

/// The bytes of a file for which room is made before they are read; for more it is made as they come.
const LARGE: u64 = 16 << 20;

/// Opens the file at `path` for reading; `None` if there is none. `action` says what for.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for a link and for what is no regular file; a failed open(2).
pub(crate) fn open(action: &str, path: &Path) -> Result<Option<File>> {
    Ok(open_with_size(action, path)?.map(|(file, _)| file))
}

/// As [`open`], with the file's size in bytes.
fn open_with_size(action: &str, path: &Path) -> Result<Option<(File, u64)>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refused(action, path, e)),
    };
    let meta = file.metadata().map_err(|e| Error::io(action, path, e))?;
    if !meta.is_file() {
        return Err(odd(action, path, "it is not a regular file"));
    }
    Ok(Some((file, meta.len())))
}

/// The content of the file at `path`; `None` if there is none.
///
/// # Errors
/// As [`open`]; a failed read.
pub(crate) fn read(action: &str, path: &Path) -> Result<Option<Vec<u8>>> {
    let Some((file, size)) = open_with_size(action, path)? else { return Ok(None) };
    // One byte more, in which the end of the file is found without growing; a hint only, so that no size can ask for too much.
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(LARGE)).unwrap_or(0) + 1);
    loop {
        match rustix::io::read(&file, spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(Some(bytes)),
            Ok(_) if bytes.len() == bytes.capacity() => bytes.reserve(bytes.len()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Error::io(action, path, e)),
        }
    }
}

/// Refuses a symbolic link in the place of a directory of the store: what it leads to is not the store's, neither to read nor to
/// make or remove anything in it.
///
/// # Errors
/// [`ErrorKind::Corrupt`].
pub(crate) fn refuse_link(dir: &Path) -> Result<()> {
    if dir.is_symlink() {
        return Err(odd("using the directory", dir, "it is a symbolic link"));
    }
    Ok(())
}

/// The error of an open(2) that does not follow links.
fn refused(action: &str, path: &Path, e: io::Error) -> Error {
    match e.raw_os_error() {
        Some(libc::ELOOP) => odd(action, path, "it is a symbolic link"),
        // Of a socket, and of a device that nobody serves.
        Some(libc::ENXIO) => odd(action, path, "it is not a regular file"),
        _ => Error::io(action, path, e),
    }
}

/// The error of something else in a file's place.
pub(crate) fn odd(action: &str, path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, action)
        .path(path)
        .detail(why)
        .hint("nothing was changed; put the file back in its place")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(read("reading", &at("file")).unwrap().unwrap(), b"text");
        assert!(read("reading", &at("nothing")).unwrap().is_none());
        for (name, why) in [
            ("dir", "not a regular file"),
            ("pipe", "not a regular file"),
            ("socket", "not a regular file"),
            ("link", "symbolic link"),
            ("dangling", "symbolic link"),
        ] {
            let e = read("reading", &at(name)).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
            assert!(e.to_string().contains(why) && e.to_string().contains(name), "{e}");
        }
        let e = read("reading", &at("file/below")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io, "{e}");
    }
}
