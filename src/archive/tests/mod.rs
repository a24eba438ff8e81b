//! Tests of the whole room: hostile archives, and the same bytes and trees as the Go library's.

mod attributes;
mod between;
mod differential;
mod forced;
mod hostile;
mod linked;
mod mapped;
mod memory;
mod merged;
mod packing;
mod threads;
mod unpacking;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, FileType, Mode, XattrFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::pack::Header;
use super::{
    CompareOptions, Compat, LayerFacts, PackOptions, UnpackOptions, Upper, Whiteouts, import,
};
use crate::sys::mount::kernel_before;
use crate::{IdMaps, Result};

const EVERY_ID: IdMaps = IdMaps { uids: Vec::new(), gids: Vec::new() };

/// For comparisons of trees whose owners are what they seem.
pub(super) const AS_IT_IS: CompareOptions<'static> =
    CompareOptions { maps: (&EVERY_ID, &EVERY_ID), override_stat: false };

pub(super) const OVERLAY: Whiteouts = Whiteouts::Overlay("trusted.overlay.");

/// A tar in the making.
#[derive(Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    pub(super) fn add(mut self, header: Header, content: &[u8]) -> Self {
        let header = Header { size: content.len() as u64, ..header };
        header.write(&mut self.0).unwrap();
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.add(header(name, b'0'), content.as_bytes())
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.add(Header { mode: 0o755, ..header(name, b'5') }, b"")
    }

    pub(super) fn link(self, name: &str, kind: u8, target: &str) -> Self {
        self.add(Header { link_name: target.into(), ..header(name, kind) }, b"")
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(super) fn header(name: &str, kind: u8) -> Header {
    Header { name: name.into(), kind, mode: 0o644, mtime: 1_600_000_000, ..Header::default() }
}

/// Does something where nothing is seen of processes. On a thread of its own only, which must end with it.
pub(super) fn without_proc<T>(work: impl FnOnce() -> T) -> T {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let none = None::<&std::ffi::CStr>;
    mount("none", "/proc", "tmpfs", MountFlags::empty(), none).unwrap();
    work()
}

/// The error where an attribute is read there: of a directory's entry before Linux 6.13, of an open file since.
pub(super) fn without_proc_says() -> i32 {
    if kernel_before(6, 13) { libc::ENOSYS } else { libc::ENOENT }
}

pub(super) fn open_dir(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

pub(super) fn options(whiteouts: Whiteouts) -> UnpackOptions {
    UnpackOptions { whiteouts, ..UnpackOptions::default() }
}

/// Imports into an existing directory, with a tar-split nobody reads.
pub(super) fn import_to(path: &Path, tar: &[u8], whiteouts: Whiteouts) -> Result<LayerFacts> {
    let root = open_dir(path);
    let mut split = Vec::new();
    import(&mut Cursor::new(tar), root.as_fd(), &options(whiteouts), Some(&mut split))
}

/// How tars of a version are packed.
pub(super) fn form(compat: Compat) -> PackOptions {
    PackOptions { compat, ..PackOptions::default() }
}

/// An upper and what it lies on, with the marks of root's overlay.
pub(super) fn plain<'a>(own: BorrowedFd<'a>, lowers: &'a [BorrowedFd<'a>]) -> Upper<'a> {
    Upper { own, lowers, prefix: "trusted.overlay." }
}

/// Everything of a tree that counts, by path.
pub(super) fn listing(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    let mut inodes = BTreeMap::new();
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let path = dir.join(entry.unwrap().file_name());
            let full = root.join(&path);
            let stat =
                rustix::fs::statat(rustix::fs::CWD, &full, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let kind = FileType::from_raw_mode(stat.st_mode);
            let content = match kind {
                FileType::RegularFile => {
                    crate::Digest::sha256(&fs::read(&full).unwrap()).to_string()
                }
                FileType::Symlink => format!("{:?}", fs::read_link(&full).unwrap()),
                _ => String::new(),
            };
            let size = if kind == FileType::Directory { 0 } else { stat.st_size };
            let bytes = path.as_os_str().as_bytes().to_vec();
            let first = inodes.entry(stat.st_ino).or_insert_with(|| bytes.clone()).clone();
            let first = if stat.st_nlink > 1 && kind != FileType::Directory {
                String::from_utf8_lossy(&first).into_owned()
            } else {
                String::new()
            };
            let line = format!(
                "{kind:?} {:o} {}:{} {size} {}.{:09} {:x} {content} {:?} {}",
                stat.st_mode & 0o7777,
                stat.st_uid,
                stat.st_gid,
                stat.st_mtime,
                stat.st_mtime_nsec,
                stat.st_rdev,
                xattrs(&full),
                if first.is_empty() { first } else { format!("linked {}", stat.st_nlink) },
            );
            if kind == FileType::Directory {
                left.push(path);
            }
            all.insert(bytes, line);
        }
    }
    all
}

pub(super) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0u8; 65536];
    let n = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    names[..n]
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 65536];
            // The kernel sets capabilities that it does not give back: an error is a value as well.
            let value = match rustix::fs::lgetxattr(path, name, value.as_mut_slice()) {
                Ok(n) => value[..n].to_vec(),
                Err(e) => e.to_string().into_bytes(),
            };
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect()
}

pub(super) fn set_xattr(path: &Path, key: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, key, value, XattrFlags::empty()).unwrap();
}

pub(super) fn mknod(path: &Path, kind: FileType, dev: u64) {
    let mode = Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, dev).unwrap();
}

pub(super) fn os(bytes: &[u8]) -> std::ffi::OsString {
    std::ffi::OsString::from_vec(bytes.to_vec())
}

pub(super) fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The Go program of `tests/go/archive`, built once; `None` where there is no Go.
pub(super) fn go() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    built(&PROGRAM, "archive")
}

/// The Go program of `tests/go/archive-1.24`, which is of an older library.
pub(super) fn go_1_24() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    built(&PROGRAM, "archive-1.24")
}

fn built(program: &'static OnceLock<Option<PathBuf>>, name: &str) -> Option<&'static Path> {
    program
        .get_or_init(|| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go").join(name);
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
            fs::create_dir_all(&target).unwrap();
            let out = target.join(format!("go-{name}"));
            let new = target.join(format!("go-{name}-{}", std::process::id()));
            let built = Command::new("go")
                .current_dir(source)
                .args(["build", "-tags", "exclude_graphdriver_btrfs containers_image_openpgp"])
                .arg("-o")
                .arg(&new)
                .arg(".")
                .status();
            match built {
                // Other test programs may be running the one that is there.
                Ok(status) if status.success() && fs::rename(new, &out).is_ok() => Some(out),
                _ => {
                    println!(
                        "skipped: comparison with the Go library: tests/go/{name} cannot be built"
                    );
                    None
                }
            }
        })
        .as_deref()
}

/// Runs it; panics with its message if it fails.
pub(super) fn run_go<S: AsRef<OsStr>>(program: &Path, args: &[S], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|s| {
        s.spawn(move || {
            let _ = stdin.write_all(input);
        });
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    })
}

/// An output with room for so many bytes.
pub(super) struct Full(pub(super) usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
