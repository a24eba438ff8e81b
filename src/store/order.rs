//! The order in which a store's locks are taken (`store-format.md` 9.4), kept by the compiler.
//!
//! Whoever takes a lock shows that what it already holds comes before it; taking one out of order does not compile.

use std::marker::PhantomData;

/// Proof that the locks held so far come no later than `Rank`.
#[derive(Debug)]
pub(crate) struct Held<Rank> {
    _rank: PhantomData<Rank>,
}

impl<Rank> Held<Rank> {
    /// For the code that has just taken the lock of that rank.
    pub(super) fn taken() -> Self {
        Self { _rank: PhantomData }
    }
}

/// Nothing is held: where each operation begins.
#[derive(Debug)]
pub(crate) struct Nothing;
/// The digest locks, around the making of layers; many at once, in the order of their names.
#[derive(Debug)]
pub(crate) struct Digests;
/// `userns.lock`, around the making of containers with id maps.
#[derive(Debug)]
pub(crate) struct Userns;
/// `storage.lock`, around a whole mount.
#[derive(Debug)]
pub(crate) struct Graph;
/// The primary `layers.lock` (both, with an image store).
#[derive(Debug)]
pub(crate) struct Layers;
/// The `layers.lock` of additional stores, in the configured order.
#[derive(Debug)]
pub(crate) struct OtherLayers;
/// The primary `images.lock`.
#[derive(Debug)]
pub(crate) struct Images;
/// The `images.lock` of additional stores.
#[derive(Debug)]
pub(crate) struct OtherImages;
/// `containers.lock`.
#[derive(Debug)]
pub(crate) struct Containers;
/// The second writable `images.lock`, in the graph root of a store with a separate image store.
#[derive(Debug)]
pub(crate) struct SplitImages;

impl Held<Nothing> {
    /// The start of an operation that holds no lock.
    pub(crate) fn nothing() -> Self {
        Self::taken()
    }
}

/// That a lock of rank `Inner` may be taken while one of rank `Self` is held.
pub(crate) trait Before<Inner> {}

macro_rules! order {
    ($($outer:ident => $($inner:ident),+;)+) => { $($(impl Before<$inner> for $outer {})+)+ };
}

order! {
    Nothing => Digests, Userns, Graph, Layers, OtherLayers, Images, OtherImages, Containers, SplitImages;
    Digests => Graph, Layers, OtherLayers, Images, OtherImages, Containers, SplitImages;
    Userns => Layers, OtherLayers, Images, OtherImages, Containers, SplitImages;
    Graph => Layers, OtherLayers, Images, OtherImages, Containers, SplitImages;
    Layers => OtherLayers, Images, OtherImages, Containers, SplitImages;
    OtherLayers => OtherLayers, Images, OtherImages, Containers, SplitImages;
    Images => OtherImages, Containers, SplitImages;
    OtherImages => OtherImages, Containers, SplitImages;
    Containers => SplitImages;
}
