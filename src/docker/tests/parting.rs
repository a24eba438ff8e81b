//! What docker and the store share when a move ends, and what docker would lose with it.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::progress::{Progress, ProgressItem, Silent};
use crate::store::NewLayer;

/// Does something as soon as the first item is begun.
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Meanwhile {
    fn new(work: impl FnOnce() + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(work))))
    }
}

impl Progress for Meanwhile {
    fn start(&self, _what: &str, _total: Option<u64>) -> Box<dyn ProgressItem> {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work();
        }
        Box::new(Silent)
    }
}

fn links(path: &Path) -> u64 {
    path.metadata().unwrap().nlink()
}

/// An image of two layers that a container keeps with docker, and that the store has, too; a file of each layer, linked as a killed move
/// leaves them, and the layers' chain ids.
fn linked_and_staying(f: &Fixture) -> (Vec<PathBuf>, Vec<Digest>) {
    let id = f.image(&["stays:1"], &[base(), middle()], None);
    f.container("box", &id);
    assert!(take(f, &["stays:1"], MigrateOptions::default()).unwrap().is_whole());
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let files = vec![f.diff(&chain[0]).join("etc/a"), f.diff(&chain[1]).join("srv/new")];
    for (at, file) in files.iter().enumerate() {
        std::fs::hard_link(file, f.at(&format!("linked-{at}"))).unwrap();
    }
    (files, chain)
}

#[test]
fn the_image_of_a_container_shares_nothing_when_only_the_container_was_asked_for() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let (files, _) = linked_and_staying(&f);
    f.image(&["other:1"], &[top("other")], None);
    let report = take(&f, &["other:1"], MigrateOptions { containers: true, ..moving() }).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert_eq!(report.images.len(), 3, "the base and the container came, too: {report:?}");
    for file in &files {
        assert_eq!(links(file), 1, "{file:?} is docker's own");
    }
}

#[test]
fn a_layer_that_cannot_be_separated_is_told_and_keeps_no_other_from_it() {
    if !needs_root() {
        return;
    }
    for (damaged, why) in [(true, "its size is"), (false, "its record is gone")] {
        let f = Fixture::new();
        let (files, chain) = linked_and_staying(&f);
        f.image(&["other:1"], &[top("other")], None);
        assert!(take(&f, &["other:1"], MigrateOptions::default()).unwrap().is_whole());
        // After the images have been gone through, while the layer of the other one is compared.
        let (record, away) = (f.record(&chain[1]), f.at("away"));
        let size = std::fs::read(record.join("size")).unwrap();
        let (at, to) = (record.clone(), away.clone());
        let progress = Meanwhile::new(move || match damaged {
            true => std::fs::write(at.join("size"), "-1").unwrap(),
            false => std::fs::rename(at, to).unwrap(),
        });
        let options = MigrateOptions { progress: &progress, ..moving() };
        let report = take(&f, &["stays:1", "other:1"], options).unwrap();
        let said = report.unfinished.clone().unwrap_or_default();
        assert!(said.contains(chain[1].as_str()) && said.contains(why), "{report:?}");
        assert!(!report.is_whole() && !report.images[1].moved, "{report:?}");
        assert_eq!((links(&files[0]), links(&files[1])), (1, 2), "{why}");
        match damaged {
            true => std::fs::write(record.join("size"), size).unwrap(),
            false => std::fs::rename(away, record).unwrap(),
        }
        let report = take(&f, &["stays:1", "other:1"], moving()).unwrap();
        assert!(report.is_whole() && report.images[1].moved, "{report:?}");
        assert_eq!((links(&files[0]), links(&files[1])), (1, 1), "{why}");
    }
}

#[test]
fn a_layer_that_comes_into_the_store_meanwhile_is_compared() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    let planned = take(&f, &[], MigrateOptions { dry_run: true, ..moving() }).unwrap();
    let (layer, options) = (planned.images[0].layers[0].id.clone(), f.store_options("overlay"));
    // By a program that takes none of orlop's locks, and of another content.
    let progress = Meanwhile::new(move || {
        let new = NewLayer { id: Some(layer), read_only: true, ..NewLayer::default() };
        Store::open(options).unwrap().import_layer(new, &mut &top("other")[..]).unwrap();
    });
    let options = MigrateOptions { progress: &progress, ..moving() };
    let report = take(&f, &[], options).unwrap();
    let image = &report.images[0];
    assert!(image.error.is_none() && !image.moved, "{report:?}");
    assert_eq!(image.layers[0].outcome, Outcome::Present, "{report:?}");
    assert!(image.kept.as_ref().is_some_and(|why| why.contains("comparing")), "{report:?}");
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let file = f.diff(&chain[0]).join("etc/a");
    assert_eq!((std::fs::read(&file).unwrap(), links(&file)), (b"base".to_vec(), 1));
}

/// Calls the operation off with its second item.
#[derive(Default)]
struct CalledOff(AtomicUsize);

struct Item(bool);

impl Progress for CalledOff {
    fn start(&self, _what: &str, _total: Option<u64>) -> Box<dyn ProgressItem> {
        Box::new(Item(self.0.fetch_add(1, Ordering::SeqCst) > 0))
    }
}

impl ProgressItem for Item {
    fn advance(&self, _bytes: u64) {}
    fn finish(&self, _note: &str) {}
    fn is_cancelled(&self) -> bool {
        self.0
    }
}

#[test]
fn what_is_called_off_leaves_docker_all_of_its_own() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let files: Vec<PathBuf> = [("a:1", "a"), ("b:1", "b")]
        .map(|(name, text)| {
            let id = f.image(&[name], &[top(text)], None);
            let chain = f.docker().image(&id).unwrap().chain_ids();
            f.diff(&chain[0]).join("top/file")
        })
        .into();
    let progress = CalledOff::default();
    let e = take(&f, &[], MigrateOptions { progress: &progress, ..moving() }).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled, "{e}");
    assert_eq!((f.docker().images().unwrap().len(), f.docker().layers().unwrap().len()), (2, 2));
    // The first image had come over by then, its files linked.
    assert_eq!((f.store().images().unwrap().len(), f.store().layers().unwrap().len()), (1, 1));
    for file in &files {
        assert_eq!(links(file), 1, "{file:?} is docker's own");
    }
    assert!(!f.at("image/overlay2/orlop-moved.json").exists());
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && report.images.iter().all(|image| image.moved), "{report:?}");
}

#[test]
fn a_step_that_was_asked_for_and_failed_stays() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let below = f.image(&[], &[top("below")], None);
    let step = f.image(&[], &[top("step")], Some(&below));
    let app = f.image(&["app:1"], &[base()], Some(&step));
    let chain = f.docker().image(&step).unwrap().chain_ids();
    let file = f.diff(&chain[0]).join("top/file");
    std::fs::write(&file, "STEP").unwrap();
    let report = take(&f, &[step.hex(), "app:1"], moving()).unwrap();
    assert!(report.images[0].error.is_some() && !report.images[0].moved, "{report:?}");
    assert!(report.images[1].error.is_none() && report.images[1].moved, "{report:?}");
    assert!(f.config(&step).exists() && file.exists(), "it is nowhere else");
    assert!(f.config(&below).exists(), "the step is built upon it");
    assert!(!f.config(&app).exists());
    // Who does not ask for it lets it go with what was built upon it, as docker does.
    f.image(&["app:1"], &[base()], Some(&step));
    assert!(take(&f, &["app:1"], moving()).unwrap().images[0].moved);
    assert!(f.docker().images().unwrap().is_empty());
}

/// A mount, until this value goes.
struct Mounted(PathBuf);

impl Mounted {
    fn new(source: &Path, at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        rustix::mount::mount_bind(source, &at).unwrap();
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = crate::sys::mount::detach(&self.0);
    }
}

#[test]
fn nothing_is_replaced_below_a_container_that_runs_on() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let (files, _) = linked_and_staying(&f);
    f.image(&["one:1"], &[top("one")], None);
    f.image(&["two:1"], &[top("two")], None);
    // As with live-restore, or after a daemon that was killed.
    let container = f.docker().containers().unwrap().remove(0);
    let merged = f.at("overlay2").canonicalize().unwrap().join(&container.mount_id).join("merged");
    let mounted = Mounted::new(&f.at("volumes"), merged.clone());
    // What has files of its own may go meanwhile.
    assert!(take(&f, &["one:1"], moving()).unwrap().images[0].moved);
    let identity = || files.iter().map(|f| f.metadata().unwrap().ino()).collect::<Vec<_>>();
    let before = identity();
    let report = take(&f, &["stays:1", "two:1"], moving()).unwrap();
    let said = report.unfinished.clone().unwrap_or_default();
    for part in [format!("umount {}", merged.display()), "giving docker a copy".to_owned()] {
        assert!(said.contains(&part), "{part}: {report:?}");
    }
    assert!(!report.is_whole() && !report.images[1].moved, "{report:?}");
    assert_eq!((identity(), links(&files[0]), links(&files[1])), (before, 2, 2));
    drop(mounted);
    let report = take(&f, &["stays:1", "two:1"], moving()).unwrap();
    assert!(report.is_whole() && report.images[1].moved, "{report:?}");
    assert_eq!((links(&files[0]), links(&files[1])), (1, 1));
}
