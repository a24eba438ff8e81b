//! The unpacker: members of a tar become files below a directory descriptor (`overlay-driver.md` 11).
//!
//! Parents are looked up below the root, the last component is never followed: what is in its way is removed, and the
//! file itself is made with calls that fail where something exists.

mod attributes;
mod content;
mod descriptors;
mod directories;
mod entry;
mod forced;
mod parents;
mod plink;
mod remove;
mod shared;
mod whiteout;
mod writers;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tar_split_rs::{Member, MemberKind};

use super::names::{clean, last_part, show, split};
use super::{UnpackOptions, Whiteouts};
use crate::sys::beneath::Identity;
use crate::sys::one_mount::path_of;
use crate::{Error, ErrorKind, Result};
pub(super) use attributes::{clamped, timespec};
use content::Content;
pub(super) use directories::{DEFAULT_LIST, Directories, LateMode};
pub(super) use parents::Dir;
pub(super) use parents::{Implied, Parents};
pub(super) use whiteout::{OPAQUE as WHITEOUT_OPAQUE, PREFIX as WHITEOUT_PREFIX};
use writers::Writers;
pub(super) use writers::writers;

/// What was learnt while unpacking.
#[derive(Default)]
pub(super) struct Unpacked {
    pub(super) uids: BTreeSet<u32>,
    pub(super) gids: BTreeSet<u32>,
    pub(super) size: u64,
    /// There was an entry for the root itself.
    pub(super) root: bool,
}

/// Unpacks the members of one archive.
pub(super) struct Unpacker<'a> {
    options: &'a UnpackOptions,
    root: OwnedFd,
    parents: Parents<'a>,
    directories: Directories,
    made: Made,
    /// Files of AUFS's directory of link targets, by name.
    plinks: BTreeMap<Vec<u8>, Member>,
    /// Bytes of names and attributes in those.
    plinks_size: usize,
    buffer: Vec<u8>,
    writers: Option<Writers>,
    facts: Unpacked,
}

/// Which entries an archive has made, by parent and name; 16 bytes an entry. An opaque marker spares them where whiteouts are carried
/// out, for which alone they are kept here.
#[derive(Default)]
pub(super) struct Made {
    keys: (RandomState, RandomState),
    entries: HashSet<u128>,
}

impl Made {
    pub(super) fn key(&self, parent: Identity, name: &[u8]) -> u128 {
        let (high, low) =
            (self.keys.0.hash_one((parent, name)), self.keys.1.hash_one((parent, name)));
        u128::from(high) << 64 | u128::from(low)
    }

    pub(super) fn insert(&mut self, parent: Identity, name: &[u8]) {
        let key = self.key(parent, name);
        self.entries.insert(key);
    }

    pub(super) fn contains(&self, parent: Identity, name: &[u8]) -> bool {
        self.entries.contains(&self.key(parent, name))
    }
}

impl<'a> Unpacker<'a> {
    /// With so many threads, none included, that write small files.
    pub(super) fn new(
        root: BorrowedFd<'a>,
        options: &'a UnpackOptions,
        writers: usize,
    ) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let not_opened = |e| {
            let path = path_of(root).unwrap_or_else(|_| ".".into());
            failed("opening the directory to unpack into", path.as_os_str().as_bytes(), e)
        };
        let own = rustix::fs::openat(root, ".", flags, Mode::empty()).map_err(not_opened)?;
        let full = options.whiteouts == Whiteouts::Execute;
        // Full trees without maps keep what Go gives directories there: the process's own ids.
        let root_inside = match options.maps.is_empty() {
            true => None,
            false => Some(options.maps.root()?),
        };
        let forgiving = options.ignore_chown_errors;
        let implied = Implied { full, root: root_inside, forgiving };
        Ok(Self {
            options,
            parents: Parents::new(root, implied).map_err(not_opened)?,
            root: own,
            directories: Directories::default(),
            made: Made::default(),
            plinks: BTreeMap::new(),
            plinks_size: 0,
            buffer: Vec::new(),
            writers: match writers {
                0 => None,
                threads => Some(Writers::start(threads, options)?),
            },
            facts: Unpacked::default(),
        })
    }

    /// Makes the file of one member, whose payload comes from `content`.
    pub(super) fn member(&mut self, member: &Member, content: &mut dyn Content) -> Result<()> {
        // Go's record of ids goes by the last part of the name as it stands: `.wh.a/.` is no whiteout there.
        let counts = !last_part(&member.name).starts_with(whiteout::PREFIX);
        if member.kind == MemberKind::Global {
            // Go's reader gives such a header no owner, and its record of ids counts the zeros.
            if counts {
                self.facts.uids.insert(0);
                self.facts.gids.insert(0);
            }
            return Ok(());
        }
        let name = clean(&member.name);
        let owner = attributes::Owner::of(member, &name)?;
        let (parent, base) = split(&name);
        if counts {
            self.facts.uids.insert(owner.uid);
            self.facts.gids.insert(owner.gid);
        }
        // What is deleted needs no owner.
        let deletes = self.options.whiteouts == Whiteouts::Execute
            && !name.is_empty()
            && base.starts_with(whiteout::PREFIX);
        let owner = if deletes { owner } else { owner.on_host(&self.options.maps, &name)? };
        let member = &*forced::on_disk(member, owner, self.options.force_mask);
        if name.is_empty() {
            return self.root_entry(member, owner);
        }
        let entry = entry::Entry { name: &name, parent, base, owner, member };
        match self.options.whiteouts {
            Whiteouts::Keep => {}
            Whiteouts::Overlay(prefix) => {
                if self.overlay_whiteout(&entry, prefix)? {
                    return Ok(());
                }
            }
            Whiteouts::Execute => {
                if self.execute_whiteout(&entry, content)? {
                    return Ok(());
                }
            }
        }
        let dir = self.parent(&name, parent)?;
        self.make(&dir, &entry, content)?;
        self.remember(&dir, base);
        Ok(())
    }

    /// Waits until every file has its content and attributes. After an error of [`Unpacker::member`] as well: the first
    /// member that failed may be one that other threads had to write.
    pub(super) fn wait(&mut self) -> Result<()> {
        let Some(writers) = &mut self.writers else { return Ok(()) };
        writers.wait()
    }

    /// Sets the times of directories and returns what was learnt.
    pub(super) fn finish(mut self) -> Result<Unpacked> {
        self.remove_plinks()?;
        self.note_root()?;
        let directories = std::mem::take(&mut self.directories);
        directories.finish(&mut self.parents, self.root.as_fd())?;
        Ok(self.facts)
    }

    /// The directory that an entry goes to; missing ones are made (UNP-7).
    fn parent(&mut self, name: &[u8], parent: &[u8]) -> Result<std::rc::Rc<Dir>> {
        self.parents
            .get(parent, true)
            .map_err(|e| failed("making the parent directories of", name, e))
    }

    fn remember(&mut self, dir: &Dir, base: &[u8]) {
        if self.options.whiteouts == Whiteouts::Execute {
            self.made.insert(dir.id, base);
        }
    }

    fn root_entry(&mut self, member: &Member, owner: attributes::Owner) -> Result<()> {
        if member.kind != MemberKind::Directory {
            return Err(Error::new(ErrorKind::InvalidArchive, "unpacking a layer").detail(
                format!(
                    "the member {} stands for the root of the layer and is no directory",
                    show(&member.name)
                ),
            ));
        }
        self.facts.root = true;
        let wanted = attributes::Wanted::of(member, owner, b".");
        let (id, mode) = attributes::apply_to_directory(self.root.as_fd(), &wanted, self.options)?;
        let mode = mode.map(|mode| (mode, id));
        self.directories.push(b"", attributes::directory_times(member), mode);
        self.parents.forget();
        Ok(())
    }
}

/// An error of a system call about a member. What only an archive can bring about is the archive's fault.
fn failed(action: &str, name: &[u8], errno: Errno) -> Error {
    let kind = match errno {
        Errno::NOTDIR
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::EXIST
        | Errno::ISDIR
        | Errno::NOENT
        | Errno::INVAL => ErrorKind::InvalidArchive,
        _ => ErrorKind::Io,
    };
    let mut error =
        Error::new(kind, format!("{action} {}", show(name))).caused_by(std::io::Error::from(errno));
    if errno == Errno::NOSPC || errno == Errno::DQUOT {
        error = error.hint("free some space in the file system of the store");
    }
    error
}
