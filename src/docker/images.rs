//! Docker's images: `imagedb`, and the names in `repositories.json`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::DataRoot;
use super::directory::{Directory, MAX_JSON, damaged, is_id, pass_over};
use crate::image::read_config;
use crate::{Digest, Error, Result};

/// An image of docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// Its id, the digest of its config.
    pub id: Digest,
    /// Its names as docker writes them, with tag: `busybox:latest`.
    pub names: Vec<String>,
    /// The image that it was built upon here, if docker still knows.
    pub parent: Option<Digest>,
    /// When it was created, as its config says.
    pub created: Option<String>,
    /// The digests of its layers' tars, base first.
    pub diffs: Vec<Digest>,
}

impl ImageRecord {
    /// Under which name docker keeps its layers: the chain ids, base first.
    pub fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(&self.diffs)
    }
}

/// The chain ids of layers: a base layer's is its diff digest, a child's the sha256 of `<parent's> <diff digest>`.
pub(super) fn chain_ids(diffs: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diffs.len());
    for diff in diffs {
        chain.push(match chain.last() {
            None => diff.clone(),
            Some(parent) => Digest::sha256(format!("{parent} {diff}").as_bytes()),
        });
    }
    chain
}

impl DataRoot {
    /// The images, sorted by id. One whose record is damaged is left out, which the log says.
    ///
    /// # Errors
    /// When the databases cannot be read as such.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let names = self.names_by_image()?;
        let Some(content) = self.databases.down(&["imagedb", "content", "sha256"])? else {
            return Ok(Vec::new());
        };
        let metadata = self.databases.down(&["imagedb", "metadata", "sha256"])?;
        let mut images = Vec::new();
        for hex in content.names()? {
            let image = match is_id(&hex) {
                true => self.image_in(&content, metadata.as_ref(), &hex),
                false => Err(damaged("an image", format!("{hex:?} is no image's id"))),
            };
            match image {
                Ok(mut image) => {
                    image.names = names.get(&image.id).cloned().unwrap_or_default();
                    images.push(image);
                }
                Err(e) => pass_over("an image", e)?,
            }
        }
        Ok(images)
    }

    /// One image, by its digest.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] and the like, which say what is wrong with it.
    pub(super) fn image(&self, id: &Digest) -> Result<ImageRecord> {
        let content = self.databases.down(&["imagedb", "content", "sha256"])?;
        let content = content.ok_or_else(|| damaged("an image", "there is no imagedb"))?;
        let metadata = self.databases.down(&["imagedb", "metadata", "sha256"])?;
        let mut image = self.image_in(&content, metadata.as_ref(), id.hex())?;
        image.names = self.names_by_image()?.remove(id).unwrap_or_default();
        Ok(image)
    }

    /// Whether docker knows an image of that id, or might.
    pub(super) fn has_image(&self, id: &Digest) -> bool {
        let content = self.databases.down(&["imagedb", "content", "sha256"]);
        !matches!(content.and_then(|dir| dir.map_or(Ok(None), |dir| dir.file(id.hex()))), Ok(None))
    }

    /// The config of an image, whose digest is its id.
    pub(super) fn config(&self, id: &Digest) -> Result<Vec<u8>> {
        let content = self.databases.down(&["imagedb", "content", "sha256"])?;
        let content = content.ok_or_else(|| damaged("an image", "there is no imagedb"))?;
        config_in(&content, id)
    }

    fn image_in(
        &self,
        content: &Directory,
        metadata: Option<&Directory>,
        hex: &str,
    ) -> Result<ImageRecord> {
        let id = Digest::parse(format!("sha256:{hex}"))?;
        let what = format!("the config of the image {id}");
        let config = config_in(content, &id)?;
        let (diffs, created) = read_config(&config, &what)?;
        let about = metadata.map(|dir| dir.find(hex)).transpose()?.flatten();
        let parent = about.map(|dir| dir.digest("parent")).transpose()?.flatten();
        // Docker leaves `rootfs` out of nothing that it writes, and an image from scratch has an empty one.
        let diffs = diffs.ok_or_else(|| damaged(&what, "it has no rootfs"))?;
        Ok(ImageRecord { id, names: Vec::new(), parent, created, diffs })
    }

    /// The names with a tag that images have; names by digest are those of manifests, which docker does not keep.
    fn names_by_image(&self) -> Result<HashMap<Digest, Vec<String>>> {
        let mut names: HashMap<Digest, Vec<String>> = HashMap::new();
        for (name, id) in self.repositories()?.references() {
            match Digest::parse(id.clone()) {
                Ok(id) if !name.contains('@') => names.entry(id).or_default().push(name.clone()),
                Ok(_) => {}
                Err(e) => tracing::warn!("the name {name:?} of docker is passed over: {e}"),
            }
        }
        Ok(names)
    }

    pub(super) fn repositories(&self) -> Result<Repositories> {
        const NAME: &str = "repositories.json";
        let Some(bytes) = self.json(NAME)? else { return Ok(Repositories::default()) };
        serde_json::from_slice(&bytes)
            .map_err(|e| damaged(NAME, "it is not the JSON it should be").caused_by(e))
    }
}

fn config_in(content: &Directory, id: &Digest) -> Result<Vec<u8>> {
    let unknown = || {
        Error::new(crate::ErrorKind::ImageUnknown, format!("looking for the image {id} of docker"))
            .id(id.hex())
    };
    let bytes = content.read(id.hex(), MAX_JSON)?.ok_or_else(unknown)?;
    let found = Digest::sha256(&bytes);
    if found == *id {
        return Ok(bytes);
    }
    Err(damaged("an image", format!("the config of {id} has the digest {found}")))
}

/// `repositories.json`: of each repository, the images that its references mean.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
pub(super) struct Repositories {
    #[serde(rename = "Repositories", default)]
    pub(super) repositories: BTreeMap<String, BTreeMap<String, String>>,
}

impl Repositories {
    /// Whether anything means the image, be it by tag or by digest.
    pub(super) fn has_name_of(&self, id: &Digest) -> bool {
        self.references().any(|(_, meant)| meant == id.as_str())
    }

    fn references(&self) -> impl Iterator<Item = (&String, &String)> {
        self.repositories.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What dockerd 20.10.24 has made of an image with these diff digests.
    #[test]
    fn chain_ids_are_dockers() {
        let digest = |hex: &str| Digest::parse(format!("sha256:{hex}")).unwrap();
        let diffs = [
            "f797167e59fcef5dab07101ed0ff421469d0769970c368c2127dfa045cceb892",
            "054a7d9bfb5dbedacd3529efb0736f03f14b842fed05847f359c925c011a713e",
            "f9c88d18a5231e420465c6d6cc366c92dc5cb87ac8a8f9675f87b45c0c9ff7b8",
        ]
        .map(digest);
        let chain = chain_ids(&diffs);
        assert_eq!(chain[0], diffs[0]);
        assert_eq!(
            chain[2],
            digest("0f9527b248e19c298f8dbb957e04dc04518e68738567880aebabe439fc1d14d2")
        );
    }
}
