//! Id maps of layers and containers (`store-format.md` 3, 11): what is recorded, whose the files are, what comes out.

use std::os::unix::fs::{MetadataExt, chown};

use super::*;
use crate::archive::ChangeKind;
use crate::{ErrorKind, IdMap};

fn map(host_id: u32) -> Vec<IdMap> {
    vec![IdMap { container_id: 0, host_id, size: 1000 }]
}

/// A store whose driver has no mounts, so that every map shows on the disk.
fn vfs() -> Option<Fixture> {
    if rustix::process::geteuid().is_root() {
        return Some(Fixture::with_driver("vfs"));
    }
    println!("skipped: only root gives files away");
    None
}

impl Fixture {
    fn file(&self, layer: &str, name: &str) -> PathBuf {
        self.path("graph/vfs/dir").join(layer).join(name)
    }

    fn owner(&self, layer: &str, name: &str) -> (u32, u32) {
        let about = self.file(layer, name).symlink_metadata().unwrap();
        (about.uid(), about.gid())
    }
}

fn layer(id: &str, parent: Option<&str>) -> NewLayer {
    NewLayer {
        id: Some(id.to_owned()),
        parent: parent.map(str::to_owned),
        read_only: true,
        ..NewLayer::default()
    }
}

fn container(id: &str, uids: Vec<IdMap>, gids: Vec<IdMap>) -> NewContainer {
    NewContainer {
        id: Some(id.to_owned()),
        image: Some("image".to_owned()),
        uid_map: uids,
        gid_map: gids,
        ..NewContainer::default()
    }
}

/// An image of two layers without maps.
fn image(store: &Store) {
    let files: &[(&str, &str)] = &[("d/", ""), ("d/f", "low")];
    store.import_layer(layer("low", None), &mut tar_of(files).as_slice()).unwrap();
    let new = NewLayer { mount_label: "label".to_owned(), ..layer("top", Some("low")) };
    store.import_layer(new, &mut tar_of(&[("d/top", "top")]).as_slice()).unwrap();
    let new = NewImage {
        id: Some("image".to_owned()),
        layer: Some("top".to_owned()),
        ..NewImage::default()
    };
    store.create_image(new).unwrap();
}

#[test]
fn layers_have_their_own_maps_or_their_parents() {
    let Some(fixture) = vfs() else { return };
    let store = fixture.store();
    let tar = tar_of(&[("d/", ""), ("d/f", "content")]);
    let own = NewLayer { uid_map: map(1000), gid_map: map(2000), ..layer("own", None) };
    let own = store.import_layer(own, &mut tar.as_slice()).unwrap();
    assert_eq!((&own.uid_map, &own.gid_map), (&map(1000), &map(2000)));
    assert_eq!(fixture.owner("own", "d/f"), (1000, 2000));
    assert_eq!(fixture.owner("own", ""), (1000, 2000));
    assert_eq!(own.uid_set, [0], "the record of the ids is of those in the tar");

    // The parent's, of which the copied files are already.
    let next = tar_of(&[("implied/g", "")]);
    let child = store.import_layer(layer("child", Some("own")), &mut next.as_slice()).unwrap();
    assert_eq!((&child.uid_map, &child.gid_map), (&map(1000), &map(2000)));
    assert_eq!(fixture.owner("child", "d/f"), (1000, 2000));
    assert_eq!(fixture.owner("child", "implied"), (1000, 2000));

    // Others, with and without content; and the host's.
    let other = NewLayer { uid_map: map(5000), ..layer("other", Some("own")) };
    let other = store.import_layer(other, &mut next.as_slice()).unwrap();
    assert_eq!((&other.uid_map, &other.gid_map), (&map(5000), &map(2000)));
    assert_eq!(fixture.owner("other", "d/f"), (5000, 2000));
    let host = NewLayer { host_uids: true, host_gids: true, ..layer("host", Some("own")) };
    let host = store.create_layer(host).unwrap();
    assert!(host.uid_map.is_empty() && host.gid_map.is_empty());
    assert_eq!((fixture.owner("host", "d/f"), fixture.owner("host", "")), ((0, 0), (0, 0)));

    // Each gives back the bytes that came in, by its tar-split and without.
    let export = |id: &str, parent: Option<&str>| {
        let mut out = Vec::new();
        store.diff(id, parent, None, &mut out).unwrap();
        out
    };
    assert_eq!(export("own", None), tar);
    std::fs::remove_file(fixture.path("graph/vfs-layers/child.tar-split.gz")).unwrap();
    let again = layer("again", None);
    store.import_layer(again, &mut export("child", None).as_slice()).unwrap();
    assert_eq!(fixture.owner("again", "implied/g"), (0, 0));
    let changes = store.changes("other", Some("own")).unwrap();
    assert!(changes.iter().all(|c| c.path.starts_with(b"/implied")), "{changes:?}");
    assert_eq!(store.diff_size("other", Some("own")).unwrap(), 0);

    // More content for a layer that has maps.
    store.apply_diff("own", &mut tar_of(&[("more", "")]).as_slice()).unwrap();
    assert_eq!(fixture.owner("own", "more"), (1000, 2000));
    assert_eq!(
        kind(store.import_layer(
            NewLayer {
                uid_map: vec![IdMap { container_id: 1, host_id: 5, size: 1 }],
                gid_map: map(0),
                ..layer("bad", None)
            },
            &mut tar.as_slice()
        )),
        ErrorKind::InvalidArgument
    );
    assert_eq!(kind(store.layer("bad")), ErrorKind::LayerUnknown);
    assert_eq!(fixture.listing("graph/vfs/tempdirs"), Vec::<PathBuf>::new());
}

#[test]
fn a_configured_map_is_that_of_layers_without_a_parent() {
    let Some(fixture) = vfs() else { return };
    let options = StoreOptions { uid_map: map(1000), gid_map: map(2000), ..fixture.options() };
    let store = Store::open(options).unwrap();
    let base = import(&store, "base", None, &[("f", "")]);
    assert_eq!((&base.uid_map, &base.gid_map), (&map(1000), &map(2000)));
    assert_eq!(fixture.owner(&base.id, "f"), (1000, 2000));
    let staged = store.stage_layer(None, &mut tar_of(&[("g", "")]).as_slice()).unwrap();
    let made = store.commit_layer(layer("staged", None), staged).unwrap();
    assert_eq!((made.uid_map.clone(), fixture.owner("staged", "g")), (map(1000), (1000, 2000)));
    // Unpacked for one place, it cannot be put in another.
    let staged = store.stage_layer(None, &mut tar_of(&[("g", "")]).as_slice()).unwrap();
    let elsewhere = NewLayer { host_uids: true, ..layer("elsewhere", None) };
    assert_eq!(kind(store.commit_layer(elsewhere, staged)), ErrorKind::InvalidArgument);
    let nothing = NewContainer::default();
    let container = store.create_container(nothing).unwrap();
    assert!(container.uid_map.is_empty(), "what was asked for");
    assert_eq!(store.layer(&container.layer).unwrap().uid_map, map(1000));
}

#[test]
fn containers_with_maps_share_a_copy_of_the_images_layer() {
    let Some(fixture) = vfs() else { return };
    let store = fixture.store();
    image(&store);
    let size = store.image_size("image").unwrap();
    let plain = store.create_container(container("plain", vec![], vec![])).unwrap();
    assert_eq!(store.layer(&plain.layer).unwrap().parent, "top");
    let one = store.create_container(container("one", map(1000), map(2000))).unwrap();
    let two = store.create_container(container("two", map(1000), map(2000))).unwrap();
    let mapped = store.image("image").unwrap().mapped_layers.clone();
    assert_eq!(mapped.len(), 1, "the second finds what the first has had made");
    let copy = store.layer(&mapped[0]).unwrap();
    let top = store.layer("top").unwrap();
    assert_eq!((&copy.uid_map, &copy.gid_map), (&map(1000), &map(2000)));
    assert_eq!(
        (&copy.parent, &copy.mount_label, &copy.diff_digest, copy.diff_size, &copy.uid_set),
        (&top.parent, &top.mount_label, &top.diff_digest, top.diff_size, &top.uid_set)
    );
    assert!(copy.names.is_empty() && copy.flags.is_empty());
    assert_eq!(fixture.owner(&copy.id, "d/f"), (1000, 2000));
    assert_eq!(fixture.owner(&copy.id, ""), (1000, 2000));
    let mut out = Vec::new();
    store.diff(&copy.id, None, None, &mut out).unwrap();
    assert_eq!(out, tar_of(&[("d/top", "top")]), "by a tar-split of its own");
    for made in [&one, &two] {
        let layer = store.layer(&made.layer).unwrap();
        assert_eq!((layer.parent.as_str(), &layer.uid_map), (copy.id.as_str(), &map(1000)));
        assert_eq!((&made.uid_map, &made.gid_map), (&map(1000), &map(2000)));
        assert_eq!(fixture.owner(&made.layer, "d/f"), (1000, 2000));
    }
    assert!(fixture.path("graph/userns.lock").exists());
    assert!(store.image_size("image").unwrap() > size, "the copy takes room");

    // What the container writes comes out with the ids inside.
    let file = fixture.file(&one.layer, "new");
    std::fs::write(&file, "new").unwrap();
    chown(&file, Some(1007), Some(2000)).unwrap();
    let changes = store.changes("one", None).unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].kind, changes[0].path.as_slice()), (ChangeKind::Add, &b"/new"[..]));
    let mut out = Vec::new();
    store.diff("one", None, None, &mut out).unwrap();
    assert_eq!(&out[108..124], b"0000007\x000000000\0");

    // Mounted with its maps it is what it is; with others it would be somebody else's.
    store.mount("one", &MountRequest::default()).unwrap();
    store.unmount("one", false).unwrap();

    // Not even two may use an id, and no copy is made for it.
    let e = store.create_container(container("one", map(3000), map(3000)));
    assert_eq!(kind(e), ErrorKind::DuplicateId);
    assert_eq!(store.image("image").unwrap().mapped_layers, mapped);
    let e = store.create_container(container(
        "bad",
        vec![IdMap { container_id: 1, host_id: 5, size: 1000 }],
        map(0),
    ));
    assert_eq!(kind(e), ErrorKind::InvalidArgument);
    assert_eq!(store.image("image").unwrap().mapped_layers, mapped);
    assert_eq!(store.layers().unwrap().len(), 6);

    // Go with the image.
    for id in ["plain", "one", "two"] {
        store.delete_container(id).unwrap();
    }
    store.delete_image("image", false).unwrap();
    assert!(store.layers().unwrap().is_empty());
    assert_eq!(fixture.listing("graph/vfs/dir"), Vec::<PathBuf>::new());
}

#[test]
fn an_image_of_another_store_is_mapped_for_the_container_alone() {
    let Some(fixture) = vfs() else { return };
    let theirs = Fixture::with_driver("vfs");
    image(&theirs.store());
    let option = format!("vfs.imagestore={}", theirs.path("graph").display());
    let options = StoreOptions { driver_options: vec![option], ..fixture.options() };
    let store = Store::open(options).unwrap();
    let before = theirs.records("images");
    let one = store.create_container(container("one", map(1000), map(2000))).unwrap();
    let layer = store.layer(&one.layer).unwrap();
    assert_eq!((layer.parent.as_str(), &layer.uid_map), ("top", &map(1000)));
    assert_eq!(fixture.owner(&one.layer, "d/f"), (1000, 2000));
    assert_eq!(theirs.records("images"), before);
}

#[test]
fn files_of_other_owners_are_not_mounted_where_no_mount_maps() {
    let Some(fixture) = vfs() else { return };
    let store = fixture.store();
    image(&store);
    let plain = store.create_container(container("plain", vec![], vec![])).unwrap();
    let records = fixture.records("containers");
    let maps = r#""uidmap":[{"container_id":0,"host_id":7,"size":9}],"#;
    fixture.write_records(
        "containers",
        &records.replacen(r#""flags":"#, &format!(r#"{maps}"flags":"#), 1),
    );
    let store = fixture.store();
    assert_eq!(store.container("plain").unwrap().uid_map.len(), 1, "{records}");
    assert_eq!(kind(store.mount("plain", &MountRequest::default())), ErrorKind::NotSupported);
    assert_eq!(store.mounted(&plain.layer).unwrap(), 0);
}

/// A store in which a container lies on a copy of the image's layer, since no mount could map ids when it was made.
fn copied() -> Option<(Fixture, Store)> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root gives files away");
        return None;
    }
    let fixture = Fixture::with_driver("overlay");
    let without = vec!["disable_idmap=true".to_owned()];
    let store = Store::open(StoreOptions { driver_options: without, ..fixture.options() }).unwrap();
    let top = import(&store, "top", None, &[("d/", ""), ("d/top", "top")]);
    let layer = Some(top.id.clone());
    store
        .create_image(NewImage { id: Some("image".into()), layer, ..NewImage::default() })
        .unwrap();
    store.create_container(container("box", map(5000), map(6000))).unwrap();
    drop(store);
    let store = fixture.store();
    Some((fixture, store))
}

#[test]
fn what_has_its_owners_by_a_copy_is_not_mapped_again_by_the_mount() {
    // MAP-7: the kernel, or the option, may be another one by now.
    let Some((fixture, store)) = copied() else { return };
    let merged = store.mount("box", &MountRequest::default()).unwrap();
    let about = merged.join("d/top").metadata().unwrap();
    assert_eq!((about.uid(), about.gid()), (5000, 6000));
    store.unmount("box", false).unwrap();
    // Other maps than the copy's are neither that copy's owners nor anything that could be mapped.
    let dir = fixture.path("graph/overlay-containers/containers.json");
    let text = std::fs::read_to_string(&dir).unwrap();
    std::fs::write(&dir, text.replace("5000", "8000")).unwrap();
    let error = fixture.store().mount("box", &MountRequest::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    let copy = store.image("image").unwrap().mapped_layers[0].clone();
    assert!(error.to_string().contains(&copy), "{error}");
}

#[test]
fn a_mapped_copy_that_waits_for_its_image_is_finished_or_taken_back() {
    // store-format.md 10.2
    let Some((fixture, store)) = copied() else { return };
    let copy = store.image("image").unwrap().mapped_layers[0].clone();
    store.delete_container("box").unwrap();
    let flag = |fixture: &Fixture| {
        let text = fixture.records("layers");
        let (before, after) = text.split_once(&copy).unwrap();
        let flagged = after.replacen(
            r#","uidmap""#,
            r#","flags":{"orlop-awaits-container":true},"uidmap""#,
            1,
        );
        assert_ne!(flagged, after);
        fixture.write_records("layers", &format!("{before}{copy}{flagged}"));
    };
    flag(&fixture);
    import(&fixture.store(), "write", None, &[]);
    let kept = fixture.store().layer(&copy).unwrap();
    assert!(kept.flags.is_empty(), "{:?}", kept.flags);

    flag(&fixture);
    let images = fixture.records("images").replace(&format!(r#","mapped-layers":["{copy}"]"#), "");
    fixture.write_records("images", &images);
    import(&fixture.store(), "another", None, &[]);
    assert_eq!(kind(fixture.store().layer(&copy)), ErrorKind::LayerUnknown);
    assert!(!fixture.path("graph/overlay").join(&copy).exists());
}
