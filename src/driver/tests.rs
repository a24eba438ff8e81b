//! A store of its own for each test; whatever it mounts is unmounted even when the test panics.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{CreateOptions, Driver, MountOptions, open};
use crate::LayerId;
use crate::sys::mount::{MountEntry, detach, mount_table, mounts_below};

/// A graph root and a run root on the disk.
pub(super) struct TestStore {
    dir: Option<tempfile::TempDir>,
    /// The graph root.
    pub(super) graph: PathBuf,
    /// The run root.
    pub(super) run: PathBuf,
}

impl TestStore {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self::named("graph")
    }

    /// An empty one whose graph root has that name.
    pub(super) fn named(name: impl AsRef<OsStr>) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let graph = dir.path().join(name.as_ref());
        let run = dir.path().join("run");
        Self { dir: Some(dir), graph, run }
    }

    /// An empty one in an empty directory, such as the root of another file system, which stays.
    pub(super) fn within(dir: &Path) -> Self {
        Self { dir: None, graph: dir.join("graph"), run: dir.join("run") }
    }

    /// A directory beside the graph root.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.dir.as_ref().unwrap().path().join(name)
    }

    /// Its overlay driver.
    pub(super) fn overlay(&self, options: &[&str]) -> Box<dyn Driver> {
        self.open("overlay", None, options)
    }

    /// A driver of it.
    pub(super) fn open(
        &self,
        name: &str,
        image_store: Option<&Path>,
        options: &[&str],
    ) -> Box<dyn Driver> {
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        open(name, &self.graph, &self.run, image_store, &options).unwrap()
    }

    /// A path in the overlay driver's home.
    pub(super) fn home(&self, path: impl AsRef<Path>) -> PathBuf {
        self.graph.join("overlay").join(path)
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take() {
            for target in mounts_below(dir.path()).unwrap_or_default() {
                let _ = detach(&target);
            }
        }
    }
}

/// An xfs file system in a file, mounted while this lives.
pub(crate) struct Xfs {
    dir: tempfile::TempDir,
}

impl Xfs {
    /// `None` where mkfs.xfs or loop devices are missing, and why.
    pub(crate) fn new() -> Result<Self, String> {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        let fs = Self { dir };
        let (mkfs, mount) = ("mkfs.xfs", "mount");
        for (program, arguments) in [(mkfs, vec!["-q"]), (mount, vec!["-o", "loop"])] {
            let mut command = std::process::Command::new(program);
            command.args(arguments).arg(&image);
            if program == mount {
                command.arg(fs.root());
            }
            match command.output() {
                Ok(done) if done.status.success() => {}
                failed => return Err(format!("{program}: {failed:?}")),
            }
        }
        Ok(fs)
    }

    /// The root of it.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        for target in mounts_below(&self.root()).unwrap_or_default() {
            let _ = detach(&target);
        }
    }
}

/// A layer's id.
pub(super) fn id(name: &str) -> LayerId {
    LayerId::new(name).unwrap()
}

/// Creates layers, each on the one before; the last is writable.
pub(super) fn chain(driver: &dyn Driver, names: &[&str]) {
    let mut parent = None;
    for (n, name) in names.iter().enumerate() {
        let options = CreateOptions::default();
        let layer = id(name);
        match n + 1 == names.len() {
            true => driver.create_read_write(&layer, parent.as_ref(), &options).unwrap(),
            false => driver.create(&layer, parent.as_ref(), &options).unwrap(),
        }
        parent = Some(layer);
    }
}

/// Mount options with those words.
pub(super) fn words(words: &[&str]) -> MountOptions {
    MountOptions {
        options: words.iter().map(|&w| w.to_owned()).collect(),
        ..MountOptions::default()
    }
}

/// The line of the mount table for what is mounted at `target`.
pub(super) fn mounted_at(target: &Path) -> Option<MountEntry> {
    mount_table().unwrap().into_iter().rfind(|m| m.target == target)
}

/// The file system's options at `target`.
pub(super) fn super_options(target: &Path) -> String {
    String::from_utf8(mounted_at(target).expect("mounted").super_options).unwrap()
}

/// Mode bits of a path.
pub(super) fn mode(path: impl AsRef<Path>) -> u32 {
    use std::os::unix::fs::MetadataExt;
    path.as_ref().symlink_metadata().unwrap().mode() & 0o7777
}

/// The label that the kernel says a file has.
pub(super) fn label_of(path: impl AsRef<Path>) -> String {
    let mut room = [0; 256];
    let length = rustix::fs::lgetxattr(path.as_ref(), "security.selinux", &mut room[..]).unwrap();
    String::from_utf8(room[..length].to_vec()).unwrap().trim_end_matches('\0').to_owned()
}

/// Every path below `root`, in the way a reader of the tree sees it: kind, mode, owner, link target, content.
pub(super) fn snapshot(root: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let more = if about.is_dir() {
                open.push(path.clone());
                String::new()
            } else if about.is_symlink() {
                format!("{:?}", std::fs::read_link(&path).unwrap())
            } else if !about.is_file() {
                format!("{:x}", about.rdev())
            } else {
                format!("{:?}", std::fs::read(&path).unwrap_or_default())
            };
            let name = path.strip_prefix(root).unwrap();
            let look = (about.mode(), about.uid(), about.gid());
            found.push(format!("{name:?} {:o} {}:{} {more}", look.0, look.1, look.2));
        }
    }
    found.sort();
    found
}

/// A tar of regular files (with their content), directories (names that end in `/`) and hard links (`name` `->target`).
pub(super) fn tar_of(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000_000);
        let mut body = content.as_bytes();
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        } else if let Some(target) = content.strip_prefix("->") {
            header.set_entry_type(tar::EntryType::Link);
            header.set_link_name(target).unwrap();
            body = b"";
        }
        header.set_size(body.len() as u64);
        tar.append_data(&mut header, name, body).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The names in a tar, in order.
pub(super) fn tar_names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries.map(|e| String::from_utf8(e.unwrap().path_bytes().into_owned()).unwrap()).collect()
}

/// The changes in their text form (CHG-7), sorted.
pub(super) fn change_list(changes: &[crate::archive::Change]) -> Vec<String> {
    use crate::archive::ChangeKind;
    let mut list: Vec<String> = changes
        .iter()
        .map(|c| {
            let letter = match c.kind {
                ChangeKind::Modify => 'C',
                ChangeKind::Add => 'A',
                ChangeKind::Delete => 'D',
            };
            format!("{letter} {}", String::from_utf8_lossy(&c.path))
        })
        .collect();
    list.sort();
    list
}
