//! Calling off: another thread ends a call within a buffer, even one that waits for a pipe, and nothing is left of it.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::{Duration, Instant};

use orlop_capi::*;
use serde_json::Value;

use crate::fixtures::{Fixture, docker, drivers, file, header, tar};
use crate::support::{Outcome, Strings, c};

/// A token and a progress.
struct Watch {
    cancel: *mut orlop_cancel,
    progress: *mut orlop_progress,
}

// SAFETY: both are made for any number of threads.
unsafe impl Sync for Watch {}

impl Watch {
    fn new() -> Self {
        let (mut cancel, mut progress) = (std::ptr::null_mut(), std::ptr::null_mut());
        call!(orlop_cancel_new(&mut cancel)).unwrap();
        call!(orlop_progress_new(&mut progress)).unwrap();
        Self { cancel, progress }
    }

    fn operation(&self) -> orlop_operation {
        options!(orlop_operation { cancel: self.cancel, progress: self.progress })
    }

    fn items(&self) -> Value {
        json!(orlop_progress_items(self.progress)).unwrap()
    }

    fn state(&self) -> orlop_progress_state {
        let mut state = options!(orlop_progress_state {});
        call!(orlop_progress_read(self.progress, &mut state)).unwrap();
        state
    }

    /// Waits until something has passed, and calls off; when that was.
    fn cancel_on_the_way(&self) -> Instant {
        let begun = Instant::now();
        while self.state().bytes_done == 0 && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: not freed yet.
        unsafe { orlop_cancel_now(self.cancel) };
        Instant::now()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and used no more.
        unsafe {
            orlop_cancel_free(self.cancel);
            orlop_progress_free(self.progress);
        }
    }
}

/// Runs a call, and calls it off once it is on its way: it must end soon.
fn called_off<T: std::fmt::Debug>(watch: &Watch, call: impl FnOnce() -> Outcome<T>) {
    thread::scope(|scope| {
        let canceller = scope.spawn(|| watch.cancel_on_the_way());
        let failure = call().unwrap_err();
        let ended = Instant::now();
        assert_eq!(failure.name(), "ORLOP_ERR_CANCELLED", "{}", failure.message);
        let late = ended.saturating_duration_since(canceller.join().unwrap());
        // A buffer takes milliseconds; an unoptimised build on a busy machine, and cleaning up, some more.
        assert!(late < Duration::from_secs(5), "{late:?}");
    });
}

/// Bytes that do not get smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| random()).collect()
}

/// A pipe that gives the beginning of something and then nothing more; the writer must live.
fn stuck(beginning: &[u8]) -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(beginning).unwrap();
    (reader, writer)
}

#[test]
fn an_import_that_waits_for_a_pipe() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.import("base", "", &[("f", b"x")]).unwrap();
        let before = f.listing();
        let beginning = [header("large", 1 << 30).as_slice(), &noise(1 << 15)].concat();
        let (reader, _writer) = stuck(&beginning);
        let watch = Watch::new();
        let (operation, fd) = (watch.operation(), reader.as_raw_fd());
        let new = options!(orlop_new_layer { id: c"new".as_ptr(), parent: c"base".as_ptr() });
        called_off(&watch, || text!(orlop_import_layer(f.store, &new, fd, &operation)));
        assert_eq!(f.listing(), before);
        let items = watch.items();
        assert_eq!((&items[0]["what"], &items[0]["note"]), (&"layer new".into(), &"".into()));
        // A token that was used stays used, and whoever comes next is not held up.
        let again = text!(orlop_import_layer(f.store, &new, fd, &operation)).unwrap_err();
        assert_eq!(again.name(), "ORLOP_ERR_CANCELLED");
        f.import("new", "base", &[("g", b"y")]).unwrap();
    }
}

#[test]
fn an_import_at_full_speed() {
    let f = Fixture::new();
    f.import("base", "", &[("f", b"x")]).unwrap();
    let before = f.listing();
    let stream = file(&tar(&[("large", &noise(64 << 20))]));
    let watch = Watch::new();
    let (operation, fd) = (watch.operation(), stream.as_raw_fd());
    called_off(&watch, || text!(orlop_import_layer(f.store, std::ptr::null(), fd, &operation)));
    let state = watch.state();
    assert!(state.bytes_done < state.bytes_total, "{} bytes", state.bytes_done);
    assert_eq!(state.bytes_total, stream.metadata().unwrap().len());
    assert_eq!(f.listing(), before);
}

#[test]
fn a_diff_that_is_applied() {
    let f = Fixture::new();
    f.import("base", "", &[("f", b"x")]).unwrap();
    let record = std::fs::read(f.records("layers")).unwrap();
    let (reader, _writer) = stuck(&[header("large", 1 << 30).as_slice(), &noise(4096)].concat());
    let watch = Watch::new();
    let (operation, fd) = (watch.operation(), reader.as_raw_fd());
    let base = c"base".as_ptr();
    called_off(&watch, || {
        call!(orlop_apply_diff(f.store, base, fd, &operation, std::ptr::null_mut()))
    });
    assert_eq!(std::fs::read(f.records("layers")).unwrap(), record);
    // The lock is free, and no temporary directory is left.
    f.import("next", "base", &[]).unwrap();
    let left = std::fs::read_dir(f.records("layers").with_file_name("tmp"));
    assert_eq!(left.map_or(0, Iterator::count), 0);
}

#[test]
fn a_load_on_its_way() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.import("base", "", &[("f", b"x")]).unwrap();
        let before = f.listing();
        let archive = docker("large", &tar(&[("large", &noise(32 << 20))]));
        let path = f.path("large.tar");
        std::fs::write(&path, &archive).unwrap();
        let path = c(path.as_os_str().as_bytes());
        let given = options!(orlop_load_options { platform: c"linux/amd64".as_ptr() });
        let watch = Watch::new();
        let operation = watch.operation();
        called_off(&watch, || text!(orlop_load(f.store, path.as_ptr(), -1, &given, &operation)));
        assert_eq!(without_locks(f.listing()), without_locks(before.clone()));
        // From a pipe that has stopped.
        let watch = Watch::new();
        let operation = watch.operation();
        let (reader, _writer) = stuck(&archive[..1 << 15]);
        let (fd, no) = (reader.as_raw_fd(), std::ptr::null());
        called_off(&watch, || text!(orlop_load(f.store, no, fd, &given, &operation)));
        assert_eq!(without_locks(f.listing()), without_locks(before));
        let loaded =
            json!(orlop_load(f.store, path.as_ptr(), -1, &given, std::ptr::null())).unwrap();
        assert_eq!(loaded.as_array().unwrap().len(), 1);
    }
}

/// Locks of digests stay, as in Go: empty files in the run root.
fn without_locks(listing: Vec<std::path::PathBuf>) -> Vec<std::path::PathBuf> {
    listing
        .into_iter()
        .filter(|p| !p.components().any(|c| c.as_os_str().as_bytes().ends_with(b"-locks")))
        .collect()
}

#[test]
fn an_export_and_a_save_that_nobody_reads() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        let layer = noise(4 << 20);
        f.import("base", "", &[("large", &layer)]).unwrap();
        let (none, bytes) = (std::ptr::null(), std::ptr::null_mut());
        for compression in
            [ORLOP_COMPRESSION_AS_IT_CAME, ORLOP_COMPRESSION_GZIP, ORLOP_COMPRESSION_ZSTD]
        {
            let (_reader, writer) = std::io::pipe().unwrap();
            let watch = Watch::new();
            let (operation, fd) = (watch.operation(), writer.as_raw_fd());
            let base = c"base".as_ptr();
            called_off(&watch, || {
                call!(orlop_export(f.store, base, none, compression, fd, &operation, bytes))
            });
        }
        let archive = file(&docker("large", &tar(&[("large", &layer)])));
        let fd = archive.as_raw_fd();
        text!(orlop_load(f.store, none, fd, std::ptr::null(), std::ptr::null())).unwrap();
        let name = Strings::new(&["localhost/large"]);
        for format in ["docker-archive", "oci-archive"] {
            let format = c(format);
            let given = options!(orlop_save_options { format: format.as_ptr() });
            let (_reader, writer) = std::io::pipe().unwrap();
            let watch = Watch::new();
            let (operation, fd) = (watch.operation(), writer.as_raw_fd());
            called_off(&watch, || {
                call!(orlop_save(f.store, name.list(), none, fd, &given, &operation))
            });
        }
        // To a path: nothing is there after.
        let path = f.path("saved.tar");
        let text = c(path.as_os_str().as_bytes());
        let watch = Watch::new();
        let operation = watch.operation();
        called_off(&watch, || {
            call!(orlop_save(f.store, name.list(), text.as_ptr(), -1, std::ptr::null(), &operation))
        });
        assert!(!path.exists());
    }
}

#[test]
fn a_commit_on_its_way() {
    let f = Fixture::new();
    let archive = file(&docker("pic:1", &tar(&[("f", b"x")])));
    let (fd, none, no) = (archive.as_raw_fd(), std::ptr::null(), std::ptr::null());
    text!(orlop_load(f.store, no, fd, none, std::ptr::null())).unwrap();
    f.container("crew", "localhost/pic:1").unwrap();
    let crew = c"crew".as_ptr();
    let root = text!(orlop_mount(f.store, crew, std::ptr::null())).unwrap();
    std::fs::write(std::path::Path::new(&root).join("large"), noise(64 << 20)).unwrap();
    call!(orlop_unmount(f.store, crew, 0)).unwrap();
    let (images, layers) =
        (text!(orlop_images(f.store)).unwrap(), text!(orlop_layers(f.store)).unwrap());
    let watch = Watch::new();
    let operation = watch.operation();
    let (name, none) = (c"new".as_ptr(), std::ptr::null());
    called_off(&watch, || text!(orlop_commit(f.store, crew, name, none, &operation)));
    assert_eq!(text!(orlop_images(f.store)).unwrap(), images);
    assert_eq!(text!(orlop_layers(f.store)).unwrap(), layers);
}

#[test]
fn progress_counts_what_passes() {
    let f = Fixture::new();
    let came = tar(&[("f", &noise(1 << 20))]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let watch = Watch::new();
    let operation = watch.operation();
    thread::scope(|scope| {
        let came = &came;
        scope.spawn(move || writer.write_all(came).unwrap());
        let new = options!(orlop_new_layer { id: c"one".as_ptr() });
        text!(orlop_import_layer(f.store, &new, reader.as_raw_fd(), &operation)).unwrap();
    });
    let bytes = came.len();
    let expected = serde_json::json!([{"what": "layer one", "done": bytes, "note": "done"}]);
    assert_eq!(watch.items(), expected);
    let state = watch.state();
    assert_eq!((state.items_started, state.items_finished), (1, 1));
    assert_eq!((state.bytes_done, state.bytes_total), (bytes as u64, 0));

    let (mut reader, writer) = std::io::pipe().unwrap();
    let watch = Watch::new();
    let operation = watch.operation();
    let got = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            got
        });
        let (one, no, fd) = (c"one".as_ptr(), std::ptr::null(), writer.as_raw_fd());
        call!(orlop_export(f.store, one, no, 0, fd, &operation, std::ptr::null_mut())).unwrap();
        drop(writer);
        reading.join().unwrap()
    });
    assert!(got == came);
    assert_eq!(watch.items(), expected);
}

#[test]
fn a_data_item_that_is_called_off_is_as_it_was() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.import("base", "", &[]).unwrap();
        let (base, key) = (c"base".as_ptr(), c"k".as_ptr());
        let content = noise(1 << 20);
        let before = file(&content);
        let watch = Watch::new();
        let set = |fd, watch: &Watch| {
            let operation = watch.operation();
            call!(orlop_set_layer_data(f.store, base, key, fd, &operation))
        };
        set(before.as_raw_fd(), &watch).unwrap();
        let state = watch.state();
        assert_eq!((state.bytes_total, state.bytes_done), (1 << 20, 1 << 20));
        assert_eq!(watch.items()[0]["what"], "data item \"k\" of layer base");
        // A part of another one, and then nothing more.
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"half").unwrap();
        let watch = Watch::new();
        called_off(&watch, || set(reader.as_raw_fd(), &watch));
        // Nobody reads all of it.
        let (reader, writer) = std::io::pipe().unwrap();
        let watch = Watch::new();
        let operation = watch.operation();
        let fd = writer.as_raw_fd();
        called_off(&watch, || call!(orlop_layer_data(f.store, base, key, fd, &operation)));
        drop((reader, writer));
        let mut after = tempfile::tempfile().unwrap();
        let (fd, none) = (after.as_raw_fd(), std::ptr::null());
        call!(orlop_layer_data(f.store, base, key, fd, none)).unwrap();
        let mut back = Vec::new();
        std::io::Seek::rewind(&mut after).unwrap();
        after.read_to_end(&mut back).unwrap();
        assert!(back == content);
    }
}
