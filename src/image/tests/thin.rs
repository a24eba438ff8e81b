//! Images made thin, with a publisher that unpacks what it is handed (`overlay-driver.md` 18).

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::beside::Recorder;
use super::committing::changed;
use super::*;
use crate::archive::{self, UnpackOptions, Whiteouts};
use crate::progress::ProgressItem;
use crate::store::{MountRequest, NewContainer};
use crate::thin::{LayerUpload, PackedLayer, Publication, Repository};
use crate::{Dialect, Digest, Error};

/// Unpacks layers below a folder that stands for `/cvmfs`, until it is told to fail.
struct Publisher {
    root: PathBuf,
    repository: Repository,
    sent: AtomicUsize,
    fails_at: usize,
}

impl Publisher {
    fn new(f: &Fixture) -> Self {
        let repository = Repository::new("r.example").unwrap();
        let root = f.path("cvmfs");
        std::fs::create_dir_all(root.join(repository.as_str())).unwrap();
        Self { root, repository, sent: AtomicUsize::new(0), fails_at: usize::MAX }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

impl LayerUpload for Publisher {
    fn repository(&self) -> &Repository {
        &self.repository
    }

    fn put(&self, layer: &PackedLayer, item: &dyn ProgressItem) -> Result<()> {
        if self.sent.fetch_add(1, Ordering::SeqCst) == self.fails_at {
            return Err(Error::new(ErrorKind::Io, "sending").detail("the server is away"));
        }
        let folder = self.root.join("r.example/layers").join(layer.digest().hex());
        std::fs::create_dir_all(&folder).unwrap();
        let root = File::open(folder).unwrap();
        let how = UnpackOptions {
            whiteouts: Whiteouts::Overlay("trusted.overlay."),
            ..UnpackOptions::default()
        };
        let mut tar = flate2::read::GzDecoder::new(layer.content(item));
        let mut bytes = Vec::new();
        tar.read_to_end(&mut bytes).unwrap();
        archive::unpack(&mut bytes.as_slice(), root.as_fd(), &how).map(drop)
    }

    fn status(&self, digest: &Digest) -> Result<Publication> {
        let layer = self.root.join("r.example/layers").join(digest.hex());
        Ok(if layer.exists() { Publication::Done } else { Publication::Unknown })
    }
}

fn thin_store(f: &Fixture) -> Store {
    Store::open(StoreOptions {
        graph_root: f.path("graph"),
        run_root: f.path("run"),
        dialect: Some(Dialect::Cvmfs),
        driver_options: vec![
            "cvmfsMountMethod=external".to_owned(),
            format!("cvmfsRoot={}", f.path("cvmfs").display()),
        ],
        ..StoreOptions::default()
    })
    .unwrap()
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: mounting thin images: needs root");
    }
    root
}

/// The files of a container made of that image: names and content.
fn shown(store: &Store, image: &str) -> Vec<(String, Vec<u8>)> {
    let image = Some(image.to_owned());
    let container =
        store.create_container(NewContainer { image, ..NewContainer::default() }).unwrap();
    let root = store.mount(&container.id, &MountRequest::default()).unwrap();
    let mut files = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            match path.symlink_metadata().unwrap() {
                m if m.is_dir() => dirs.push(path),
                m if m.is_file() => files.push((name, std::fs::read(path).unwrap())),
                _ => files.push((name, Vec::new())),
            }
        }
    }
    store.unmount(&container.id, false).unwrap();
    store.delete_container(&container.id).unwrap();
    files.sort();
    files
}

fn thin(store: &Store, image: &str, upload: &Publisher, name: &str) -> Result<Loaded> {
    let options = ThinOptions { name: Some(name.to_owned()), ..ThinOptions::default() };
    make_thin(store, image, upload, &options)
}

#[test]
fn a_thin_image_shows_what_the_image_showed() {
    // CVM-15, CVM-20, CVM-23, ADD-11; 18.3: the newest layer is on top, deletions are deletions
    if !is_root() {
        return;
    }
    let f = Fixture::new();
    let (publisher, store) = (Publisher::new(&f), thin_store(&f));
    let container = changed(&store);
    let id = commit(&store, &container, "whole", &CommitOptions::default()).unwrap();
    let made = thin(&store, "whole", &publisher, "thin").unwrap();
    assert_eq!(made.names, ["localhost/thin:latest"]);
    assert_eq!(publisher.sent(), 3);
    let whole = shown(&store, &id);
    assert!(whole.iter().any(|(name, _)| name == "etc/new"));
    assert_eq!(shown(&store, &made.image_id), whole);
    let config = |id: &str| -> Value {
        let text = store.image_big_data(id, &format!("sha256:{id}")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    assert_eq!(config(&made.image_id)["config"], config(&id)["config"]);
    assert_eq!(config(&made.image_id)["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);

    // A container on it is changed, committed and made thin again: one more layer is sent.
    let image = Some(made.image_id.clone());
    let container =
        store.create_container(NewContainer { image, ..NewContainer::default() }).unwrap();
    let root = store.mount(&container.id, &MountRequest::default()).unwrap();
    std::fs::write(root.join("etc/new"), b"newer\n").unwrap();
    store.unmount(&container.id, false).unwrap();
    let next = commit(&store, &container.id, "next", &CommitOptions::default()).unwrap();
    store.delete_container(&container.id).unwrap();
    let again = thin(&store, "next", &publisher, "thinner").unwrap();
    assert_eq!(publisher.sent(), 4);
    let files = shown(&store, &again.image_id);
    assert!(files.contains(&("etc/new".to_owned(), b"newer\n".to_vec())));
    assert_eq!(shown(&store, &next), files);

    // It goes out as an archive, and comes in elsewhere.
    let out = f.path("thin.tar");
    let images = ["localhost/thinner:latest".to_owned()];
    let path = Output::Path(out.clone());
    save(&store, &images, SaveFormat::OciArchive, path, &SaveOptions::default()).unwrap();
    for name in ["thinner", "thin", "next"] {
        let id = store.image(&format!("localhost/{name}:latest")).unwrap().id.clone();
        store.delete_image(&id, false).unwrap();
    }
    let loaded = load_path(&store, &out).unwrap().remove(0);
    assert_eq!(shown(&store, &loaded.image_id), files);
}

#[test]
fn a_layer_that_was_published_before_is_done_as_well() {
    // CVM-21: an attempt goes on from a former one
    if !is_root() {
        return;
    }
    let f = Fixture::new();
    let (publisher, store) = (Publisher::new(&f), thin_store(&f));
    let id = load_bytes(&store, DOCKER).unwrap().remove(0).image_id;
    let layers = store.layers().unwrap().len();
    for sent in [layers, 0] {
        let before = publisher.sent();
        let seen = Recorder::default();
        let options = ThinOptions { progress: &seen, ..ThinOptions::default() };
        make_thin(&store, &id, &publisher, &options).unwrap();
        assert_eq!(publisher.sent() - before, sent);
        assert_eq!((seen.noted("packed"), seen.noted("published")), (layers, layers));
        let items = seen.0.lock().unwrap().clone();
        assert!(items.iter().all(|item| Some(item.bytes) == item.total), "{items:?}");
    }
}

#[test]
fn what_fails_leaves_the_store_as_it_was() {
    // 18.3
    if !is_root() {
        return;
    }
    let f = Fixture::new();
    let (mut publisher, store) = (Publisher::new(&f), thin_store(&f));
    let id = load_bytes(&store, DOCKER).unwrap().remove(0).image_id;
    let before = (f.records("images"), f.records("layers"));
    publisher.fails_at = 1;
    let e = thin(&store, &id, &publisher, "thin").unwrap_err();
    assert!(e.to_string().contains("the server is away"), "{e}");
    assert_eq!((f.records("images"), f.records("layers")), before);
    let sent = publisher.sent();
    assert!(thin(&store, &id, &publisher, "no good name").is_err());
    assert_eq!(publisher.sent(), sent, "before anything is sent");
    assert_eq!((f.records("images"), f.records("layers")), before);
    // The next attempt goes on with the layer that failed.
    publisher.fails_at = usize::MAX;
    let layers = std::fs::read_dir(f.path("cvmfs/r.example/layers")).unwrap().count();
    let of_image = store.layers().unwrap().len();
    assert!(layers == 1 && of_image > 1, "{layers} of {of_image}");
    let made = thin(&store, &id, &publisher, "thin").unwrap();
    assert_eq!(publisher.sent(), sent + of_image - layers, "no layer twice");
    assert_eq!(shown(&store, &made.image_id), shown(&store, &id));
    // Nor is one made where nobody would know it for what it is.
    let other = Fixture::on("vfs");
    let store = other.store();
    let id = load_bytes(&store, DOCKER).unwrap().remove(0).image_id;
    let e = thin(&store, &id, &publisher, "thin").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
}
