//! Finding the data root, and refusing those whose layers are not what is read here.

use std::path::{Path, PathBuf};

use super::directory::{Directory, MAX_JSON};
use crate::sys::regular;
use crate::{Error, ErrorKind, Result};

/// Where dockerd keeps everything unless it is told otherwise.
pub const DEFAULT_DATA_ROOT: &str = "/var/lib/docker";

/// Where it is told otherwise.
const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// The driver, and the name of its directories.
pub(super) const DRIVER: &str = "overlay2";

/// The data root of a dockerd, running or not.
#[derive(Debug)]
pub struct DataRoot {
    pub(super) root: Directory,
    /// `image/overlay2`.
    pub(super) databases: Directory,
    /// `overlay2`.
    pub(super) layers: Directory,
}

impl DataRoot {
    /// Opens the data root at `path`. Nothing is changed, and no daemon needs to run.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] for one without layers of `overlay2`, or one of a daemon that remaps users;
    /// [`ErrorKind::Corrupt`] for links and other things in the place of directories.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let path = path.canonicalize().map_err(|e| {
            Error::io("opening docker's data root", path, e)
                .hint("name it with --data-root; `docker info` shows it as Docker Root Dir")
        })?;
        let root = Directory::open(&path)?;
        let refused = |why: String| {
            Error::new(ErrorKind::NotSupported, "opening docker's data root")
                .path(&path)
                .detail(why)
        };
        let remapped = |name: &str| {
            let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
            name.split_once('.').is_some_and(|(uid, gid)| is_number(uid) && is_number(gid))
        };
        if path.file_name().and_then(|n| n.to_str()).is_some_and(remapped) {
            return Err(refused(
                "it is that of a daemon with userns-remap, whose files have other owners".into(),
            )
            .hint("docker save the images there and load them here"));
        }
        let Some(images) = root.find("image")? else {
            let mapped = root.names()?.into_iter().find(|name| remapped(name));
            return Err(match mapped {
                Some(name) => refused(format!(
                    "its daemon runs with userns-remap and keeps its images in {name}, with other owners"
                ))
                .hint("docker save the images there and load them here"),
                None => refused("it has no images".into())
                    .hint("`docker info` shows the right one as Docker Root Dir"),
            });
        };
        let Some(databases) = images.find(DRIVER)? else {
            let others = images.names()?.join(", ");
            return Err(refused(format!(
                "it has no layers of the driver {DRIVER}, only of: {others}"
            ))
            .hint("docker save the images there and load them here"));
        };
        let layers = root.at(DRIVER)?;
        Ok(Self { root, databases, layers })
    }

    /// Where this machine's dockerd has its data root, as its `/etc/docker/daemon.json` says; [`DEFAULT_DATA_ROOT`] if that says nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a `daemon.json` that is not JSON.
    pub fn configured() -> Result<PathBuf> {
        let path = Path::new(DAEMON_JSON);
        let Some(bytes) = regular::read("reading docker's configuration", path)? else {
            return Ok(DEFAULT_DATA_ROOT.into());
        };
        configured_in(&bytes).map_err(|e| e.path(path))
    }

    /// Its path, without links.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The directory of one of docker's layers, by its cache id.
    pub(super) fn layer_dir(&self, cache_id: &str) -> Result<Directory> {
        self.layers.at(cache_id)
    }

    /// The JSON file of that name in the databases.
    pub(super) fn json(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.databases.read(name, MAX_JSON)
    }
}

fn configured_in(bytes: &[u8]) -> Result<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Daemon {
        #[serde(rename = "data-root")]
        data_root: Option<PathBuf>,
        /// What it was called until 17.05.
        graph: Option<PathBuf>,
    }
    let daemon: Daemon = serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::Config, "reading docker's configuration")
            .hint("name the data root with --data-root")
            .caused_by(e)
    })?;
    Ok(daemon.data_root.or(daemon.graph).unwrap_or_else(|| DEFAULT_DATA_ROOT.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_data_root() {
        for (json, path) in [
            (r#"{}"#, DEFAULT_DATA_ROOT),
            (r#"{"data-root":"/srv/docker","debug":true}"#, "/srv/docker"),
            (r#"{"graph":"/srv/old"}"#, "/srv/old"),
        ] {
            assert_eq!(configured_in(json.as_bytes()).unwrap(), Path::new(path), "{json}");
        }
        assert_eq!(configured_in(b"[").unwrap_err().kind(), ErrorKind::Config);
    }
}
