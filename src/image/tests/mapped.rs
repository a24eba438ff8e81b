//! Images loaded upon layers whose id maps are others than the store's configuration says.

use std::os::unix::fs::MetadataExt;

use super::beside::{docker, layer};
use super::*;
use crate::store::NewLayer;
use crate::{Digest, IdMap};

fn map(host_id: u32) -> Vec<IdMap> {
    vec![IdMap { container_id: 0, host_id, size: 1000 }]
}

/// `store-format.md` 3, 11: what is not asked for is the parent's, through a whole chain of new layers, which may be unpacked in any
/// order; another chain of the same loading has the configured ones.
#[test]
fn new_layers_have_the_maps_of_the_layer_that_they_lie_on() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root gives files away");
    }
    let base = layer("base", b"base", None);
    // The lowest of the new ones is complete long after its children.
    let large = layer("large", &vec![1; 4 << 20], None);
    let (small, last) = (layer("small", b"s", None), layer("last", b"l", None));
    for driver in ["overlay", "vfs"] {
        let f = Fixture::on(driver);
        let store = Store::open(StoreOptions {
            uid_map: map(7000),
            gid_map: map(8000),
            // Mounts that map would make all maps needless.
            driver_options: vec!["overlay.disable_idmap=true".to_owned()],
            ..f.options()
        })
        .unwrap();
        let base_id = Digest::sha256(&base).hex().to_owned();
        let new = NewLayer {
            id: Some(base_id.clone()),
            read_only: true,
            uid_map: map(1000),
            gid_map: map(2000),
            ..NewLayer::default()
        };
        store.import_layer(new, &mut base.as_slice()).unwrap();
        let images = [vec![&base[..], &large, &small, &last], vec![&small[..], &last]];
        load_bytes(&store, &docker(&images)).unwrap();
        let layers = store.layers().unwrap();
        assert_eq!(layers.len(), 6);
        for layer in &layers {
            let id = &layer.id;
            let dir = match driver {
                "vfs" => f.path(&format!("graph/vfs/dir/{id}")),
                _ => f.path(&format!("graph/overlay/{id}/diff")),
            };
            let file = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap();
            let (file, root) = (file.metadata().unwrap(), dir.metadata().unwrap());
            let found = [(file.uid(), file.gid()), (root.uid(), root.gid())];
            let on_base = lowest(&store, id) == base_id;
            let (uid, gid) = if on_base { (1000, 2000) } else { (7000, 8000) };
            assert_eq!((&layer.uid_map, &layer.gid_map), (&map(uid), &map(gid)), "{driver}");
            assert_eq!(found, [(uid, gid); 2], "{driver}");
        }
        assert_eq!(layers.iter().filter(|l| l.uid_map == map(1000)).count(), 4);
    }
}

/// The id of the layer that the chain of this one begins with.
fn lowest(store: &Store, id: &str) -> String {
    let mut at = store.layer(id).unwrap();
    while !at.parent.is_empty() {
        at = store.layer(&at.parent).unwrap();
    }
    at.id.clone()
}
