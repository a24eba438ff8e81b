//! The files of a home and of a layer directory, and what they may say (`overlay-driver.md` 2, ADD-1).

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

use crate::sys::{atomic, regular};
use crate::{Error, ErrorKind, IdMaps, LayerId, Result};

/// The directory of short links.
pub(super) const LINKS: &str = "l";
/// The file in a layer directory that names its short link.
pub(super) const LINK: &str = "link";
/// The file that lists the lower layers by short link.
pub(super) const LOWER: &str = "lower";
/// The file that lists the lower layers by id.
pub(super) const LOWER_LAYERS: &str = "lower-layers";
/// Deferred deletions and staged additions.
pub(super) const TEMP_DIRS: &str = "tempdirs";
/// Partial pulls.
pub(super) const STAGING: &str = "staging";
/// Tells whether the home belongs to a mount program.
pub(super) const MOUNT_PROGRAM_FLAG: &str = ".has-mount-program";
/// The node of the home's device, for quotas on older kernels.
pub(super) const BACKING_DEVICE: &str = "backingFsBlockDev";
/// The mount points of repositories.
pub(super) const REPOSITORIES: &str = "cvmfs";
/// What the home has beside its layers.
pub(super) const RESERVED: [&str; 6] =
    [LINKS, STAGING, TEMP_DIRS, MOUNT_PROGRAM_FLAG, BACKING_DEVICE, REPOSITORIES];
/// Prefixes of the probes' directories, which a crash can leave behind (DEF-28).
pub(super) const PROBES: [&str; 4] =
    ["compat", "metacopy-check", "opaque-bug-check", "volatile-check"];

/// The most lower directories that an overlay takes.
pub(super) const MAX_LOWERS: usize = 500;

/// Far more than 500 lowers with ids of 255 bytes.
const SMALL_FILE_LIMIT: u64 = 1 << 20;

/// The name of a short link: 26 of `A`–`Z` and `2`–`7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LinkId(String);

impl LinkId {
    /// A fresh one: 26 characters of RFC 4648 base32, random.
    pub(super) fn random() -> Self {
        const ALPHABET: [char; 32] = [
            'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q',
            'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7',
        ];
        let pick = |byte: u8| ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or('A');
        Self(rand::random::<[u8; 26]>().into_iter().map(pick).collect())
    }

    fn parse(text: &str) -> Option<Self> {
        let good = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
        (text.len() == 26 && text.bytes().all(good)).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// `l/<26>`, as it stands in `lower` and in the mount table.
    pub(super) fn relative(&self) -> String {
        format!("{LINKS}/{}", self.0)
    }

    /// The link itself, in `home`.
    pub(super) fn path(&self, home: &Path) -> PathBuf {
        home.join(LINKS).join(&self.0)
    }
}

/// Refuses a damaged file, and says which.
pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("reading {path:?}")).path(path).detail(why).hint(
        "nothing was changed; restore the file, or remove the layer with what was built on it",
    )
}

/// Reads a small regular file, never through a link; `None` if there is none.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    let Some(file) = regular::open("reading", path)? else { return Ok(None) };
    // Room enough that nearly every file is there after one read.
    let mut bytes = Vec::with_capacity(4096);
    file.take(SMALL_FILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("reading", path, e))?;
    if bytes.len() as u64 > SMALL_FILE_LIMIT {
        return Err(damaged(path, "it is over 1 MiB long"));
    }
    Ok(Some(bytes))
}

/// Reads a small text, without its trailing newline; `None` if there is no such file.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for what is no text, or too long.
pub(super) fn read_text(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = read_small(path)? else { return Ok(None) };
    let mut text =
        String::from_utf8(bytes).map_err(|_| damaged(path, "it holds bytes that are not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(Some(text))
}

/// The content of a layer directory's `link`; `None` if the file is missing.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if it is anything but 26 characters of `A`–`Z` and `2`–`7`, such as empty, as power loss leaves it.
pub(super) fn read_link_file(layer: &Path) -> Result<Option<LinkId>> {
    let path = layer.join(LINK);
    let Some(text) = read_text(&path)? else { return Ok(None) };
    LinkId::parse(&text).map(Some).ok_or_else(|| {
        let say = if text.is_empty() { "it is empty" } else { "it is not 26 of A-Z and 2-7" };
        damaged(&path, say)
            .hint("nothing was changed; once the file `link` is gone, the layer can be removed")
    })
}

/// The short links that a layer directory's `lower` lists, nearest parent first; `None` if the file is missing.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if a word is not `l/` and a short link's name, or if there is none.
pub(super) fn read_lower(layer: &Path) -> Result<Option<Vec<LinkId>>> {
    let path = layer.join(LOWER);
    let Some(text) = read_text(&path)? else { return Ok(None) };
    let links: Option<Vec<_>> =
        text.split(':').map(|w| w.strip_prefix("l/").and_then(LinkId::parse)).collect();
    links.map(Some).ok_or_else(|| damaged(&path, "its words are not l/ and 26 of A-Z and 2-7"))
}

/// The ids that a layer directory's `lower-layers` lists, nearest parent first; `None` if the file is missing.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if a word cannot be a layer's id, or if there is none.
pub(super) fn read_lower_layers(layer: &Path) -> Result<Option<Vec<LayerId>>> {
    let path = layer.join(LOWER_LAYERS);
    let Some(text) = read_text(&path)? else { return Ok(None) };
    let ids: Result<Vec<_>> = text.split(':').map(LayerId::new).collect();
    ids.map(Some).map_err(|e| damaged(&path, "a word of it is not a layer's id").caused_by(e))
}

/// What the flag file of a home says: `Some(true)` if it belongs to a mount program.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read_mount_program_flag(home: &Path) -> Result<Option<bool>> {
    let text = read_text(&home.join(MOUNT_PROGRAM_FLAG))?;
    Ok(text.and_then(|t| match t.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }))
}

/// Writes down whether a home belongs to a mount program.
///
/// # Errors
/// When a system call fails.
pub(super) fn write_mount_program_flag(home: &Path, belongs: bool) -> Result<()> {
    let text: &[u8] = if belongs { b"true" } else { b"false" };
    atomic::replace(&home.join(MOUNT_PROGRAM_FLAG), text, 0o600, false).map(drop)
}

/// The layer whose content a short link stands for, from its text `../<id>/diff`; `None` if there is no such link.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if it is no link, or leads anywhere else.
pub(super) fn read_short_link(home: &Path, link: &LinkId) -> Result<Option<LayerId>> {
    let path = link.path(home);
    let target = match std::fs::read_link(&path) {
        Ok(target) => target,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
            return Err(damaged(&path, "it is not a symbolic link"));
        }
        Err(e) => return Err(Error::io("reading the link", &path, e)),
    };
    layer_of_target(&target)
        .map(Some)
        .ok_or_else(|| damaged(&path, "it does not read ../<id>/diff"))
}

/// The id in `../<id>/diff`.
pub(super) fn layer_of_target(target: &Path) -> Option<LayerId> {
    let text = std::str::from_utf8(target.as_os_str().as_bytes()).ok()?;
    LayerId::new(text.strip_prefix("../")?.strip_suffix("/diff")?).ok()
}

/// The text of the short link to a layer.
pub(super) fn target_of_layer(id: &LayerId) -> PathBuf {
    Path::new("..").join(id).join("diff")
}

/// Mode bits (07777) and owner of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::driver) struct DirLook {
    pub(in crate::driver) mode: u32,
    pub(in crate::driver) uid: u32,
    pub(in crate::driver) gid: u32,
}

impl DirLook {
    /// What a directory that belongs to root has.
    pub(in crate::driver) const fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }

    /// What a directory that belongs to root inside has (CRE-4).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if root is not mapped.
    pub(in crate::driver) fn of_root(maps: &IdMaps, mode: u32) -> Result<Self> {
        let (uid, gid) = maps.root()?;
        Ok(Self { mode, uid, gid })
    }

    /// What an open directory has.
    ///
    /// # Errors
    /// The system call's.
    pub(in crate::driver) fn of_open(dir: BorrowedFd<'_>) -> io::Result<Self> {
        let about = rustix::fs::fstat(dir)?;
        Ok(Self { mode: about.st_mode & 0o7777, uid: about.st_uid, gid: about.st_gid })
    }

    /// What the directory at `path` has, links not followed.
    ///
    /// # Errors
    /// The system call's.
    pub(in crate::driver) fn of(path: &Path) -> io::Result<Self> {
        path.symlink_metadata().map(|about| Self::from(&about))
    }

    /// Gives an open directory, which is at `path`, this owner and mode.
    ///
    /// # Errors
    /// The system call's.
    pub(in crate::driver) fn apply(self, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::chownat(dir, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .and_then(|()| rustix::fs::fchmod(dir, Mode::from_raw_mode(self.mode)))
            .map_err(|e| Error::io("setting owner and mode of", path, e))
    }
}

impl From<&Metadata> for DirLook {
    fn from(about: &Metadata) -> Self {
        Self { mode: about.mode() & 0o7777, uid: about.uid(), gid: about.gid() }
    }
}

/// Makes a directory with exactly that mode, whatever the umask is, and that owner (DEF-13), or none.
///
/// # Errors
/// When it exists, or a system call fails.
pub(in crate::driver) fn make_dir(path: &Path, look: DirLook) -> Result<OwnedFd> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o700))
        .map_err(|e| Error::io("creating the directory", path, e))?;
    dress(path, look).inspect_err(|_| drop(std::fs::remove_dir(path)))
}

fn dress(path: &Path, look: DirLook) -> Result<OwnedFd> {
    let dir = open_dir(path)?;
    // Most are as they should be already.
    if !DirLook::of_open(dir.as_fd()).is_ok_and(|made| made == look) {
        look.apply(dir.as_fd(), path)?;
    }
    Ok(dir)
}

/// Makes a directory as [`make_dir`] does, and those above it with mode `above`; one that exists is left as it is. Tells
/// whether it made it.
///
/// # Errors
/// When a system call fails, or something else has the name.
pub(in crate::driver) fn ensure_dir(path: &Path, look: DirLook, above: u32) -> Result<bool> {
    let mut missing = Vec::new();
    for dir in path.ancestors() {
        match dir.metadata() {
            Ok(m) if m.is_dir() => break,
            Ok(_) => {
                let not_a_dir = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(Error::io("creating the directory", path, not_a_dir));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound && dir.is_symlink() => {
                let target = std::fs::read_link(dir).unwrap_or_default();
                return Err(Error::io("creating the directory", dir, e)
                    .detail(format!("it is a symbolic link to {target:?}, where nothing is"))
                    .hint("remove the link, or make the directory that it leads to"));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(dir),
            Err(e) => return Err(Error::io("examining", dir, e)),
        }
    }
    for dir in missing.iter().rev() {
        let look = if *dir == path { look } else { DirLook::root(above) };
        match make_dir(dir, look) {
            // Another process may have been faster.
            Err(e) if e.os_error() == Some(io::ErrorKind::AlreadyExists) && dir.is_dir() => {}
            made => drop(made?),
        }
    }
    Ok(!missing.is_empty())
}

/// Makes sure of a directory of the driver's own, with that owner and mode if it has to be made: no link may stand in its place,
/// by which something would be mounted or written elsewhere.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for anything else in its place; as [`ensure_dir`].
pub(super) fn ensure_own_dir(path: &Path, look: DirLook) -> Result<()> {
    match path.symlink_metadata() {
        Ok(m) if m.is_dir() => Ok(()),
        Ok(m) if m.is_symlink() => Err(damaged(path, "it is a symbolic link")),
        Ok(_) => Err(damaged(path, "it is not a directory")),
        Err(_) => ensure_dir(path, look, look.mode).map(drop),
    }
}

/// Opens a directory, never through a link in the last component.
///
/// # Errors
/// The system call's.
pub(in crate::driver) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| Error::io("opening the directory", path, e))
}

/// Writes a new file.
///
/// # Errors
/// When it exists, or a system call fails.
pub(super) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file: File =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes).inspect_err(|_| drop(std::fs::remove_file(path)))
    };
    write().map_err(|e| Error::io("writing", path, e))
}

/// Makes sure of an empty file, whose being there tells others something.
///
/// # Errors
/// When a system call fails.
pub(super) fn write_marker(path: &Path, mode: u32) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map(drop)
        .map_err(|e| Error::io("writing", path, e))
}

/// Writes the `link` file of a new layer. Nobody ever sees it empty, `durable` not even after a loss of power: other versions
/// that remove a layer with an empty `link` remove the directory of links (ADD-1).
///
/// # Errors
/// When a system call fails.
pub(super) fn write_link_file(layer: &Path, link: &LinkId, durable: bool) -> Result<()> {
    let (unnamed, path) = (layer.join(".tmp-link"), layer.join(LINK));
    write_new(&unnamed, 0o644, link.as_str().as_bytes())?;
    if durable {
        File::open(&unnamed)
            .and_then(|file| file.sync_data())
            .map_err(|e| Error::io("syncing", &unnamed, e))?;
    }
    std::fs::rename(&unnamed, &path).map_err(|e| Error::io("writing", &path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_are_26_of_base32() {
        for _ in 0..100 {
            let link = LinkId::random();
            assert_eq!(LinkId::parse(link.as_str()), Some(link));
        }
        for bad in [
            "",
            "A",
            "ABCDEFGHIJKLMNOPQRSTUVWXY",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ2",
            "ABCDEFGHIJKLMNOPQRSTUVWXY1",
            "ABCDEFGHIJKLMNOPQRSTUVWXYz",
            "../../../../../../../../ab",
        ] {
            assert_eq!(LinkId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_umask_takes_nothing_from_a_directory() {
        // DEF-13; the thread has a umask of its own
        let dir = tempfile::tempdir().unwrap();
        let made = crate::sys::mount::in_directory(dir.path(), || {
            rustix::process::umask(Mode::from_raw_mode(0o077));
            make_dir(Path::new("d"), DirLook { mode: 0o3777, uid: 5, gid: 6 }).map(drop)
        });
        made.unwrap().unwrap();
        let look = DirLook::of(&dir.path().join("d")).unwrap();
        assert_eq!(look, DirLook { mode: 0o3777, uid: 5, gid: 6 });
    }

    #[test]
    fn targets_have_three_components() {
        assert_eq!(layer_of_target(Path::new("../abc/diff")).unwrap().as_str(), "abc");
        for bad in [
            "..",
            "../diff",
            "../a/b/diff",
            "/a/diff",
            "../../diff",
            "../abc/diff/",
            "../abc/diff1",
            "../l/diff",
        ] {
            assert_eq!(layer_of_target(Path::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        // ADD-1
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path();
        assert_eq!(read_link_file(layer).unwrap(), None);
        for bad in ["", "\n", "x", "../../../../../../../../ab", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"]
        {
            std::fs::write(layer.join(LINK), bad).unwrap();
            let e = read_link_file(layer).unwrap_err();
            assert_eq!(
                (e.kind(), e.file()),
                (ErrorKind::Corrupt, Some(&*layer.join(LINK))),
                "{bad:?}"
            );
        }
        std::fs::write(layer.join(LINK), "ABCDEFGHIJKLMNOPQRSTUVWXYZ\n").unwrap();
        assert_eq!(read_link_file(layer).unwrap().unwrap().as_str(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        for bad in [
            "",
            "l/",
            "l/ABCDEFGHIJKLMNOPQRSTUVWXYZ:",
            "l/../../../etc",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        ] {
            std::fs::write(layer.join(LOWER), bad).unwrap();
            assert_eq!(read_lower(layer).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:?}");
        }
        for bad in ["", "a::b", "..", "a:l", "a/b"] {
            std::fs::write(layer.join(LOWER_LAYERS), bad).unwrap();
            assert_eq!(read_lower_layers(layer).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:?}");
        }
        std::fs::remove_file(layer.join(LINK)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", layer.join(LINK)).unwrap();
        assert_eq!(read_link_file(layer).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
