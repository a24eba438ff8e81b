//! Where a rootless user's storage lives by default (`storage-conf.md` 3 and 5).

use std::path::{Path, PathBuf};

use super::{Environment, Files, Node, User, paths};
use crate::{Error, ErrorKind, Result};

/// `$XDG_DATA_HOME`, else `~/.local/share`.
pub(super) fn data_dir(env: &Environment, user: &User) -> Result<PathBuf> {
    if let Some(dir) = env.non_empty("XDG_DATA_HOME") {
        return Ok(PathBuf::from(dir));
    }
    match &user.home {
        Some(home) => Ok(paths::join(home, ".local/share")),
        None => Err(Error::new(ErrorKind::Config, "looking for the user's data directory")
            .detail(format!("user {} has no home directory", user.rootless_uid))
            .hint("set HOME or XDG_DATA_HOME")),
    }
}

/// `$XDG_RUNTIME_DIR`, else the first of `/run/user/<uid>` and `<tmp dir>/storage-run-<uid>` that is, or can be made, a
/// directory that only the user can write.
pub(super) fn runtime_dir(files: &dyn Files, env: &Environment, user: &User) -> Result<PathBuf> {
    if let Some(dir) = env.non_empty("XDG_RUNTIME_DIR") {
        return paths::resolve_links(files, Path::new(dir)).map_err(|e| {
            Error::io("looking for the runtime directory", dir, e)
                .hint("XDG_RUNTIME_DIR names it; correct or unset it")
        });
    }
    let uid = user.rootless_uid;
    let login = PathBuf::from(format!("/run/user/{uid}"));
    if is_private(files, &login, user.uid) {
        return Ok(login);
    }
    let temp = env.non_empty("TMPDIR").map_or(Path::new("/tmp"), Path::new);
    let temp = paths::join(temp, format!("storage-run-{uid}"));
    if is_private(files, &temp, user.uid) {
        return Ok(temp);
    }
    Err(Error::new(ErrorKind::Config, "looking for the runtime directory")
        .path(&temp)
        .detail(format!("no directory that user {} owns and nobody else can write", user.uid))
        .hint("set XDG_RUNTIME_DIR"))
}

/// Makes the directory if it is missing. Whether that works shows in what is there afterwards.
fn is_private(files: &dyn Files, path: &Path, uid: u32) -> bool {
    let _ = files.make_private_dir(path);
    matches!(files.node(path), Ok(Node::Directory { owner, mode }) if owner == uid && mode & 0o722 == 0o700)
}
