//! What docker and the store share when a move ends, and what docker would lose with it.

use std::os::unix::fs::MetadataExt;
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
