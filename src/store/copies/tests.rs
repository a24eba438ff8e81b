//! What others do while a copy of an image's top layer is made, and what becomes of the copy.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::*;
use crate::IdMap;
use crate::config::StoreOptions;
use crate::record::Container;
use crate::store::{NewContainer, NewImage, NewLayer};

/// A store in which no mount maps ids, with an image of two layers.
struct Site {
    dir: tempfile::TempDir,
    store: Store,
}

fn options(dir: &Path) -> StoreOptions {
    StoreOptions {
        graph_root: dir.join("graph"),
        run_root: dir.join("run"),
        driver: "overlay".to_owned(),
        driver_options: vec![
            "overlay.disable_idmap=true".to_owned(),
            "overlay.skip_mount_home=true".to_owned(),
        ],
        ..StoreOptions::default()
    }
}

fn tar_of(text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    builder.append_data(&mut header, "file", text.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

fn fill(store: &Store, text: &str) {
    for (id, parent) in [("low", None), ("top", Some("low".to_owned()))] {
        let new =
            NewLayer { id: Some(id.to_owned()), parent, read_only: true, ..NewLayer::default() };
        store.import_layer(new, &mut tar_of(&format!("{id} {text}")).as_slice()).unwrap();
    }
    let (id, layer) = (Some("image".to_owned()), Some("top".to_owned()));
    store.create_image(NewImage { id, layer, ..NewImage::default() }).unwrap();
}

impl Site {
    /// `None` where the kernel's overlay is not to be had.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return None;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let store = Store::open(options(dir.path())).unwrap();
        fill(&store, "first");
        Some(Self { dir, store })
    }

    fn home(&self, below: &str) -> PathBuf {
        self.dir.path().join("graph/overlay").join(below)
    }

    /// Has another handle, which shares nothing with this one, do that while the next copy is made; tells whether it was done.
    fn meanwhile(&self, work: impl FnOnce(&Store) + 'static) -> Rc<Cell<bool>> {
        let (done, options) = (Rc::new(Cell::new(false)), options(self.dir.path()));
        let told = Rc::clone(&done);
        MEANWHILE.with_borrow_mut(|queue| {
            queue.push_back(Box::new(move || {
                work(&Store::open(options).unwrap());
                told.set(true);
            }));
        });
        done
    }

    fn create(&self) -> Result<Container> {
        let map = vec![IdMap { container_id: 0, host_id: 5000, size: 1000 }];
        self.store.create_container(NewContainer {
            id: Some("box".to_owned()),
            image: Some("image".to_owned()),
            uid_map: map.clone(),
            gid_map: map,
            ..NewContainer::default()
        })
    }

    /// The only mapped copy of the image, on which the container lies; nothing is left beside it.
    fn copy_below(&self, container: &Container) -> String {
        let copies = self.store.image("image").unwrap().mapped_layers.clone();
        let [copy] = copies.as_slice() else { panic!("{copies:?}") };
        assert_eq!(&self.store.layer(&container.layer).unwrap().parent, copy);
        assert_eq!(self.store.layers().unwrap().len(), 4);
        self.nothing_beside();
        copy.clone()
    }

    fn nothing_beside(&self) {
        for dir in ["tempdirs", "../overlay-layers/tmp"] {
            let left = std::fs::read_dir(self.home(dir)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{dir}");
        }
        // What no layer has is no directory either, `l`, `tempdirs` and the like excepted.
        let mut known: Vec<String> =
            self.store.layers().unwrap().iter().map(|l| l.id.clone()).collect();
        known.sort();
        assert_eq!(
            self.store
                .driver
                .list_layers()
                .map(|mut ids| {
                    ids.sort();
                    ids
                })
                .unwrap(),
            known
        );
    }

    fn file(&self, layer: &str) -> (u32, String) {
        let path = self.home(layer).join("diff1/file");
        (path.metadata().unwrap().uid(), std::fs::read_to_string(path).unwrap())
    }
}

/// What the copies of the only living temp dir hold.
fn staged(tempdirs: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()).collect()
    };
    let dirs: Vec<PathBuf> = entries(tempdirs)
        .iter()
        .flat_map(|dir| entries(dir))
        .filter(|d| d.join("file").exists())
        .collect();
    dirs
}

#[test]
fn while_a_copy_is_made_others_change_the_layers() {
    // ADD-4, MAP-1
    let Some(site) = Site::new() else { return };
    let tempdirs = site.home("tempdirs");
    let done = site.meanwhile(move |other| {
        let copies = staged(&tempdirs);
        assert_eq!(copies.len(), 1, "{copies:?}");
        let locked = other.layers.try_write(&Held::nothing()).unwrap();
        assert!(locked.is_some(), "nobody holds the lock of the layers");
        drop(locked);
        // A whole operation, with the recovery of what dead processes have left.
        other
            .create_layer(NewLayer { id: Some("other".to_owned()), ..NewLayer::default() })
            .unwrap();
        other.delete_layer("other").unwrap();
        assert_eq!(staged(&tempdirs), copies, "whose owner lives");
    });
    let again = site.meanwhile(|_| ());
    let container = site.create().unwrap();
    assert!(done.get() && !again.get(), "one copy was enough");
    assert_eq!(site.file(&site.copy_below(&container)), (5000, "top first".to_owned()));
}

#[test]
fn an_image_deleted_meanwhile_is_unknown() {
    let Some(site) = Site::new() else { return };
    let done = site.meanwhile(|other| drop(other.delete_image("image", false).unwrap()));
    let error = site.create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageUnknown, "{error}");
    assert!(error.to_string().contains("creating a container from") && done.get(), "{error}");
    assert!(site.store.layers().unwrap().is_empty());
    assert!(site.store.containers().unwrap().is_empty());
    site.nothing_beside();
}

#[test]
fn a_copy_that_another_made_meanwhile_is_used() {
    let Some(site) = Site::new() else { return };
    let done = site.meanwhile(|other| {
        // As a program that knows nothing of `userns.lock`.
        let map = [IdMap { container_id: 0, host_id: 5000, size: 1000 }];
        let new = NewContainer {
            uid_map: map.to_vec(),
            gid_map: map.to_vec(),
            ..NewContainer::default()
        };
        let (held, mut layers) = other.write_layers(&Held::nothing()).unwrap();
        let template = layers.by_id("top").unwrap().clone();
        let mut at_once = Copies { begun: TRIES, ..Copies::default() };
        let wish = Wish::of_container(&new);
        let copy = other.mapped_copy(&held, &mut layers, "image", &template, &wish, &mut at_once);
        copy.unwrap().unwrap();
        drop(layers);
        assert_eq!(other.image("image").unwrap().mapped_layers.len(), 1);
    });
    let container = site.create().unwrap();
    assert!(done.get());
    site.copy_below(&container);
}

#[test]
fn layers_made_anew_meanwhile_are_copied_anew() {
    // ADD-4
    let Some(site) = Site::new() else { return };
    let renewed = site.meanwhile(|other| {
        other.delete_image("image", false).unwrap();
        fill(other, "second");
    });
    let again = site.meanwhile(|_| ());
    let container = site.create().unwrap();
    assert!(renewed.get() && again.get(), "a second copy");
    assert_eq!(site.file(&site.copy_below(&container)), (5000, "top second".to_owned()));
}

#[test]
fn content_applied_to_a_layer_meanwhile_is_copied_too() {
    let Some(site) = Site::new() else { return };
    let applied = site.meanwhile(|other| {
        other.apply_diff("top", &mut tar_of("applied").as_slice()).unwrap();
    });
    let again = site.meanwhile(|_| ());
    let container = site.create().unwrap();
    assert!(applied.get() && again.get(), "a second copy");
    assert_eq!(site.file(&site.copy_below(&container)), (5000, "applied".to_owned()));
}

#[test]
fn a_copy_that_is_outdated_again_and_again_is_made_under_the_lock() {
    let Some(site) = Site::new() else { return };
    let replaced: Vec<_> = (0..=TRIES)
        .map(|n| {
            let (low, aside) = (site.home("low"), site.dir.path().join(format!("aside{n}")));
            site.meanwhile(move |_| {
                std::fs::rename(&low, &aside).unwrap();
                let copied =
                    std::process::Command::new("cp").arg("-a").args([&aside, &low]).status();
                assert!(copied.unwrap().success());
            })
        })
        .collect();
    let container = site.create().unwrap();
    assert_eq!(replaced.iter().filter(|done| done.get()).count(), TRIES);
    assert_eq!(site.file(&site.copy_below(&container)), (5000, "top first".to_owned()));
}

#[test]
fn an_owner_that_is_not_mapped_ends_it_with_nothing_left() {
    let Some(site) = Site::new() else { return };
    // A layer that says of itself that it has maps, and a file that is not of them.
    let map = vec![IdMap { container_id: 0, host_id: 9000, size: 10 }];
    let new = NewLayer {
        id: Some("mapped".to_owned()),
        read_only: true,
        uid_map: map.clone(),
        gid_map: map,
        ..NewLayer::default()
    };
    site.store.import_layer(new, &mut tar_of("mapped").as_slice()).unwrap();
    let file = site.home("mapped/diff/file");
    std::os::unix::fs::chown(&file, Some(77), Some(77)).unwrap();
    let (id, layer) = (Some("odd".to_owned()), Some("mapped".to_owned()));
    site.store.create_image(NewImage { id, layer, ..NewImage::default() }).unwrap();
    let map = vec![IdMap { container_id: 0, host_id: 5000, size: 1000 }];
    let new = NewContainer {
        image: Some("odd".to_owned()),
        uid_map: map.clone(),
        gid_map: map,
        ..NewContainer::default()
    };
    let (once, twice) = (site.meanwhile(|_| ()), site.meanwhile(|_| ()));
    let error = site.store.create_container(new).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("77:77"), "{error}");
    assert_eq!(error.object_id(), Some("mapped"));
    assert!(once.get() && !twice.get(), "tried once, without the lock");
    MEANWHILE.take();
    assert!(site.store.image("odd").unwrap().mapped_layers.is_empty());
    site.nothing_beside();
}

/// A copy whose mount others have taken away.
struct Disturbed;

impl OwnerCopy for Disturbed {
    fn make(&mut self) -> Result<()> {
        Err(Error::new(ErrorKind::Busy, "copying"))
    }

    fn is_current(&self) -> bool {
        true
    }

    fn commit(&mut self, _: &LayerId) -> Result<()> {
        panic!("it was never made")
    }
}

#[test]
fn a_copy_whose_mount_was_taken_away_is_made_once_more() {
    // REM-6: as Go's shutdown does.
    let (of, maps) = (vec![Layer::default()], IdMaps::default());
    let copy =
        Copy { of: of.clone(), maps: maps.clone(), copy: Box::new(Disturbed), failure: None };
    let mut copies = Copies { begun: 1, last: Some(copy), outdated: None };
    copies.make();
    copies.check(&of, &maps).unwrap();
    assert!(copies.last.is_none());
}
