//! What docker can do without once images have been taken over: never a layer that anything left behind lies on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::directory::{Directory, damaged, is_id};
use super::remains::Remains;
use super::{ContainerRecord, DataRoot, ImageRecord, LayerRecord};
use crate::{Digest, Error, ErrorKind, Result};

/// The largest database of the build cache that is searched, in bytes. In a larger one every layer counts as named.
const MAX_SNAPSHOTS: u64 = 256 << 20;

/// What is to leave docker.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Images with their names, and why those that were asked for stay.
    pub(super) images: BTreeMap<Digest, Vec<String>>,
    pub(super) staying: HashMap<Digest, String>,
    /// The images, each before what it was built upon.
    pub(super) in_order: Vec<Digest>,
    /// Layers by chain id, with how many lie below each.
    pub(super) layers: BTreeMap<Digest, (usize, LayerRecord)>,
    /// What is left of layers whose deletion was ended in between.
    pub(super) remains: Vec<Remains>,
}

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.layers.is_empty() && self.remains.is_empty()
    }
}

impl DataRoot {
    /// What leaves with the images `wanted`: those of them that no container and no image left behind is made from, the unnamed
    /// images that only they were built upon, and the layers that nothing else needs; of the layers `begun`, which an earlier call was about
    /// to delete, those that no image is left of, as far as they are unused still, too. The images `refused`, which were asked for and
    /// are not in the store, stay, and what they need with them.
    pub(super) fn leaving(
        &self,
        wanted: &[&ImageRecord],
        refused: &[&ImageRecord],
        begun: &BTreeSet<Digest>,
    ) -> Result<Leaving> {
        let (images, containers, layers) = (self.images()?, self.containers()?, self.layers()?);
        let mut leaving = Leaving::default();
        choose_images(&mut leaving, &images, &containers, wanted, refused);
        self.refuse_unread(&images, &containers)?;
        let mounts = self.mounts()?;
        let by_chain: HashMap<&Digest, &LayerRecord> =
            layers.iter().map(|l| (&l.chain_id, l)).collect();
        let stay: HashSet<Digest> = images
            .iter()
            .filter(|i| !leaving.images.contains_key(&i.id))
            .flat_map(ImageRecord::chain_ids)
            .chain(mounts.iter().filter_map(|mount| mount.parent.clone()))
            .collect();
        for layer in begun.iter().filter_map(|id| by_chain.get(id)) {
            if !stay.contains(&layer.chain_id) {
                let depth = depth_of(layer.parent.as_ref(), |id| by_chain.get(id)?.parent.as_ref());
                leaving.layers.insert(layer.chain_id.clone(), (depth, (*layer).clone()));
            }
        }
        for image in images.iter().filter(|i| leaving.images.contains_key(&i.id)) {
            for (depth, chain_id) in image.chain_ids().into_iter().enumerate() {
                if let Some(layer) = by_chain.get(&chain_id).filter(|_| !stay.contains(&chain_id)) {
                    leaving.layers.insert(chain_id, (depth, (*layer).clone()));
                }
            }
        }
        leaving.remains = self.remains(begun, &layers, &mounts)?;
        self.keep_what_others_name(&mut leaving, &layers)?;
        leaving.in_order = children_first(&leaving, &images);
        Ok(leaving)
    }

    /// A record that cannot be read may name any layer.
    fn refuse_unread(&self, images: &[ImageRecord], containers: &[ContainerRecord]) -> Result<()> {
        if let Some(dir) = self.databases.down(&["imagedb", "content", "sha256"])? {
            let known = images.iter().map(|image| image.id.hex()).collect();
            if let Some(name) = first_beside(&dir, &known)? {
                let read = || self.image(&Digest::parse(format!("sha256:{name}"))?);
                return Err(unread(&dir, &name, "an image", "docker rmi", read));
            }
        }
        if let Some(dir) = self.root.find("containers")? {
            let known = containers.iter().map(|container| container.id.as_str()).collect();
            if let Some(name) = first_beside(&dir, &known)? {
                let read = || self.container(&name);
                return Err(unread(&dir, &name, "a container", "docker rm", read));
            }
        }
        Ok(())
    }

    /// Takes back the layers that a directory of `overlay2` or a layer which stays lies on, be it a container's or the build cache's, and
    /// those that the build cache's database names.
    fn keep_what_others_name(&self, leaving: &mut Leaving, layers: &[LayerRecord]) -> Result<()> {
        let mut lowers: HashMap<String, String> = HashMap::new();
        for name in self.layers.names()?.into_iter().filter(|name| name != "l") {
            // What cannot be read might lie on anything. A file lies on nothing, nor does the device that docker has there for quotas.
            let found = self.layers.find(&name);
            let lies_on_nothing = |m: std::fs::Metadata| !m.is_dir() && !m.is_symlink();
            if found.is_err()
                && self.layers.path().join(&name).symlink_metadata().is_ok_and(lies_on_nothing)
            {
                continue;
            }
            let Some(dir) = found? else { continue };
            if let Some(lower) = dir.read("lower", 1 << 20)? {
                lowers.insert(name, String::from_utf8_lossy(&lower).into_owned());
            }
        }
        let mut links: HashMap<Digest, String> = HashMap::new();
        for (chain_id, (_, layer)) in &leaving.layers {
            // Without a directory or a short name the layer stays, and keeps no other from leaving.
            let link = match self.layers.find(&layer.cache_id)? {
                Some(dir) => dir.word("link")?.unwrap_or_default(),
                None => String::new(),
            };
            links.insert(chain_id.clone(), link);
        }
        let mut rests: HashMap<String, String> = HashMap::new();
        for cache_id in leaving.remains.iter().filter_map(|rest| rest.cache_id.as_ref()) {
            let link = self.link_of(cache_id, &self.layer_dir(cache_id)?)?;
            rests.insert(cache_id.clone(), link);
        }
        let cache = self.build_cache()?;
        let words = match &cache {
            Cache::Database(bytes) => digests_in(bytes),
            Cache::Absent | Cache::TooLarge => HashSet::new(),
        };
        let named = |chain_id: &Digest| match &cache {
            Cache::Absent => false,
            Cache::Database(_) => words.contains(chain_id.as_str().as_bytes()),
            Cache::TooLarge => true,
        };
        leaving
            .layers
            .retain(|chain_id, (_, layer)| !named(chain_id) && !cache.names(&layer.cache_id));
        leaving.remains.retain(|rest| !rest.cache_id.as_ref().is_some_and(|id| cache.names(id)));
        loop {
            let going: HashSet<&str> = leaving
                .layers
                .values()
                .map(|(_, layer)| layer.cache_id.as_str())
                .chain(leaving.remains.iter().filter_map(|rest| rest.cache_id.as_deref()))
                .collect();
            let used: HashSet<String> = lowers
                .iter()
                .filter(|(name, _)| !going.contains(name.as_str()))
                .flat_map(|(_, lower)| lower.split(':'))
                .filter_map(|word| word.strip_prefix("l/").map(str::to_owned))
                .collect();
            let parents: HashSet<&Digest> = layers
                .iter()
                .filter(|layer| !leaving.layers.contains_key(&layer.chain_id))
                .filter_map(|layer| layer.parent.as_ref())
                .collect();
            let staying: HashSet<&str> = layers
                .iter()
                .filter(|layer| !leaving.layers.contains_key(&layer.chain_id))
                .map(|layer| layer.cache_id.as_str())
                .collect();
            let before = (leaving.layers.len(), leaving.remains.len());
            leaving.layers.retain(|chain_id, (_, layer)| {
                let link = links.get(chain_id);
                link.is_some_and(|link| !link.is_empty() && !used.contains(link))
                    && !staying.contains(layer.cache_id.as_str())
                    && !parents.contains(chain_id)
            });
            leaving.remains.retain(|rest| {
                // Nothing can lie on one that has no short name any more.
                let link = rest.cache_id.as_ref().and_then(|id| rests.get(id));
                link.is_none_or(|link| !used.contains(link))
            });
            if before == (leaving.layers.len(), leaving.remains.len()) {
                return Ok(());
            }
        }
    }

    /// The text of the database by which the build cache knows its layers. Its pages hold the chain ids as they are; what is stale in
    /// them keeps a layer in vain, at worst.
    fn build_cache(&self) -> Result<Cache> {
        let Some(dir) = self.root.find("buildkit")? else { return Ok(Cache::Absent) };
        let Some(file) = dir.file("snapshots.db")? else { return Ok(Cache::Absent) };
        if file.metadata().is_ok_and(|meta| meta.len() > MAX_SNAPSHOTS) {
            return Ok(Cache::TooLarge);
        }
        drop(file);
        Ok(dir.read("snapshots.db", MAX_SNAPSHOTS)?.map_or(Cache::Absent, Cache::Database))
    }
}

/// The first name in the directory that is not among those.
fn first_beside(dir: &Directory, known: &HashSet<&str>) -> Result<Option<String>> {
    Ok(dir.names()?.into_iter().find(|name| !known.contains(name.as_str())))
}

/// Why a record was passed over, and what to do about it. Docker passes over what it cannot read, too, and has no way to remove that.
fn unread<T>(
    dir: &Directory,
    name: &str,
    what: &str,
    command: &str,
    read: impl FnOnce() -> Result<T>,
) -> Error {
    let path = dir.path().join(name);
    let e = match is_id(name).then(read) {
        Some(Err(e)) => e,
        // Whatever it was, it is whole by now.
        Some(Ok(_)) => Error::new(ErrorKind::Busy, format!("reading {what} of docker"))
            .detail("it has come meanwhile"),
        None => damaged(what, format!("{name:?} is no id")),
    };
    let e = e.context("finding the layers that docker needs");
    match e.kind() {
        // What the disk does not give just now may be whole.
        ErrorKind::Io | ErrorKind::Busy => return e.hint("leave out --move"),
        // It is whole, for a daemon with another driver.
        ErrorKind::NotSupported => {
            let hint = "leave out --move; or see to it with a daemon of that driver";
            return e.path(&path).hint(hint);
        }
        _ => {}
    }
    let hint = format!(
        "leave out --move; or `{command}` it if docker still lists it, else stop the daemon and remove {path:?} by hand"
    );
    if e.file().is_some() { e.hint(hint) } else { e.path(&path).hint(hint) }
}

enum Cache {
    Absent,
    Database(Vec<u8>),
    TooLarge,
}

impl Cache {
    /// Whether the id stands in it, or might.
    fn names(&self, id: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::Database(bytes) => bytes.windows(id.len()).any(|word| word == id.as_bytes()),
            Self::TooLarge => true,
        }
    }
}

/// How many lie below, as far as is known.
fn depth_of<'a>(first: Option<&'a Digest>, below: impl Fn(&Digest) -> Option<&'a Digest>) -> usize {
    let mut seen = HashSet::new();
    let mut next = first;
    // Where they lie in a circle, it ends at the first that has been seen.
    while let Some(id) = next.filter(|id| seen.insert(*id)) {
        next = below(id);
    }
    seen.len()
}

fn children_first(leaving: &Leaving, images: &[ImageRecord]) -> Vec<Digest> {
    let parents: HashMap<&Digest, &Digest> =
        images.iter().filter_map(|i| Some((&i.id, i.parent.as_ref()?))).collect();
    let parent_of = |id: &Digest| parents.get(id).copied();
    let mut order: Vec<Digest> = leaving.images.keys().cloned().collect();
    order.sort_by_key(|id| std::cmp::Reverse(depth_of(parent_of(id), parent_of)));
    order
}

/// The words in it that are digests as docker writes them.
fn digests_in(bytes: &[u8]) -> HashSet<&[u8]> {
    const PREFIX: &[u8] = b"sha256:";
    let is_digest = |word: &&[u8]| {
        word.strip_prefix(PREFIX)
            .is_some_and(|hex| hex.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)))
    };
    bytes.windows(PREFIX.len() + 64).filter(is_digest).collect()
}

fn choose_images(
    leaving: &mut Leaving,
    images: &[ImageRecord],
    containers: &[ContainerRecord],
    wanted: &[&ImageRecord],
    refused: &[&ImageRecord],
) {
    let used: HashMap<&Digest, &str> =
        containers.iter().map(|c| (&c.image, c.name.as_str())).collect();
    for image in wanted {
        match used.get(&image.id) {
            None => drop(leaving.images.insert(image.id.clone(), image.names.clone())),
            Some(container) => {
                let why = format!("the container {container} is made from it");
                leaving.staying.insert(image.id.clone(), why);
            }
        }
    }
    let mut children: HashMap<&Digest, Vec<&ImageRecord>> = HashMap::new();
    for image in images {
        if let Some(parent) = &image.parent {
            children.entry(parent).or_default().push(image);
        }
    }
    let refused: HashSet<&Digest> = refused.iter().map(|image| &image.id).collect();
    let unnamed = |i: &&ImageRecord| {
        i.names.is_empty() && !used.contains_key(&i.id) && !refused.contains(&i.id)
    };
    // As docker does: unnamed images leave with the last one that was built upon them.
    loop {
        let mut steps =
            images.iter().filter(unnamed).filter(|i| !leaving.images.contains_key(&i.id));
        let Some(step) = steps.find(|i| {
            children
                .get(&i.id)
                .is_some_and(|all| all.iter().all(|c| leaving.images.contains_key(&c.id)))
        }) else {
            break;
        };
        leaving.images.insert(step.id.clone(), Vec::new());
    }
    // What stays keeps what it was built upon, which keeps what that was built upon.
    while let Some((parent, child)) = children.iter().find_map(|(parent, all)| {
        let stays = all.iter().find(|c| !leaving.images.contains_key(&c.id));
        stays
            .filter(|_| leaving.images.contains_key(*parent))
            .map(|child| ((*parent).clone(), child))
    }) {
        leaving.images.remove(&parent);
        let child = child.id.hex().get(..12).unwrap_or_default();
        leaving.staying.insert(parent, format!("the image {child} is built upon it"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let text =
            format!("\0{one}{two}sha256:{}Gsha256:sha256:{}", "0".repeat(63), "a".repeat(64));
        let found = digests_in(text.as_bytes());
        assert_eq!(found.len(), 3);
        for id in [one.as_str(), two.as_str(), &format!("sha256:{}", "a".repeat(64))] {
            assert!(found.contains(id.as_bytes()), "{id}");
        }
        assert!(digests_in(b"sha256:").is_empty());
    }
}
