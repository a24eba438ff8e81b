//! Docker's containers: `containers/<id>/config.v2.json`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::DataRoot;
use super::directory::{Directory, MAX_JSON, damaged, is_id, missing, pass_over};
use crate::{Digest, Error, ErrorKind, Result};

/// A container of docker.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRecord {
    /// Its id.
    pub id: String,
    /// Its name, without the slash that docker puts before it.
    pub name: String,
    /// The image that it was made from.
    pub image: Digest,
    /// Whether its record says that it runs, or is paused. A daemon that was killed leaves records that say so for ever.
    pub running: bool,
    /// When it was created, and when it was last stopped.
    pub created: String,
    /// Likewise; absent if it never ran.
    pub finished: Option<String>,
    /// The directory of its changes in `overlay2`.
    pub mount_id: String,
    /// The directory between those and its image.
    pub init_id: Option<String>,
    /// The chain id of the image's uppermost layer.
    pub parent: Option<Digest>,
    /// How it is run: what becomes the config of an image made of it.
    pub(super) config: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    image: String,
    #[serde(default)]
    created: String,
    #[serde(default)]
    state: State,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    driver: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    running: bool,
    paused: bool,
    finished_at: String,
}

impl DataRoot {
    /// The containers, sorted by id. One whose record is damaged is left out, which the log says.
    ///
    /// # Errors
    /// When the directory of containers cannot be read.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>> {
        let Some(dir) = self.root.find("containers")? else { return Ok(Vec::new()) };
        let mut containers = Vec::new();
        for id in dir.names()?.into_iter().filter(|name| is_id(name)) {
            match dir.at(&id).and_then(|dir| self.container_in(&dir, &id)) {
                Ok(container) => containers.push(container),
                Err(e) => pass_over("a container", e)?,
            }
        }
        Ok(containers)
    }

    /// One container, by its id.
    pub(super) fn container(&self, id: &str) -> Result<ContainerRecord> {
        self.container_in(&self.root.at("containers")?.at(id)?, id)
    }

    fn container_in(&self, dir: &Directory, id: &str) -> Result<ContainerRecord> {
        const NAME: &str = "config.v2.json";
        let what = format!("the container {id}");
        let bytes = dir.read(NAME, MAX_JSON)?.ok_or_else(|| missing(&dir.path().join(NAME)))?;
        let config: Config = serde_json::from_slice(&bytes)
            .map_err(|e| damaged(&what, "its record is not the JSON it should be").caused_by(e))?;
        if config.id != id {
            return Err(damaged(&what, format!("its record is that of {:?}", config.id)));
        }
        if !matches!(config.driver.as_str(), "" | super::data_root::DRIVER) {
            return Err(Error::new(ErrorKind::NotSupported, format!("reading {what}"))
                .detail(format!("it is one of the driver {:?}", config.driver)));
        }
        let mount = self.mount_of(id)?;
        let never = |time: &String| time.is_empty() || time.starts_with("0001-01-01");
        Ok(ContainerRecord {
            id: id.to_owned(),
            name: config.name.trim_start_matches('/').to_owned(),
            image: Digest::parse(config.image).map_err(|e| e.context(format!("reading {what}")))?,
            running: config.state.running || config.state.paused,
            created: config.created,
            finished: Some(config.state.finished_at).filter(|time| !never(time)),
            mount_id: mount.mount_id,
            init_id: mount.init_id,
            parent: mount.parent,
            config: config.config,
        })
    }
}
