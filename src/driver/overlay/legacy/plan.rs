//! What each layer of a legacy store becomes in today's layout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Content, LOWER_ID, Survey};
use crate::driver::overlay::layout::{self, MAX_LOWERS};
use crate::{Error, ErrorKind, LayerId, Result};

/// The most layers below an image's; a container still fits on top.
const DEEPEST: usize = MAX_LOWERS - 2;

/// Where a layer's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// All of its `root`.
    Whole,
    /// What its `root` changes over that of another one.
    Over(LayerId),
    /// Its `upper`.
    Upper,
}

/// What becomes of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) id: LayerId,
    pub(super) source: Source,
    /// The layers below it, nearest first.
    pub(super) chain: Vec<LayerId>,
}

/// The steps in an order in which each layer comes after those below it.
///
/// A container keeps what it lies on, which is its image even where its parent by the records is another container: it has a copy of
/// that one's content (LEG-4). An image whose parent has no tree to compare with becomes a layer of its own.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the records' parents go round in circles, or a container lies on what is no image.
pub(super) fn plan(
    home: &Path,
    survey: &Survey,
    parents: &BTreeMap<LayerId, LayerId>,
) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut chains: BTreeMap<&LayerId, Vec<LayerId>> = BTreeMap::new();
    for id in images(survey) {
        let mut waiting = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(&id) = waiting.last() {
            if chains.contains_key(id) {
                waiting.pop();
                continue;
            }
            let parent = parents.get(id).and_then(|p| image(survey, p));
            if let Some(parent) = parent.filter(|p| !chains.contains_key(p)) {
                if !seen.insert(parent) {
                    return Err(Error::new(ErrorKind::Corrupt, "reading the layer records")
                        .id(id.as_str())
                        .detail(format!("layer {id} is among its own parents"))
                        .hint("nothing was changed; repair the record"));
                }
                waiting.push(parent);
                continue;
            }
            // A list of ids is parted by colons.
            let below = parent
                .filter(|p| !p.as_str().contains(':'))
                .and_then(|p| chains.get(p).map(|chain| (p, chain)))
                .filter(|(_, chain)| chain.len() < DEEPEST);
            let (source, chain) = match below {
                Some((parent, chain)) => {
                    let ids = std::iter::once(parent).chain(chain).cloned().collect();
                    (Source::Over(parent.clone()), ids)
                }
                None => (Source::Whole, Vec::new()),
            };
            steps.push(Step { id: id.clone(), source, chain: chain.clone() });
            chains.insert(id, chain);
        }
    }
    for (id, content) in &survey.legacy {
        let Content::Container { lower } = content else { continue };
        let damaged = |why: String| layout::damaged(&home.join(id).join(LOWER_ID), why);
        let Some(chain) = chains.get(lower) else {
            return Err(damaged(format!("it names {lower}, which has no {:?}", super::ROOT)));
        };
        if lower.as_str().contains(':') {
            return Err(damaged(format!(
                "a layer with ':' in its id, {lower}, cannot be a parent"
            )));
        }
        let chain = std::iter::once(lower).chain(chain).cloned().collect();
        steps.push(Step { id: id.clone(), source: Source::Upper, chain });
    }
    Ok(steps)
}

fn images(survey: &Survey) -> impl Iterator<Item = &LayerId> {
    survey.legacy.iter().filter(|(_, content)| **content == Content::Image).map(|(id, _)| id)
}

/// The same id as the survey has it, if it is an image's.
fn image<'s>(survey: &'s Survey, id: &LayerId) -> Option<&'s LayerId> {
    let (id, content) = survey.legacy.get_key_value(id)?;
    (*content == Content::Image).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::tests::id;

    fn survey(images: &[&str], containers: &[(&str, &str)]) -> Survey {
        let images = images.iter().map(|name| (id(name), Content::Image));
        let containers = containers
            .iter()
            .map(|(name, lower)| (id(name), Content::Container { lower: id(lower) }));
        Survey { legacy: images.chain(containers).collect(), today: Vec::new() }
    }

    fn parents(pairs: &[(&str, &str)]) -> BTreeMap<LayerId, LayerId> {
        pairs.iter().map(|(child, parent)| (id(child), id(parent))).collect()
    }

    fn planned(survey: &Survey, pairs: &[(&str, &str)]) -> Result<Vec<Step>> {
        plan(Path::new("/home"), survey, &parents(pairs))
    }

    fn step(name: &str, source: Source, chain: &[&str]) -> Step {
        Step { id: id(name), source, chain: chain.iter().map(|name| id(name)).collect() }
    }

    #[test]
    fn parents_come_first_and_containers_lie_on_their_image() {
        // LEG-4: `second` is a copy of `first`, and does not lie on it
        let survey = survey(&["a", "b", "z"], &[("first", "a"), ("second", "a")]);
        let pairs = [("a", "b"), ("b", "z"), ("first", "a"), ("second", "first")];
        let expected = [
            step("z", Source::Whole, &[]),
            step("b", Source::Over(id("z")), &["z"]),
            step("a", Source::Over(id("b")), &["b", "z"]),
            step("first", Source::Upper, &["a", "b", "z"]),
            step("second", Source::Upper, &["a", "b", "z"]),
        ];
        assert_eq!(planned(&survey, &pairs).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_compared_becomes_whole() {
        let survey = survey(&["a", "b", "c:d", "e"], &[("ctr", "a")]);
        // Of a parent that is a container, is missing, or cannot stand in a list.
        let steps = planned(&survey, &[("a", "ctr"), ("b", "gone"), ("e", "c:d")]).unwrap();
        assert_eq!(steps.iter().filter(|s| s.source == Source::Whole).count(), 4);
        assert!(steps.iter().all(|s| s.source == Source::Upper || s.chain.is_empty()));
    }

    #[test]
    fn a_chain_that_no_overlay_takes_is_cut() {
        let names: Vec<String> = (0..1200).map(|n| format!("layer{n:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pairs: Vec<_> = names.windows(2).map(|pair| (pair[1], pair[0])).collect();
        let survey = survey(&names, &[("ctr", names[1199])]);
        let steps = planned(&survey, &pairs).unwrap();
        assert!(steps.iter().all(|s| s.chain.len() < MAX_LOWERS));
        assert_eq!(steps.iter().filter(|s| s.source == Source::Whole).count(), 3);
    }

    #[test]
    fn circles_and_containers_without_image_are_refused() {
        let circle = survey(&["a", "b", "c"], &[]);
        let e = planned(&circle, &[("a", "b"), ("b", "c"), ("c", "a")]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        let e = planned(&circle, &[("a", "a")]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        for lower in ["ctr", "other", "gone"] {
            let survey = survey(&["a"], &[("ctr", lower), ("other", "a")]);
            let e = planned(&survey, &[]).unwrap_err();
            assert_eq!(e.file(), Some(Path::new("/home/ctr/lower-id")), "{lower}");
        }
    }
}
