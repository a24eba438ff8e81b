//! A process killed at any system call that changes something leaves a store in which each object is as before or as after, that
//! the next operation mends, and that the Go command reads.
//!
//! Needs root and strace, which does the killing; the Go command takes part if `ORLOP_GO_COMMAND` names it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

/// What changes names, sizes or content on disk, or makes them durable.
const CALLS: [&str; 13] = [
    "rename",
    "mkdir",
    "mkdirat",
    "symlink",
    "symlinkat",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "pwrite64",
    "write",
    "fdatasync",
    "syncfs",
];

struct Store {
    dir: TempDir,
    go: Option<PathBuf>,
}

impl Store {
    /// A store with a layer and an image; `None`, having said why, where this cannot be tested.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let go = std::env::var_os("ORLOP_GO_COMMAND").map(PathBuf::from).filter(|p| p.exists());
        let store = Self { dir, go };
        if Command::new("strace").arg("-V").output().is_err() {
            println!("skipped: strace is not installed");
            return None;
        }
        fs::create_dir_all(store.path("tree/d")).unwrap();
        fs::write(store.path("tree/d/file"), "x").unwrap();
        fs::hard_link(store.path("tree/d/file"), store.path("tree/d/link")).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(store.path("tree")).arg("-cf").arg(store.path("tar")).arg(".");
        assert!(tar.status().unwrap().success());
        let first = store.orlop(&["import-layer", "-i", "base", "-r", "-f", &store.tar()]);
        if !first.status.success() {
            println!("skipped: no overlay here: {}", String::from_utf8_lossy(&first.stderr));
            return None;
        }
        store.must(&["create-image", "-i", "image", "base"]);
        Some(store)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn tar(&self) -> String {
        self.path("tar").to_str().unwrap().to_owned()
    }

    fn roots(&self) -> Vec<String> {
        let text = |below: &str| self.path(below).to_str().unwrap().to_owned();
        let words = ["--graph", &text("g"), "--run", &text("r"), "--storage-driver", "overlay"];
        words.map(str::to_owned).to_vec()
    }

    fn orlop(&self, words: &[&str]) -> Output {
        Command::new(ORLOP).args(self.roots()).args(words).output().unwrap()
    }

    fn must(&self, words: &[&str]) -> String {
        let run = self.orlop(words);
        assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    }

    /// Runs a command that is killed at its `nth` use of `call`; `false` if it came to its end.
    fn killed(&self, words: &[&str], call: &str, nth: usize) -> bool {
        let run = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=KILL:when={nth}"), ORLOP])
            .args(self.roots())
            .args(words)
            .output()
            .unwrap();
        !run.status.success()
    }

    fn ids(&self, kind: &str) -> BTreeSet<String> {
        let list = self.must(&[kind]);
        list.lines().filter(|l| !l.starts_with(char::is_whitespace)).map(str::to_owned).collect()
    }

    fn names(&self, below: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path(below)).into_iter().flatten().flatten();
        entries.map(|e| e.file_name().into_string().unwrap()).collect()
    }

    /// That nothing is left of a crash, and that records and files agree.
    fn check(&self, when: &str) {
        let layers = self.ids("layers");
        let own = |name: &String| !["l", "tempdirs", "staging"].contains(&&**name);
        let on_disk: BTreeSet<String> = self
            .names("g/overlay")
            .into_iter()
            .filter(|name| own(name) && !name.starts_with('.'))
            .collect();
        assert_eq!(on_disk, layers, "{when}");
        assert_eq!(self.names("g/overlay/l").len(), layers.len(), "{when}: short links");
        for temp in ["g/overlay/tempdirs", "g/overlay-layers/tmp"] {
            assert_eq!(self.names(temp), BTreeSet::new(), "{when}: {temp}");
        }
        let records = fs::read_to_string(self.path("g/overlay-layers/layers.json")).unwrap();
        assert!(!records.contains("\"flags\""), "{when}: {records}");
        for container in self.ids("containers") {
            let record = self.must(&["container", "-j", &container]);
            assert!(layers.iter().any(|layer| record.contains(layer)), "{when}: {record}");
        }
        self.go_reads(when);
    }

    fn go_reads(&self, when: &str) {
        let Some(go) = &self.go else { return };
        let run = Command::new(go).args(self.roots()).arg("layers").output().unwrap();
        assert!(run.status.success(), "{when}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.orlop(&["shutdown", "-f"]);
    }
}

/// Kills `words` at each system call, after `begin`; the repeat must leave the store as `done` says, and `undo` brings it back to
/// where it began.
fn sweep(words: &[&str], begin: &[&str], done: impl Fn(&Store) -> bool, undo: &[&str]) {
    let Some(store) = Store::new() else { return };
    let tar = store.tar();
    let words: Vec<&str> = words.iter().map(|w| if *w == "TAR" { &*tar } else { w }).collect();
    let mut points = 0;
    for call in CALLS {
        for nth in 1.. {
            if !begin.is_empty() {
                store.must(begin);
            }
            let killed = store.killed(&words, call, nth);
            let when = format!("{words:?} killed at {call} {nth}");
            // Reading works at once, and says nothing that is neither before nor after.
            store.must(&["layers"]);
            store.must(&["containers"]);
            if killed {
                points += 1;
                // The Go command's recovery comes first every other time.
                if points % 2 == 0 {
                    store.go_reads(&when);
                }
                // A repeat does what is still to do, or finds that all is done; either way the next write clears up.
                let _ = store.orlop(&words);
            }
            store.must(&["create-layer", "-i", "probe"]);
            assert!(done(&store), "{when}");
            store.check(&when);
            store.must(&["delete-layer", "probe"]);
            if !undo.is_empty() {
                store.must(undo);
            }
            if !killed {
                break;
            }
        }
    }
    assert!(points > 20, "only {points} system calls were found to kill {words:?} at");
}

fn has(store: &Store, kind: &str, id: &str) -> bool {
    store.ids(kind).contains(id)
}

#[test]
fn an_import() {
    sweep(
        &["import-layer", "-i", "new", "-r", "-f", "TAR", "base"],
        &[],
        |s| has(s, "layers", "new"),
        &["delete-layer", "new"],
    );
}

#[test]
fn the_creation_of_a_container() {
    sweep(
        &["create-container", "-i", "new", "image"],
        &[],
        |s| has(s, "containers", "new"),
        &["delete-container", "new"],
    );
}

#[test]
fn the_deletion_of_a_container() {
    sweep(
        &["delete-container", "old"],
        &["create-container", "-i", "old", "image"],
        |s| !has(s, "containers", "old") && s.ids("layers").len() == 2,
        &[],
    );
}

/// Data goes before the record by which it counts: the last file of a layer is made before the last sync, and that before the
/// last rename, which is the record's.
#[test]
fn the_sync_comes_last() {
    let Some(store) = Store::new() else { return };
    let log = store.path("log");
    let run = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=openat,write,rename,syncfs", "-o"])
        .arg(&log)
        .arg(ORLOP)
        .args(store.roots())
        .args(["import-layer", "-i", "new", "-r", "-f", &store.tar(), "base"])
        .status()
        .unwrap();
    assert!(run.success());
    let log = fs::read_to_string(Path::new(&log)).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let last = |is: &dyn Fn(&str) -> bool| lines.iter().rposition(|l| is(l)).unwrap();
    let file = last(&|l| l.contains("/overlay/new/") && l.contains("O_CREAT"));
    let sync = last(&|l| l.contains("syncfs("));
    let record = last(&|l| l.contains("rename(") && l.contains("layers.json"));
    assert!(file < sync && sync < record, "{file} {sync} {record}");
}
