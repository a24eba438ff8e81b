//! Which files are read, in which order (`storage-conf.md` 1).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Environment, Files, User, paths};
use crate::{Error, ErrorKind, Result};

const MAIN_FILE: &str = "CONTAINERS_STORAGE_CONF";
const OVERRIDE_FILE: &str = "CONTAINERS_STORAGE_CONF_OVERRIDE";
const SYSTEM_DIRS: [&str; 2] = ["/etc/containers", "/usr/share/containers"];

/// A file found, and its bytes.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

/// Hands the main file, the drop-ins and the override file to `take`, one after the other; what comes later wins.
pub(super) fn each_file(
    files: &dyn Files,
    env: &Environment,
    user: &User,
    take: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    let user_dir = user_dir(env, user)?;
    if let Some(path) = env.non_empty(MAIN_FILE) {
        take(read_named(files, MAIN_FILE, Path::new(path))?)?;
    } else {
        if let Some(found) = read_main(files, &user_dir)? {
            take(found)?;
        }
        for path in drop_ins(files, &user_dir, user)? {
            // A drop-in that has gone since its directory was listed, or a link to nowhere, is none.
            if let Some(bytes) = read(files, &path)? {
                take(Found { path, bytes })?;
            }
        }
    }
    if let Some(path) = env.non_empty(OVERRIDE_FILE) {
        take(read_named(files, OVERRIDE_FILE, Path::new(path))?)?;
    }
    Ok(())
}

fn read(files: &dyn Files, path: &Path) -> Result<Option<Vec<u8>>> {
    files.read(path).map_err(|e| Error::io("reading configuration", path, e))
}

fn read_named(files: &dyn Files, variable: &str, path: &Path) -> Result<Found> {
    let advice = || format!("{variable} names this file; correct or unset it");
    match read(files, path) {
        Ok(Some(bytes)) => Ok(Found { path: path.to_path_buf(), bytes }),
        Ok(None) => {
            let absent = std::io::Error::from(rustix::io::Errno::NOENT);
            Err(Error::io("reading configuration", path, absent).hint(advice()))
        }
        Err(e) => Err(e.hint(advice())),
    }
}

/// The first main file that exists; the others are not read.
fn read_main(files: &dyn Files, user_dir: &Path) -> Result<Option<Found>> {
    let system = SYSTEM_DIRS.iter().map(|dir| files.system_path(Path::new(dir)));
    for dir in std::iter::once(user_dir.to_path_buf()).chain(system) {
        let path = paths::join(&dir, "storage.conf");
        if let Some(bytes) = read(files, &path)? {
            return Ok(Some(Found { path, bytes }));
        }
    }
    Ok(None)
}

/// The user's `containers` directory. An empty XDG_CONFIG_HOME counts as unset: it would give a relative path.
fn user_dir(env: &Environment, user: &User) -> Result<PathBuf> {
    match (env.non_empty("XDG_CONFIG_HOME"), &user.home) {
        (Some(dir), _) => Ok(paths::join(Path::new(dir), "containers")),
        (None, Some(home)) => Ok(paths::join(home, ".config/containers")),
        (None, None) => Err(Error::new(ErrorKind::Config, "looking for the user's configuration")
            .detail(format!("user {} has no home directory", user.rootless_uid))
            .hint("set HOME or XDG_CONFIG_HOME")),
    }
}

/// The drop-in files in the order of their names; of one name only that in the highest-ranked directory.
fn drop_ins(files: &dyn Files, user_dir: &Path, user: &User) -> Result<Vec<PathBuf>> {
    let mut dirs = vec![paths::join(user_dir, "storage.conf.d")];
    for system in SYSTEM_DIRS {
        let below = |name: &str| files.system_path(&Path::new(system).join(name));
        if user.rootless_uid > 0 {
            dirs.push(below(&format!("storage.rootless.conf.d/{}", user.rootless_uid)));
            dirs.push(below("storage.rootless.conf.d"));
        } else {
            dirs.push(below("storage.rootful.conf.d"));
        }
        dirs.push(below("storage.conf.d"));
    }
    let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for dir in dirs {
        let names = files.list(&dir).map_err(|e| Error::io("listing configuration", &dir, e))?;
        for name in names.unwrap_or_default() {
            if name.as_bytes().ends_with(b".conf") {
                let path = dir.join(&name);
                by_name.entry(name).or_insert(path);
            }
        }
    }
    // `OsString` orders by bytes.
    Ok(by_name.into_values().collect())
}
