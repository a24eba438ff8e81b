//! Layers whose content a daemon serves from an additional layer store (`overlay-driver.md` 15).

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Overlay;
use super::chain::LayerDir;
use super::layout;
use crate::driver::options::LayerStore;
use crate::driver::{AdditionalLayer, AdditionalLayers, CreateOptions, additional};
use crate::sys::regular;
use crate::{Digest, Error, ErrorKind, LayerId, Result};

/// The file in a layer directory with the absolute path of the layer in its additional store.
const POINTER: &str = "additionallayer";

/// What a layer of an additional store has.
const PARTS: [&str; 3] = ["diff", "info", "blob"];

impl AdditionalLayers for Overlay {
    fn look_up(&self, toc: &Digest, reference: &str) -> Result<AdditionalLayer> {
        for store in &self.options.layer_stores {
            let mut path = store.path.clone();
            if store.with_reference {
                path.push(STANDARD.encode(reference));
            }
            path.push(toc.as_str());
            let missing = PARTS.iter().find(|part| path.join(part).symlink_metadata().is_err());
            match missing {
                None => return Ok(AdditionalLayer::used(path)),
                Some(part) => tracing::debug!(?path, part, "no such additional layer"),
            }
        }
        Err(Error::new(
            ErrorKind::LayerUnknown,
            format!("looking for the additional layer {toc} of {reference:?}"),
        )
        .id(toc.as_str())
        .detail("no additional layer store has it"))
    }

    fn of_layer(&self, id: &LayerId) -> Result<AdditionalLayer> {
        let layer = self.locate(id)?;
        let path = self.pointer(&layer)?.ok_or_else(|| {
            Error::new(ErrorKind::LayerUnknown, format!("looking for what layer {id} is made of"))
                .id(id.as_str())
                .detail("its content lies in no additional layer store")
        })?;
        Ok(AdditionalLayer::used(path))
    }

    fn create_from(
        &self,
        id: &LayerId,
        parent: Option<&LayerId>,
        source: &AdditionalLayer,
    ) -> Result<()> {
        self.check_place(source.path())?;
        self.create_layer(id, parent, &CreateOptions::default(), false)?;
        let layer = self.locate_own(id)?;
        let make = || -> Result<()> {
            let (dir, diff) = (layer.path(), layer.diff());
            layout::write_new(&dir.join(POINTER), 0o644, source.path().as_os_str().as_bytes())?;
            std::fs::remove_dir(&diff).map_err(|e| Error::io("removing", &diff, e))?;
            symlink(source.path().join("diff"), &diff)
                .map_err(|e| Error::io("making the link", &diff, e))
        };
        source.notify_use();
        make().inspect_err(|_| {
            // What the pointer names is released with it; without one, nobody would.
            let pointed = layer.path().join(POINTER).exists();
            if let Err(e) = self.remove_layer(&layer) {
                tracing::warn!(layer = %id, error = %e, "removing a half-made layer");
            }
            if !pointed {
                additional::release(source.path());
            }
        })
    }
}

impl Overlay {
    /// What the layer has its content from, if that is an additional layer.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a damaged file; [`ErrorKind::NotSupported`] for a layer of a store that is not configured.
    pub(super) fn pointer(&self, layer: &LayerDir) -> Result<Option<PathBuf>> {
        let file = layer.path().join(POINTER);
        let Some(bytes) = regular::read("reading", &file)? else { return Ok(None) };
        let text = String::from_utf8(bytes)
            .map_err(|_| layout::damaged(&file, "it holds bytes that are not UTF-8"))?;
        let path = PathBuf::from(text);
        self.check_place(&path).map_err(|e| e.id(layer.id.as_str()))?;
        Ok(Some(path))
    }

    /// Where a layer's `diff`, which is a link, leads to.
    pub(super) fn linked_content(&self, layer: &LayerDir) -> Result<PathBuf> {
        let diff = layer.diff();
        let target =
            std::fs::read_link(&diff).map_err(|e| Error::io("reading the link", &diff, e))?;
        let place =
            target.parent().filter(|_| target.ends_with("diff")).ok_or_else(|| elsewhere(&target));
        place
            .and_then(|place| self.check_place(place))
            .map_err(|e| e.context(format!("following the link {diff:?}")).id(layer.id.as_str()))?;
        match target.symlink_metadata() {
            Ok(m) if m.is_dir() => Ok(target),
            Ok(_) => Err(layout::damaged(&target, "it is not a directory")),
            Err(e) => Err(Error::io(
                "looking for the content of a layer in its additional store",
                &target,
                e,
            )
            .id(layer.id.as_str())
            .hint("start the daemon that serves the additional layer store")),
        }
    }

    /// Refuses what is no layer of a configured additional layer store: a link or file that leads anywhere else opens nothing.
    fn check_place(&self, path: &Path) -> Result<()> {
        match self.options.layer_stores.iter().any(|store| is_layer_of(store, path)) {
            true => Ok(()),
            false => Err(elsewhere(path)),
        }
    }
}

fn elsewhere(path: &Path) -> Error {
    Error::new(ErrorKind::NotSupported, format!("using the content in {path:?}"))
        .path(path)
        .detail("it is no layer of an additional layer store that is configured")
        .hint("name the store in additionallayerstores of storage.conf")
}

/// Whether a path reads `<store>/<digest>`, or `<store>/<base64 of a reference>/<digest>`: that base64 may have a `/` in it.
fn is_layer_of(store: &LayerStore, path: &Path) -> bool {
    let Ok(rest) = path.strip_prefix(&store.path) else { return false };
    let names: Option<Vec<&str>> = rest
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    match names.as_deref() {
        Some([reference @ .., digest]) => {
            reference.is_empty() != store.with_reference && Digest::parse(*digest).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_layers_of_the_store_are_its_layers() {
        let toc = Digest::sha256(b"toc");
        for (with_reference, path, yes) in [
            (false, format!("/s/{toc}"), true),
            (true, format!("/s/aGk=/{toc}"), true),
            (true, format!("/s/a/Gk=/{toc}"), true),
            (false, format!("/s/aGk=/{toc}"), false),
            (true, format!("/s/{toc}"), false),
            (false, format!("/s/../s/{toc}"), false),
            (true, format!("/s/../{toc}"), false),
            (false, format!("/t/{toc}"), false),
            (false, "/s".to_owned(), false),
            (false, "/s/x".to_owned(), false),
            (false, format!("s/{toc}"), false),
        ] {
            let store = LayerStore { path: "/s".into(), with_reference };
            assert_eq!(is_layer_of(&store, Path::new(&path)), yes, "{path}");
        }
    }
}
