//! Homes in the layout of 2016's overlay driver, made by its checklist (`overlay-driver.md` LEG-3 to LEG-10) with nothing of orlop's own:
//! the standard library and the system's programs.

use std::fs::{self, DirBuilder, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home, `<graph root>/overlay`.
pub(crate) struct LegacyHome(pub(crate) PathBuf);

impl LegacyHome {
    /// An empty one.
    pub(crate) fn new(graph: &Path) -> Self {
        DirBuilder::new().recursive(true).mode(0o700).create(graph).unwrap();
        let home = Self(graph.join("overlay"));
        make(&home.0, 0o700);
        home
    }

    /// A path in it.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    /// A layer of an image: its parent's tree by hard links, changed by `apply`, which never writes to a file that is there (LEG-8 to
    /// LEG-10).
    pub(crate) fn image(&self, id: &str, parent: Option<&str>, apply: impl FnOnce(&Path)) {
        let dir = self.at(id);
        make(&dir, 0o700);
        let Some(parent) = parent else {
            make(&dir.join("root"), 0o755);
            return apply(&dir.join("root"));
        };
        let temp = dir.join("tmproot012345678");
        make(&temp, 0o700);
        link_copy(&self.at(parent).join("root"), &temp);
        apply(&temp);
        fs::rename(temp, dir.join("root")).unwrap();
    }

    /// A container's layer on an image, or on another container, whose content it gets a copy of (LEG-4).
    pub(crate) fn container(&self, id: &str, parent: &str) {
        let (dir, below) = (self.at(id), self.at(parent));
        make(&dir, 0o700);
        let (like, lower) = match below.join("root").symlink_metadata() {
            Ok(_) => (below.join("root"), parent.to_owned()),
            Err(_) => {
                let lower = fs::read_to_string(below.join("lower-id")).unwrap();
                (below.join("upper"), lower)
            }
        };
        make(&dir.join("upper"), like.metadata().unwrap().mode() & 0o7777);
        make(&dir.join("work"), 0o700);
        make(&dir.join("merged"), 0o700);
        fs::write(dir.join("lower-id"), lower).unwrap();
        if like.ends_with("upper") {
            run(Command::new("cp").arg("-a").arg(like.join(".")).arg(dir.join("upper")));
        }
    }

    /// Shows a layer as the driver does, by a bare `mount -t overlay` where it is a container's (LEG-6).
    pub(crate) fn show<T>(&self, id: &str, look: impl FnOnce(&Path) -> T) -> T {
        let dir = self.at(id);
        if dir.join("root").exists() {
            return look(&dir.join("root"));
        }
        let lower = fs::read_to_string(dir.join("lower-id")).unwrap();
        let data = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.at(lower).join("root").display(),
            dir.join("upper").display(),
            dir.join("work").display()
        );
        let merged = dir.join("merged");
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &data]).arg(&merged));
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&merged)));
        // At once out of sight, also where a process that another thread has just begun still has a copy of a descriptor.
        run(Command::new("umount").arg("-l").arg(&merged));
        seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A layer of a store to turn back, after those that it lies on.
#[allow(dead_code, reason = "as for apply_tar")]
pub(crate) struct Layer<'a> {
    pub(crate) id: &'a str,
    pub(crate) parent: Option<&'a str>,
    /// The tar of an image's layer; a container's has none.
    pub(crate) tar: Option<Vec<u8>>,
}

/// Turns a home of today's layout into one of 2016's.
#[allow(dead_code, reason = "as for apply_tar")]
pub(crate) fn turn_back(graph: &Path, layers: &[Layer<'_>]) -> LegacyHome {
    let today = graph.join("today");
    fs::rename(graph.join("overlay"), &today).unwrap();
    let home = LegacyHome::new(graph);
    for Layer { id, parent, tar } in layers {
        match (tar, parent) {
            (Some(tar), parent) => home.image(id, *parent, |root| apply_tar(root, tar)),
            (None, Some(parent)) => {
                home.container(id, parent);
                let diff = today.join(id).join("diff/.");
                run(Command::new("cp").arg("-a").arg(diff).arg(home.at(id).join("upper")));
            }
            (None, None) => panic!("{id}: a container lies on something"),
        }
    }
    remove(&today);
    home
}

/// Unpacks a layer's tar over a full tree as the driver of the time did: deletions first, then files, each of which replaces what has
/// its name.
#[allow(dead_code, reason = "not every test that has homes made has tars")]
pub(crate) fn apply_tar(root: &Path, tar: &[u8]) {
    let listed = piped(Command::new("tar").args(["-t", "--quoting-style=literal"]), tar);
    for name in String::from_utf8(listed).unwrap().lines() {
        let path = root.join(name);
        match path.file_name().and_then(|name| name.to_str()) {
            Some(".wh..wh..opq") => {
                for entry in fs::read_dir(path.parent().unwrap()).into_iter().flatten() {
                    remove(&entry.unwrap().path());
                }
            }
            Some(name) if name.starts_with(".wh.") => remove(&path.with_file_name(&name[4..])),
            _ => {}
        }
    }
    let flags = ["-x", "-p", "--numeric-owner", "--same-owner", "--exclude=.wh.*"];
    let xattrs = ["--xattrs", "--xattrs-include=*"];
    piped(Command::new("tar").args(flags).args(xattrs).arg("-C").arg(root), tar);
}

fn remove(path: &Path) {
    run(Command::new("rm").arg("-rf").arg(path));
}

/// Makes a directory with that mode, whatever the umask is.
fn make(dir: &Path, mode: u32) {
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
}

/// LEG-10: files are linked, all else is made again, and directories have their times before their entries are made.
fn link_copy(from: &Path, to: &Path) {
    attributes(from, to);
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.as_bytes().is_empty());
        let (from, to) = (from.join(&name), to.join(&name));
        let kind = from.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            make(&to, 0o700);
            link_copy(&from, &to);
        } else if kind.is_file() {
            fs::hard_link(&from, &to).unwrap();
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from).unwrap(), &to).unwrap();
            let about = from.symlink_metadata().unwrap();
            lchown(&to, Some(about.uid()), Some(about.gid())).unwrap();
            run(Command::new("touch").arg("-h").arg("-r").arg(&from).arg(&to));
        } else if kind.is_socket() {
            run(Command::new("mkfifo").arg(&to));
            attributes(&from, &to);
        } else {
            run(Command::new("cp").arg("-a").arg(&from).arg(&to));
        }
    }
}

fn attributes(from: &Path, to: &Path) {
    let about = from.metadata().unwrap();
    lchown(to, Some(about.uid()), Some(about.gid())).unwrap();
    fs::set_permissions(to, PermissionsExt::from_mode(about.mode() & 0o7777)).unwrap();
    if about.is_dir() {
        let times = FileTimes::new().set_modified(about.modified().unwrap());
        File::open(to).unwrap().set_times(times).unwrap();
    } else {
        run(Command::new("touch").arg("-r").arg(from).arg(to));
    }
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn piped(command: &mut Command, input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // Whoever has read enough may close the pipe.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}");
    output.stdout
}
