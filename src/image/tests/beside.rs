//! Layers beside each other: unpacked at the same time, and wanted by several loads at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Barrier, Mutex};

use super::*;
use crate::progress::{Progress, ProgressItem};
use crate::store::NewLayer;

/// A tar of one file and, if asked for, of an entry for the root with that mode and owner.
pub(super) fn layer(name: &str, content: &[u8], root: Option<(u32, u64)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    if let Some((mode, owner)) = root {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        builder.append_data(&mut header, "./", std::io::empty()).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

/// Makes a tar of one file one that is malformed only behind that.
fn spoil_end(mut tar: Vec<u8>) -> Vec<u8> {
    let end = tar.len() - 1024;
    tar[end..].fill(b'x');
    tar
}

/// A docker archive of images, each from its layers, all of which are plain.
pub(super) fn docker(images: &[Vec<&[u8]>]) -> Vec<u8> {
    let mut members = BTreeMap::new();
    let mut items = Vec::new();
    for layers in images {
        let diffs: Vec<crate::Digest> = layers.iter().map(|l| crate::Digest::sha256(l)).collect();
        let config = serde_json::json!({"rootfs": {"type": "layers",
            "diff_ids": diffs.iter().map(|d| d.as_str()).collect::<Vec<_>>()}});
        let config = config.to_string().into_bytes();
        let name = crate::Digest::sha256(&config).hex().to_string();
        items.push(serde_json::json!({"Config": name,
            "Layers": diffs.iter().map(|d| d.hex()).collect::<Vec<_>>()}));
        members.insert(name, config);
        for (diff, layer) in diffs.iter().zip(layers) {
            members.insert(diff.hex().to_string(), layer.to_vec());
        }
    }
    members.insert("manifest.json".into(), Value::from(items).to_string().into_bytes());
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, data.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Remembers of each item its name, total, bytes and note.
#[derive(Clone, Default)]
pub(super) struct Recorder(pub(super) Arc<Mutex<Vec<Seen>>>);

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    what: String,
    pub(super) total: Option<u64>,
    pub(super) bytes: u64,
    pub(super) note: String,
}

struct Item(Recorder, usize);

impl Progress for Recorder {
    fn start(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressItem> {
        let mut seen = self.0.lock().unwrap();
        seen.push(Seen { what: what.to_owned(), total, ..Seen::default() });
        Box::new(Item(self.clone(), seen.len() - 1))
    }
}

impl ProgressItem for Item {
    fn advance(&self, bytes: u64) {
        self.0.0.lock().unwrap()[self.1].bytes += bytes;
    }
    fn finish(&self, note: &str) {
        self.0.0.lock().unwrap()[self.1].note = note.to_owned();
    }
}

impl Recorder {
    pub(super) fn noted(&self, note: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|item| item.note == note).count()
    }
}

fn load_watched(store: &Store, path: &Path, progress: &Recorder) -> Result<Vec<Loaded>> {
    load(store, Source::Path(path.to_path_buf()), &LoadOptions { progress, ..options() })
}

pub(super) fn temp_dirs(f: &Fixture) -> usize {
    [format!("graph/{}/tempdirs", f.driver), format!("graph/{}-layers/tmp", f.driver)]
        .iter()
        .flat_map(|dir| std::fs::read_dir(f.path(dir)).into_iter().flatten().flatten())
        .count()
}

/// The layers are done in whatever order, but what is told of failures depends on the archive alone.
#[test]
fn the_first_bad_layer_is_what_is_reported() {
    for driver in [Fixture::new().driver, "vfs"] {
        let f = Fixture::on(driver);
        let store = f.store();
        let mut layers: Vec<Vec<u8>> =
            (0..12u8).map(|n| layer(&format!("f{n}"), &vec![n; 300_000], None)).collect();
        // The first bad one shows only at its end, those after it at once.
        layers[4] = spoil_end(layer("large", &vec![1; 16 << 20], None));
        layers[5][..512].fill(b'x');
        layers[9][..512].fill(b'x');
        let archive = f.file("bad.tar", &docker(&[layers.iter().map(Vec::as_slice).collect()]));
        for _ in 0..5 {
            // The content is as the config says, so that it is the tar that is found to be bad.
            let e = load_path(&store, &archive).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidArchive, "{e}");
            assert!(e.to_string().contains("layer 5 of 12"), "{driver}: {e}");
            assert!(f.records("layers").is_empty() && f.records("images").is_empty());
            assert_eq!(temp_dirs(&f), 0, "{driver}");
        }
    }
}

/// CRE-8, CRE-10: where the archive has no entry for the root, its mode and owner are those of the parent, which may be staged
/// later than the child.
#[test]
fn roots_are_their_parents_unless_the_archive_says_otherwise() {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: owners can be set by root only");
    }
    // A large parent is complete long after its children.
    let large = layer("large", &vec![1; 8 << 20], Some((0o711, 7)));
    let (plain, own) = (layer("a", b"a", None), layer("b", b"b", Some((0o555, 0))));
    let last = layer("c", b"c", None);
    for driver in ["overlay", "vfs"] {
        let f = Fixture::on(driver);
        let store = f.store();
        let archive = docker(&[vec![&plain, &large, &plain, &own, &last]]);
        load_bytes(&store, &archive).unwrap();
        let roots: Vec<(u32, u32)> = f
            .records("layers")
            .iter()
            .map(|l| {
                let id = l["id"].as_str().unwrap();
                let dir = match driver {
                    "vfs" => f.path(&format!("graph/vfs/dir/{id}")),
                    _ => f.path(&format!("graph/overlay/{id}/diff")),
                };
                let about = dir.metadata().unwrap();
                (about.mode() & 0o7777, about.uid())
            })
            .collect();
        let wanted = [(0o555, 0), (0o711, 7), (0o711, 7), (0o555, 0), (0o555, 0)];
        assert_eq!(roots, wanted, "{driver}");
    }
}

#[test]
fn each_layer_has_one_item_of_progress() {
    let f = Fixture::new();
    let store = f.store();
    let layers: Vec<Vec<u8>> =
        (0..8u8).map(|n| layer(&format!("f{n}"), &vec![n; 100_000], None)).collect();
    let all: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    // The second image begins as the first one, and has a layer of it upon another parent.
    let archive = f.file("two.tar", &docker(&[all.clone(), vec![all[0], all[1], all[7], all[0]]]));
    let seen = Recorder::default();
    load_watched(&store, &archive, &seen).unwrap();
    let items = seen.0.lock().unwrap().clone();
    assert_eq!(items.len(), 12);
    assert_eq!((seen.noted("already exists"), seen.noted("done")), (2, 10));
    for item in items.iter().filter(|i| i.note == "done") {
        assert_eq!(Some(item.bytes), item.total, "{item:?}");
    }
    assert_eq!(f.records("layers").len(), 10, "8 and the two that lie upon other parents");
}

/// A layer that is there, from a blob that nobody knows: it is read, but not unpacked.
#[test]
fn a_layer_that_is_only_read_has_one_item_too() {
    let f = Fixture::new();
    let store = f.store();
    let (first, second) = (layer("f", &[1; 100_000], None), layer("g", &[2; 100_000], None));
    let gzip = |tar: &[u8], level| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        std::io::Write::write_all(&mut out, tar).unwrap();
        out.finish().unwrap()
    };
    let dir = |name: &str, level: u32| {
        let (dir, put) = refusing::layout(&f, name);
        let diffs = [&first, &second].map(|l| crate::Digest::sha256(l).to_string());
        let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diffs}});
        let config = put(model::OCI_CONFIG, config.to_string().as_bytes());
        let layers = [&first, &second].map(|l| put(model::OCI_LAYER_GZIP, &gzip(l, level)));
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
        let entry = put(model::OCI_MANIFEST, manifest.to_string().as_bytes());
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
        std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
        dir
    };
    load_path(&store, &dir("fast", 1)).unwrap();
    let seen = Recorder::default();
    load_watched(&store, &dir("best", 9), &seen).unwrap();
    assert_eq!(seen.noted("already exists"), 2);
    let items = seen.0.lock().unwrap().clone();
    assert_eq!(items.len(), 2);
    assert!(items.iter().all(|item| Some(item.bytes) == item.total), "{items:?}");
}

/// One load after the other could do no better: no layer is unpacked twice, and nobody waits for ever.
#[test]
fn many_loads_at_once_unpack_each_layer_once() {
    const LOADS: usize = 24;
    let f = Fixture::new();
    let layers: Vec<Vec<u8>> =
        (0..6u8).map(|n| layer(&format!("f{n}"), &vec![n; 50_000], None)).collect();
    // Images of layers in all orders, each archive with some of them in an order of its own.
    let shuffled = |seed: usize| -> Vec<&[u8]> {
        let mut order: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        order.rotate_left(seed % 6);
        order.swap(seed % 3, 3 + seed % 2);
        order.truncate(3 + seed % 3);
        order
    };
    let images: Vec<Vec<&[u8]>> = (0..8).map(shuffled).collect();
    let mut chains = BTreeSet::new();
    for image in &images {
        for end in 1..=image.len() {
            chains.insert(image[..end].to_vec());
        }
    }
    let archives: Vec<PathBuf> = (0..LOADS)
        .map(|n| {
            let mut some: Vec<Vec<&[u8]>> = images.clone();
            some.rotate_left(n % 8);
            if n % 2 == 0 {
                some.reverse();
            }
            some.truncate(1 + n % 4);
            f.file(&format!("{n}.tar"), &docker(&some))
        })
        .collect();
    let wanted = chains.len();
    let (start, seen) = (Barrier::new(LOADS), Recorder::default());
    std::thread::scope(|s| {
        let loads: Vec<_> = archives
            .iter()
            .map(|archive| {
                let (f, start, seen) = (&f, &start, seen.clone());
                s.spawn(move || {
                    // A store of its own, as another process would have: they know nothing of each other.
                    let store = f.store();
                    start.wait();
                    load_watched(&store, archive, &seen).unwrap();
                })
            })
            .collect();
        loads.into_iter().for_each(|load| load.join().unwrap());
    });
    assert_eq!(f.records("layers").len(), wanted);
    assert_eq!(seen.noted("done"), wanted, "some layers were unpacked more than once");
    assert_eq!(temp_dirs(&f), 0);
}

/// Does something as soon as the first item is begun.
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Progress for Meanwhile {
    fn start(&self, _what: &str, _total: Option<u64>) -> Box<dyn ProgressItem> {
        if let Some(work) = self.0.lock().unwrap().take() {
            work();
        }
        Box::new(crate::progress::Silent)
    }
}

/// By a program that takes none of orlop's locks, and calls a layer what it likes.
#[test]
fn a_layer_that_comes_meanwhile_must_be_the_one_that_was_asked_for() {
    let f = Fixture::new();
    let store = f.store();
    let (base, top) = (layer("f", b"f", None), layer("g", b"g", None));
    let archive = f.file("image.tar", &docker(&[vec![&base, &top]]));
    let [low, high] = {
        let [base, top] = [&base, &top].map(|tar| crate::Digest::sha256(tar));
        let low = layer_id(None, &base);
        [low.clone(), layer_id(Some(&low), &top)]
    };
    let (low, high, base, top) = (low.as_str(), high.as_str(), &base[..], &top[..]);
    type Layers<'a> = &'a [(&'a str, Option<&'a str>, &'a [u8])];
    let cases: [(Layers<'_>, Option<&str>); 3] = [
        (&[(low, None, top)], Some("its content is sha256:")),
        (&[("odd", None, base), (high, Some("odd"), top)], Some("it lies on \"odd\", not on")),
        (&[(low, None, base), (high, Some(low), top)], None),
    ];
    for (layers, refused) in cases {
        let others: Vec<_> = layers
            .iter()
            .map(|&(id, parent, tar)| {
                let (id, parent) = (Some(id.to_owned()), parent.map(str::to_owned));
                let new = NewLayer { id, parent, read_only: true, ..NewLayer::default() };
                (new, tar.to_vec())
            })
            .collect();
        let beside = f.store();
        let progress = Meanwhile(Mutex::new(Some(Box::new(move || {
            for (new, tar) in others {
                beside.import_layer(new, &mut &tar[..]).unwrap();
            }
        }))));
        let options = LoadOptions { progress: &progress, ..options() };
        let loaded = load(&store, Source::Path(archive.clone()), &options);
        let Some(why) = refused else {
            assert_eq!((loaded.unwrap().len(), f.records("layers").len()), (1, 2));
            continue;
        };
        // Nor is one that was there before.
        for e in [loaded.unwrap_err(), load_path(&store, &archive).unwrap_err()] {
            assert_eq!(e.kind(), ErrorKind::DigestMismatch, "{e}");
            assert!(e.to_string().contains(why), "{e}");
        }
        let mut ids: Vec<_> = layers.iter().map(|(id, ..)| *id).collect();
        let left = f.records("layers");
        let mut left: Vec<_> = left.iter().map(|layer| layer["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        left.sort_unstable();
        assert_eq!((left, f.records("images").len()), (ids, 0), "what this call made is gone");
        for (id, ..) in layers.iter().rev() {
            store.delete_layer(id).unwrap();
        }
    }
}

/// Who waits does not depend on the luck of whom it waits for.
#[test]
fn who_waits_goes_on_alone_when_the_first_fails() {
    let f = Fixture::new();
    let (good, top) = (layer("f", &[1; 100_000], None), layer("g", b"g", None));
    let store = f.store();
    let digest = crate::Digest::sha256(&good);
    let first = store.lock_digests(&BTreeSet::from([&digest]), &|| Ok(())).unwrap();
    let archive = f.file("image.tar", &docker(&[vec![&good, &top]]));
    let seen = Recorder::default();
    std::thread::scope(|s| {
        let load = s.spawn(|| load_watched(&f.store(), &archive, &seen));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!load.is_finished());
        assert_eq!(temp_dirs(&f), 0, "nothing is unpacked before it is known to be needed");
        drop(first);
        load.join().unwrap().unwrap();
    });
    assert_eq!(seen.noted("done"), 2);
    // A damaged source is refused without waiting for anybody.
    let _first = store.lock_digests(&BTreeSet::from([&digest]), &|| Ok(())).unwrap();
    let e = load_bytes(&store, &gunzip(DOCKER)[..600]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidArchive);
}

#[test]
fn images_that_cannot_be_read_are_noticed_before_layers_are_made() {
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, OCI).unwrap();
    let before = f.records("layers");
    let images = f.path(&format!("graph/{0}-images/images.json", f.driver));
    std::fs::write(&images, b"[{").unwrap();
    let seen = Recorder::default();
    let docker = f.file("docker.tar", &gunzip(DOCKER));
    let e = load_watched(&f.store(), &docker, &seen).unwrap_err();
    assert!(e.to_string().contains("images.json"), "{e}");
    assert_eq!(f.records("layers"), before);
    assert_eq!(*seen.0.lock().unwrap(), [], "a layer was begun");
    assert_eq!(std::fs::read(&images).unwrap(), b"[{");
}

/// store-format.md 10.3; and nothing is synced for the sake of it.
#[test]
fn a_load_that_finds_all_layers_recovers_stale_temp_dirs() {
    let f = Fixture::new();
    let store = f.store();
    load_bytes(&store, DOCKER).unwrap();
    for root in [format!("graph/{}/tempdirs", f.driver), format!("graph/{}-layers/tmp", f.driver)] {
        std::fs::create_dir_all(f.path(&format!("{root}/temp-dir-7/0-addition/x"))).unwrap();
        std::fs::write(f.path(&format!("{root}/lock-7")), b"").unwrap();
    }
    let syncs = crate::store::SYNCS.with(std::cell::Cell::get);
    load_bytes(&store, DOCKER).unwrap();
    assert_eq!(temp_dirs(&f), 0);
    assert_eq!(crate::store::SYNCS.with(std::cell::Cell::get), syncs);
}
