//! One layer's part of a merged directory.

use std::rc::Rc;

/// A directory of a layer. Its path there is that of the merged directory, but for a front part that redirects replaced; so that a
/// place takes no more room the deeper it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) layer: usize,
    /// What stands in front, in place of so many bytes of the merged path.
    base: Rc<[u8]>,
    cut: usize,
}

impl Place {
    /// The root of a layer.
    pub(super) fn root(layer: usize) -> Self {
        Self { layer, base: Rc::default(), cut: 0 }
    }

    /// The directory at `path` in a layer, as a part of the one at `merged`; `like` is where its parent's part is, if there is one.
    pub(super) fn at(layer: usize, path: &[u8], merged: &[u8], like: Option<&Self>) -> Self {
        match like {
            Some(parent) if parent.layer == layer && parent.path(merged) == path => parent.clone(),
            _ => Self { layer, base: path.into(), cut: merged.len() },
        }
    }

    /// The path in the layer of what is at `merged` in the whole.
    pub(super) fn path(&self, merged: &[u8]) -> Vec<u8> {
        let rest = merged.get(self.cut..).unwrap_or_default();
        [&self.base, rest].concat()
    }
}
