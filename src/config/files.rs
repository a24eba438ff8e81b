//! What the loader asks of the file system, as a trait, so that loading is a function of its arguments.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::paths;

/// What is at a path, the last component not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory {
        /// The user id of its owner.
        owner: u32,
        /// Its permission bits, 0o7777 at most.
        mode: u32,
    },
    /// A symbolic link and its target.
    Link(PathBuf),
    /// Anything else.
    Other,
}

/// A view of the file system.
pub trait Files {
    /// The bytes of a file; `None` if it does not exist.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// The names in a directory that are not directories themselves, in any order; `None` if it does not exist.
    fn list(&self, dir: &Path) -> io::Result<Option<Vec<OsString>>>;

    /// What is at a path, the last component not followed; an error if nothing is there.
    fn node(&self, path: &Path) -> io::Result<Node>;

    /// Makes a directory and its parents with mode 0700; one that exists is left as it is.
    fn make_private_dir(&self, path: &Path) -> io::Result<()>;

    /// Where a path of the system's configuration (below `/etc` or `/usr/share`) really is.
    fn system_path(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }
}

/// The file system of the machine.
#[derive(Debug, Clone, Default)]
pub struct RealFiles {
    /// Put in front of the paths below `/etc` and `/usr/share`, never of the user's (`storage-conf.md` 1).
    pub alternate_root: Option<PathBuf>,
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl Files for RealFiles {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        absent_is_none(fs::read(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Option<Vec<OsString>>> {
        let Some(entries) = absent_is_none(fs::read_dir(dir))? else { return Ok(None) };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            match absent_is_none(entry.file_type())? {
                Some(kind) if !kind.is_dir() => names.push(entry.file_name()),
                // A directory, or gone meanwhile.
                _ => {}
            }
        }
        Ok(Some(names))
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        let meta = fs::symlink_metadata(path)?;
        Ok(if meta.is_symlink() {
            Node::Link(fs::read_link(path)?)
        } else if meta.is_dir() {
            Node::Directory { owner: meta.uid(), mode: meta.mode() & 0o7777 }
        } else {
            Node::Other
        })
    }

    fn make_private_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn system_path(&self, path: &Path) -> PathBuf {
        match &self.alternate_root {
            Some(root) => paths::join(root, path),
            None => path.to_path_buf(),
        }
    }
}

#[cfg(test)]
pub(crate) mod memory {
    //! Files that exist only in memory.

    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone)]
    enum Entry {
        File(Vec<u8>),
        Node(Node),
        Fails(io::ErrorKind),
    }

    /// A file tree; the directories above what is added exist, are root's and have mode 0755.
    #[derive(Default)]
    pub(crate) struct MemoryFiles {
        entries: RefCell<BTreeMap<PathBuf, Entry>>,
        /// Whose the directories are that the loader makes; `None`: it may make none.
        pub(crate) maker: Option<u32>,
    }

    impl MemoryFiles {
        fn with(self, path: &str, entry: Entry) -> Self {
            let path = Path::new(path);
            let mut entries = self.entries.borrow_mut();
            for parent in path.ancestors().skip(1) {
                entries
                    .entry(parent.to_path_buf())
                    .or_insert(Entry::Node(Node::Directory { owner: 0, mode: 0o755 }));
            }
            entries.insert(path.to_path_buf(), entry);
            drop(entries);
            self
        }

        pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
            self.with(path, Entry::File(text.as_ref().to_vec()))
        }

        pub(crate) fn link(self, path: &str, target: &str) -> Self {
            self.with(path, Entry::Node(Node::Link(target.into())))
        }

        pub(crate) fn dir(self, path: &str, owner: u32, mode: u32) -> Self {
            self.with(path, Entry::Node(Node::Directory { owner, mode }))
        }

        pub(crate) fn failing(self, path: &str, kind: io::ErrorKind) -> Self {
            self.with(path, Entry::Fails(kind))
        }
    }

    impl Files for MemoryFiles {
        fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
            match self.entries.borrow().get(path) {
                None => Ok(None),
                Some(Entry::File(bytes)) => Ok(Some(bytes.clone())),
                Some(Entry::Node(_)) => Err(io::ErrorKind::IsADirectory.into()),
                Some(Entry::Fails(kind)) => Err((*kind).into()),
            }
        }

        fn list(&self, dir: &Path) -> io::Result<Option<Vec<OsString>>> {
            let entries = self.entries.borrow();
            match entries.get(dir) {
                None => return Ok(None),
                Some(Entry::Node(Node::Directory { .. })) => {}
                Some(Entry::Fails(kind)) => return Err((*kind).into()),
                Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
            }
            let inside = entries.iter().filter(|(path, entry)| {
                path.parent() == Some(dir) && !matches!(entry, Entry::Node(Node::Directory { .. }))
            });
            Ok(Some(inside.filter_map(|(path, _)| path.file_name().map(Into::into)).collect()))
        }

        fn node(&self, path: &Path) -> io::Result<Node> {
            match self.entries.borrow().get(path) {
                None => Err(io::ErrorKind::NotFound.into()),
                Some(Entry::File(_)) => Ok(Node::Other),
                Some(Entry::Node(node)) => Ok(node.clone()),
                Some(Entry::Fails(kind)) => Err((*kind).into()),
            }
        }

        fn make_private_dir(&self, path: &Path) -> io::Result<()> {
            let Some(owner) = self.maker else {
                return Err(io::ErrorKind::PermissionDenied.into());
            };
            let made = Entry::Node(Node::Directory { owner, mode: 0o700 });
            self.entries.borrow_mut().entry(path.to_path_buf()).or_insert(made);
            Ok(())
        }
    }
}
