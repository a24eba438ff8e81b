//! Directories of a foreign store, whose names lead nowhere else: no look-up follows a link.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::regular::odd;
use crate::{Digest, Error, ErrorKind, Result};

/// The largest JSON file that is read, in bytes: more than docker's own limits let it write.
pub(super) const MAX_JSON: u64 = 4 << 20;

/// The largest file with one word in it.
const MAX_WORD: u64 = 4096;

const ACTION: &str = "reading docker's data root";

/// An open directory and where it is.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens what `path` leads to, links followed: the one way in.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| Error::io("opening docker's data root", path, io::Error::from(e)))?;
        Ok(Self { fd, path: path.to_path_buf() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The directory of that name; `None` if there is none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Self>> {
        let path = self.entry(name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let link = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
                let why = if link { "it is a symbolic link" } else { "it is not a directory" };
                Err(odd(ACTION, &path, why))
            }
            Err(e) => Err(Error::io(ACTION, path, io::Error::from(e))),
        }
    }

    /// As [`Directory::find`], where it must be.
    pub(super) fn at(&self, name: &str) -> Result<Self> {
        self.find(name)?.ok_or_else(|| missing(&self.path.join(name)))
    }

    /// The directory at the end of those names, each in the one before.
    pub(super) fn down(&self, names: &[&str]) -> Result<Option<Self>> {
        let mut found: Option<Self> = None;
        for name in names {
            match found.as_ref().unwrap_or(self).find(name)? {
                Some(next) => found = Some(next),
                None => return Ok(None),
            }
        }
        Ok(found)
    }

    /// The regular file of that name, open for reading; `None` if there is none.
    pub(super) fn file(&self, name: &str) -> Result<Option<File>> {
        let path = self.entry(name)?;
        // A device is not even opened.
        let kind = match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(Error::io(ACTION, path, io::Error::from(e))),
        };
        match kind {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(odd(ACTION, &path, "it is a symbolic link")),
            _ => return Err(odd(ACTION, &path, "it is not a regular file")),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map(File::from)
            .map_err(|e| Error::io(ACTION, &path, io::Error::from(e)))?;
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(Some(file)),
            Ok(_) => Err(odd(ACTION, &path, "it is not a regular file")),
            Err(e) => Err(Error::io(ACTION, path, e)),
        }
    }

    /// The content of a file of at most `limit` bytes; `None` if there is none.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        let path = self.path.join(name);
        match read {
            Err(e) => Err(Error::io(ACTION, path, e)),
            Ok(n) if n as u64 > limit => {
                Err(odd(ACTION, &path, &format!("it has more than {limit} bytes")))
            }
            Ok(_) => Ok(Some(bytes)),
        }
    }

    /// The directory once more, with a description of its own.
    pub(super) fn reopened(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, ".", flags, Mode::empty())
            .map_err(|e| Error::io(ACTION, &self.path, io::Error::from(e)))
    }

    /// Removes the entry of that name, which is no directory; one that is gone already is as good.
    pub(super) fn unlink(&self, name: &str) -> Result<()> {
        let path = self.entry(name)?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::io("removing", path, io::Error::from(e))),
        }
    }

    /// Makes its names survive a loss of power.
    pub(super) fn sync(&self) -> Result<()> {
        crate::sys::atomic::sync_dir(&self.path)
    }

    /// The text of a file with one word in it; `None` if there is no file.
    pub(super) fn word(&self, name: &str) -> Result<Option<String>> {
        let Some(bytes) = self.read(name, MAX_WORD)? else { return Ok(None) };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(_) => Err(odd(ACTION, &self.path.join(name), "it is not text")),
        }
    }

    /// The digest in a file; `None` if there is no file.
    pub(super) fn digest(&self, name: &str) -> Result<Option<Digest>> {
        let Some(text) = self.word(name)? else { return Ok(None) };
        match Digest::parse(text) {
            Ok(digest) if digest.algorithm() == "sha256" => Ok(Some(digest)),
            Ok(_) => Err(odd(ACTION, &self.path.join(name), "its digest is not of sha256")),
            Err(e) => Err(odd(ACTION, &self.path.join(name), "it holds no digest").caused_by(e)),
        }
    }

    /// The names of the entries, sorted; those that are not UTF-8, which none of docker's are, are left out.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let failed = |e: Errno| Error::io(ACTION, &self.path, io::Error::from(e));
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The path of an entry, whose name must be one.
    fn entry(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(odd(ACTION, &self.path, "a name in it is none")
                .detail(format!("{name:?} is not the name of a file")));
        }
        Ok(self.path.join(name))
    }
}

/// The error of something that is not there and should be.
pub(super) fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::Corrupt, ACTION)
        .path(path)
        .detail("it is missing")
        .hint("docker's data root is incomplete; pull the image anew, or leave it out")
}

/// The error of something that does not fit together.
pub(super) fn damaged(what: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("reading {what} of docker"))
        .detail(why)
        .hint("nothing was changed; docker itself may still be able to `docker save` it")
}

/// Leaves a damaged record out, which the log says. What the disk does not give just now may be whole, and without it the others would look
/// as if nothing needed them.
pub(super) fn pass_over(what: &str, e: Error) -> Result<()> {
    if e.kind() == ErrorKind::Io {
        return Err(e);
    }
    tracing::warn!("{what} of docker is passed over: {e}");
    Ok(())
}

/// Whether `text` can name a layer's directory in `overlay2`: an id of docker's, or one of BuildKit's, which has 25 digits to the base of 36.
pub(super) fn is_cache_id(text: &str) -> bool {
    is_id(text)
        || text.len() == 25 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

/// Whether `text` is one of docker's ids: 64 lower-case hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_have_ids_of_docker_or_of_buildkit() {
        let docker = "0123456789abcdef".repeat(4);
        assert!(is_id(&docker) && is_cache_id(&docker));
        for buildkit in ["z9kq0x3vj5m1w8r2t7y4u6p0a", &"0".repeat(25), &"z".repeat(25)] {
            assert!(is_cache_id(buildkit) && !is_id(buildkit), "{buildkit}");
        }
        for bad in [
            &"0".repeat(24),
            &"0".repeat(26),
            &"0".repeat(63),
            &"z".repeat(64),
            "Z9kq0x3vj5m1w8r2t7y4u6p0a",
            "z9kq0x3vj5m1w8r2t7y4u6p0/",
            "../k0x3vj5m1w8r2t7y4u6p0a",
            "z9kq0x3vj5m1w8r2t7y4u6pé",
            "",
        ] {
            assert!(!is_cache_id(bad), "{bad}");
        }
    }
}
