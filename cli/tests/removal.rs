//! The bytes of what is deleted go when no lock is held any more, on every way on which they go (`store-format.md` 10.2, 10.3,
//! 16.13, 16.31).
//!
//! Needs root, the kernel's overlay and strace, which tells the order of the system calls.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

struct Store(TempDir);

impl Store {
    /// A store with a layer of two directories, an image of it and a container; `None`, having said why, where this cannot be
    /// tested.
    fn new() -> Option<Self> {
        let store = Self(tempfile::tempdir_in("/var/tmp").unwrap());
        if Command::new("strace").arg("-V").output().is_err() {
            println!("skipped: strace is not installed");
            return None;
        }
        for dir in ["tree/a", "tree/b"] {
            fs::create_dir_all(store.path(dir)).unwrap();
            fs::write(store.path(dir).join("file"), "x").unwrap();
        }
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(store.path("tree")).arg("-cf").arg(store.path("tar")).arg(".");
        assert!(tar.status().unwrap().success());
        let tar = store.path("tar").to_str().unwrap().to_owned();
        let first = store.orlop(&["import-layer", "-i", "layer", "-r", "-f", &tar]);
        if !first.status.success() {
            println!("skipped: no overlay here: {}", String::from_utf8_lossy(&first.stderr));
            return None;
        }
        Some(store)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let text = |below: &str| self.path(below).to_str().unwrap().to_owned();
        let roots = ["--graph", &text("g"), "--run", &text("r"), "--storage-driver", "overlay"];
        roots.iter().chain(words).map(|w| (*w).to_owned()).collect()
    }

    fn orlop(&self, words: &[&str]) -> Output {
        Command::new(ORLOP).args(self.words(words)).output().unwrap()
    }

    fn must(&self, words: &[&str]) {
        let run = self.orlop(words);
        assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
    }

    /// Runs a command that has something to delete, and looks at the locks it holds at each removal below a temp dir.
    fn deletes_unlocked(&self, words: &[&str]) {
        self.deletes_unlocked_below("/temp-dir-", words);
    }

    /// As [`Store::deletes_unlocked`], of the removals below paths that contain `place`.
    fn deletes_unlocked_below(&self, place: &str, words: &[&str]) {
        let log = self.path("log");
        let run = Command::new("strace")
            .args(["-f", "-y", "-e", "trace=fcntl,unlinkat", "-o"])
            .arg(&log)
            .arg(ORLOP)
            .args(self.words(words))
            .output()
            .unwrap();
        assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
        let log = fs::read_to_string(log).unwrap();
        let (mut held, mut taken, mut removals) = (Vec::new(), 0, 0);
        for line in log.lines() {
            let Some((_, object)) = line.split_once('<') else { continue };
            let (object, rest) = object.split_once('>').unwrap();
            let is_store_lock = object.ends_with("s.lock") || object.ends_with("storage.lock");
            if line.contains("fcntl(") && is_store_lock {
                if rest.contains("F_UNLCK") {
                    held.retain(|lock| *lock != object);
                } else if rest.contains("F_OFD_SETLK") {
                    held.push(object);
                    taken += 1;
                }
            } else if line.contains("unlinkat(") && object.contains(place) {
                assert!(held.is_empty(), "{words:?} holds {held:?}: {line}");
                removals += 1;
            }
        }
        assert!(taken > 1, "{words:?} took no locks:\n{log}");
        assert!(removals > 0, "{words:?} deleted nothing:\n{log}");
        assert!(!self.path("g/overlay/tempdirs").read_dir().unwrap().any(|_| true), "{words:?}");
    }

    /// What a killed process leaves: a temp dir that nobody has locked.
    fn stale(&self) {
        let dir = self.path("g/overlay/tempdirs/temp-dir-7/0-addition");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file"), "x").unwrap();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.orlop(&["shutdown", "-f"]);
    }
}

#[test]
fn the_locks_are_free_before_the_bytes_go() {
    let Some(store) = Store::new() else { return };
    store.must(&["create-image", "-i", "image", "layer"]);
    store.must(&["create-container", "-i", "container", "image"]);
    store.stale();
    store.deletes_unlocked(&["create-layer", "-i", "other"]);
    store.stale();
    store.deletes_unlocked(&["mount", "container"]);
    store.stale();
    store.deletes_unlocked(&["unmount", "container"]);
    store.deletes_unlocked(&["delete-layer", "other"]);
    store.deletes_unlocked(&["delete-container", "container"]);
    store.deletes_unlocked(&["delete-image", "image"]);
    store.must(&["create-layer", "-i", "last"]);
    store.deletes_unlocked(&["delete", "last"]);
    store.must(&["create-layer", "-i", "last"]);
    store.deletes_unlocked(&["wipe"]);
    // A layer that a killed process left unfinished.
    store.must(&["create-layer", "-i", "half"]);
    let records = store.path("g/overlay-layers/layers.json");
    let text = fs::read_to_string(&records).unwrap();
    let flagged = text.replacen(r#","created""#, r#","flags":{"incomplete":true},"created""#, 1);
    fs::write(&records, flagged).unwrap();
    store.deletes_unlocked(&["create-layer", "-i", "next"]);
    assert!(!store.path("g/overlay/half").exists());
    store.stale();
    store.deletes_unlocked(&["shutdown"]);
    // As after a boot, the file system is probed under a lock, in a temp dir that goes at once; what was there before can wait.
    store.must(&["shutdown"]);
    fs::remove_dir_all(store.path("r")).unwrap();
    store.stale();
    store.deletes_unlocked_below("/temp-dir-7/", &["create-layer", "-i", "probed"]);
}
