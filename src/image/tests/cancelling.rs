//! Whatever is called off on its way stops there and leaves nothing, and who comes next is not held up.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::beside::{docker, layer, temp_dirs};
use super::committing::changed;
use super::*;
use crate::Digest;
use crate::progress::{Progress, ProgressItem};

/// Is cancelled after so many bytes of all items together, or when it is said.
#[derive(Clone)]
struct Stop(Arc<State>);

struct State {
    after: u64,
    bytes: AtomicU64,
    now: AtomicBool,
}

impl Stop {
    fn after(after: u64) -> Self {
        Self(Arc::new(State { after, bytes: AtomicU64::new(0), now: AtomicBool::new(false) }))
    }

    fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::SeqCst)
    }
}

impl Progress for Stop {
    fn start(&self, _what: &str, _total: Option<u64>) -> Box<dyn ProgressItem> {
        Box::new(self.clone())
    }
}

impl ProgressItem for Stop {
    fn advance(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::SeqCst);
    }
    fn finish(&self, _note: &str) {}
    fn is_cancelled(&self) -> bool {
        self.0.now.load(Ordering::SeqCst) || self.bytes() >= self.0.after
    }
}

/// A writer that says stop when it has got so many bytes, and counts those that come all the same.
struct Say(Stop, u64, u64);

impl Write for Say {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.2 += if self.1 == 0 { bytes.len() as u64 } else { 0 };
        self.1 = self.1.saturating_sub(bytes.len() as u64);
        self.0.0.now.store(self.1 == 0, Ordering::SeqCst);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const LAYERS: u64 = 4;
const LAYER: u64 = 1 << 20;

/// No more than this is on its way when all threads look: a buffer for each layer at a time.
const IN_FLIGHT: u64 = 4 * (256 << 10);

/// An archive of an image whose layers do not get smaller.
fn archive() -> Vec<u8> {
    let mut state = 1u64;
    let mut random = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let layers: Vec<Vec<u8>> = (0..LAYERS)
        .map(|n| {
            let content: Vec<u8> = (0..LAYER / 8).flat_map(&mut random).collect();
            layer(&format!("f{n}"), &content, None)
        })
        .collect();
    docker(&[layers.iter().map(Vec::as_slice).collect()])
}

/// What a directory holds.
fn names(dir: &Path) -> BTreeSet<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn load_until(f: &Fixture, source: Source<'_>, stop: &Stop) -> Result<Vec<Loaded>> {
    let options = LoadOptions { temp_dir: Some(f.path("temp")), progress: stop, ..options() };
    load(&f.store(), source, &options)
}

/// Saves the archive's image in every format, and gives the archives and the directory.
fn sources(f: &Fixture) -> Vec<PathBuf> {
    let plain = f.file("image.tar", &archive());
    let other = Fixture::new();
    let store = other.store();
    let id = load_path(&store, &plain).unwrap().remove(0).image_id;
    let (oci, dir) = (f.path("oci.tar"), f.path("layout"));
    for (path, format) in [(&oci, SaveFormat::OciArchive), (&dir, SaveFormat::OciDir)] {
        let output = Output::Path(path.clone());
        save(&store, std::slice::from_ref(&id), format, output, &SaveOptions::default()).unwrap();
    }
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&std::fs::read(&plain).unwrap()).unwrap();
    let gz = f.file("image.tar.gz", &gz.finish().unwrap());
    vec![plain, gz, oci, dir]
}

#[test]
fn a_load_that_is_cancelled_leaves_nothing() {
    let files = Fixture::new();
    let paths = sources(&files);
    for driver in [Fixture::new().driver, "vfs"] {
        let f = Fixture::on(driver);
        std::fs::create_dir(f.path("temp")).unwrap();
        for path in &paths {
            for after in [0, 1, LAYER / 2, LAYER * LAYERS - LAYER / 4] {
                let stop = Stop::after(after);
                let e = load_until(&f, Source::Path(path.clone()), &stop).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Cancelled, "{driver} {path:?} {after}: {e}");
                assert!(stop.bytes() <= after + IN_FLIGHT, "{path:?} {after}: {}", stop.bytes());
                assert!(f.records("layers").is_empty() && f.records("images").is_empty());
                assert_eq!(temp_dirs(&f), 0, "{driver} {path:?} {after}");
                assert_eq!(names(&f.path("temp")), BTreeSet::new());
                assert_eq!(content(&f), 0, "{driver} {path:?} {after}");
            }
        }
        let bytes = std::fs::read(&paths[0]).unwrap();
        let stop = Stop::after(LAYER);
        let e = load_until(&f, Source::Stream(Box::new(&bytes[..])), &stop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled, "{e}");
        // Another handle is another process to the locks.
        assert_eq!(load_path(&f.store(), &paths[0]).unwrap().len(), 1);
        assert_eq!(f.records("layers").len() as u64, LAYERS);
    }
}

/// How many layers' directories the driver has.
fn content(f: &Fixture) -> usize {
    let home = f.path(&format!("graph/{}", f.driver));
    let home = if f.driver == "vfs" { home.join("dir") } else { home };
    names(&home).iter().filter(|path| path.file_name().unwrap().len() == 64).count()
}

#[test]
fn a_load_that_only_checks_what_is_there_can_be_cancelled() {
    let f = Fixture::new();
    std::fs::create_dir(f.path("temp")).unwrap();
    let path = f.file("image.tar", &archive());
    load_path(&f.store(), &path).unwrap();
    let store = f.store();
    let before = (f.records("layers"), f.records("images"));
    // What was made of a compressed blob is not known by the digest of that.
    let dir = f.path("layout");
    let id = before.1[0]["id"].as_str().unwrap().to_owned();
    let output = Output::Path(dir.clone());
    save(&store, &[id], SaveFormat::OciDir, output, &SaveOptions::default()).unwrap();
    let stop = Stop::after(LAYER + LAYER / 2);
    let e = load_until(&f, Source::Path(dir), &stop).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled, "{e}");
    assert!(stop.bytes() <= LAYER * 2, "{}", stop.bytes());
    assert_eq!((f.records("layers"), f.records("images")), before);
}

#[test]
fn who_waits_for_another_load_can_be_cancelled() {
    let f = Fixture::new();
    let content = layer("f", &[1; 100_000], None);
    let store = f.store();
    let digest = Digest::sha256(&content);
    let path = f.file("image.tar", &docker(&[vec![&content]]));
    let first = store.lock_digests(&BTreeSet::from([&digest]), &|| Ok(())).unwrap();
    let stop = Stop::after(u64::MAX);
    std::thread::scope(|s| {
        let load = s.spawn(|| load_until(&f, Source::Path(path.clone()), &stop));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!load.is_finished());
        let asked = Instant::now();
        stop.0.now.store(true, Ordering::SeqCst);
        assert_eq!(load.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    });
    drop(first);
    load_path(&store, &path).unwrap();
}

#[test]
fn a_save_that_is_cancelled_leaves_nothing() {
    let f = Fixture::new();
    let store = f.store();
    let id = load_path(&store, &f.file("image.tar", &archive())).unwrap().remove(0).image_id;
    let (out, temp) = (f.path("out"), f.path("temp"));
    std::fs::create_dir(&out).unwrap();
    std::fs::create_dir(&temp).unwrap();
    let formats = [SaveFormat::DockerArchive, SaveFormat::OciArchive, SaveFormat::OciDir];
    let save_until = |format, output: Output<'_>, stop: &Stop| {
        let options = SaveOptions { temp_dir: Some(temp.clone()), progress: stop };
        save(&store, std::slice::from_ref(&id), format, output, &options)
    };
    for format in formats {
        for after in [0, 1, LAYER / 2, LAYER * LAYERS - LAYER / 4] {
            let stop = Stop::after(after);
            let e = save_until(format, Output::Path(out.join("image")), &stop).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Cancelled, "{format:?} {after}: {e}");
            assert!(stop.bytes() <= after + IN_FLIGHT, "{format:?} {after}: {}", stop.bytes());
            assert_eq!(names(&out), BTreeSet::new(), "{format:?} {after}");
            assert_eq!(names(&temp), BTreeSet::new(), "{format:?} {after}");
        }
        // No lock is held: deleting takes them all.
        let path = out.join("image");
        save_until(format, Output::Path(path.clone()), &Stop::after(u64::MAX)).unwrap();
        if format == SaveFormat::OciDir {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    // A layer that is complete, and counted, is still to be written.
    for format in [SaveFormat::DockerArchive, SaveFormat::OciArchive] {
        let stop = Stop::after(u64::MAX);
        let mut out = Say(stop.clone(), 1000, 0);
        let e = save_until(format, Output::Writer(&mut out), &stop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled, "{format:?}: {e}");
        assert!(stop.bytes() < 2 * LAYER);
        assert!(out.2 <= 256 << 10, "{format:?}: {} bytes more were written", out.2);
    }
    f.store().delete(&id).unwrap();
}

#[test]
fn a_commit_that_is_cancelled_leaves_nothing() {
    let f = Fixture::new();
    let store = f.store();
    let container = changed(&store);
    let temp = f.path("temp");
    std::fs::create_dir(&temp).unwrap();
    let mut diff = Vec::new();
    let whole = store.diff(&container, None, None, &mut diff).unwrap();
    let before = (f.records("layers"), f.records("images"), content(&f));
    // The last one is cancelled when all has been read, before anything is stored.
    for after in [0, 1, whole] {
        let stop = Stop::after(after);
        let options = CommitOptions {
            temp_dir: Some(temp.clone()),
            progress: &stop,
            ..CommitOptions::default()
        };
        let e = commit(&store, &container, "mine", &options).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled, "{after}: {e}");
        assert_eq!((f.records("layers"), f.records("images"), content(&f)), before, "{after}");
        assert_eq!((temp_dirs(&f), names(&temp)), (0, BTreeSet::new()), "{after}");
    }
    commit(&f.store(), &container, "mine", &CommitOptions::default()).unwrap();
}
