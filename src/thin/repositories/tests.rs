//! With a stand-in for the client that really mounts: it binds a folder of the same name, and writes down how it was called.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

mod guarded;
mod hanging;
mod silent;

/// A home, the published repositories, and the client's programs and configuration.
struct Site {
    dir: TempDir,
}

impl Site {
    /// `None`, having said why, without the right to mount.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: mounting repositories: needs root");
            return None;
        }
        let site = Self { dir: tempfile::tempdir_in("/var/tmp").unwrap() };
        for dir in ["bin", "home", "etc/config.d", "etc/keys"] {
            fs::create_dir_all(site.path(dir)).unwrap();
        }
        for repository in ["a.cern.ch", "b.cern.ch", "c.example.org"] {
            let layer = site.path(&format!("published/{repository}/layers/1"));
            fs::create_dir_all(&layer).unwrap();
            fs::write(layer.join("f"), repository).unwrap();
        }
        site.program("cvmfs2", &site.binds());
        site.program("cvmfs_talk", "");
        Some(site)
    }

    /// What the client does: it shows the folder of the repository's name.
    fn binds(&self) -> String {
        format!(
            "[ -d '{0}/'\"$3\" ] || {{ echo no such repository >&2; exit 17; }}\nmount --bind '{0}/'\"$3\" \"$4\"",
            self.path("published").display()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        let calls = self.path("calls");
        let text = format!("#!/bin/sh\necho {name} \"$@\" >>'{}'\n{text}\n", calls.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn internal(&self) -> Repositories {
        self.within(60)
    }

    /// With a client whose programs may take so many seconds.
    fn within(&self, seconds: u64) -> Repositories {
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.path("bin").display());
        let client = Client::new(
            &self.path("etc"),
            [("PATH", path)].into_iter().collect(),
            Duration::from_secs(seconds),
        );
        Repositories::new(&self.path("home"), Method::Internal(client))
    }

    fn external(&self) -> Repositories {
        Repositories::new(
            &self.path("home"),
            Method::External(self.path("published"), Duration::from_secs(60)),
        )
    }

    /// How often the client has mounted.
    fn mounts(&self) -> usize {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.starts_with("cvmfs2 ")).count()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(mounts) = crate::sys::mount::mounts_below(self.dir.path()) {
            mounts.iter().for_each(|mount| drop(detach(mount)));
        }
    }
}

fn names(names: &[&str]) -> BTreeSet<Repository> {
    names.iter().map(|name| Repository::new(*name).unwrap()).collect()
}

fn mounted(repositories: &Repositories, name: &str) -> bool {
    is_mount_point(&repositories.place(&Repository::new(name).unwrap())).unwrap()
}

fn layer(repository: &str) -> CvmfsUrl {
    CvmfsUrl::new(Repository::new(repository).unwrap(), "layers/1").unwrap()
}

#[test]
fn repositories_are_mounted_for_as_long_as_they_are_used() {
    // CVM-11, CVM-18, 18.3: counted, and mounted anew after the last use
    let Some(site) = Site::new() else { return };
    let all = site.internal();
    let (both, one) = (names(&["a.cern.ch", "b.cern.ch"]), names(&["a.cern.ch"]));
    for round in 1..=2 {
        drop(all.acquire("x", &both).unwrap());
        drop(all.acquire("y", &one).unwrap());
        drop(all.acquire("y", &one).unwrap());
        assert_eq!(site.mounts(), 2 * round, "each once");
        let folder = all.folder(&layer("a.cern.ch")).unwrap();
        assert_eq!(folder, site.path("home/cvmfs/a.cern.ch/layers/1"));
        assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "a.cern.ch");
        all.release("x", &both);
        assert!(mounted(&all, "a.cern.ch") && !mounted(&all, "b.cern.ch"));
        all.release("x", &one);
        assert!(mounted(&all, "a.cern.ch"), "given back twice");
        all.release("y", &one);
        assert!(!mounted(&all, "a.cern.ch"));
        assert!(all.users().is_empty(), "forgotten");
    }
    let calls = fs::read_to_string(site.path("calls")).unwrap();
    let place = site.path("home/cvmfs/a.cern.ch");
    let first = format!(
        "cvmfs2 -o rw,fsname=cvmfs2,allow_other,grab_mountpoint,cvmfs_suid a.cern.ch {}",
        place.display()
    );
    assert_eq!(calls.lines().next(), Some(first.as_str()));
}

#[test]
fn all_are_mounted_or_none() {
    // CVM-11, 18.3: errors are not ignored
    let Some(site) = Site::new() else { return };
    let all = site.internal();
    let e = all.acquire("x", &names(&["a.cern.ch", "missing.cern.ch"])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io);
    assert!(e.to_string().contains("no such repository (exit code 17)"), "{e}");
    assert!(!mounted(&all, "a.cern.ch") && all.users().is_empty());
    site.program("cvmfs2", "");
    let e = all.acquire("x", &names(&["a.cern.ch"])).unwrap_err();
    assert!(e.to_string().contains("nothing is mounted"), "{e}");
    fs::remove_file(site.path("bin/cvmfs2")).unwrap();
    let e = all.acquire("x", &names(&["a.cern.ch"])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    assert!(e.to_string().contains("cvmfs2 is not installed"), "{e}");
}

#[test]
fn configuration_and_key_are_looked_for_first() {
    // CVM-18
    let Some(site) = Site::new() else { return };
    let (all, own) = (site.internal(), names(&["c.example.org"]));
    for (file, what) in
        [("config.d/c.example.org.conf", "configuration"), ("keys/c.example.org.pub", "public key")]
    {
        let e = all.acquire("x", &own).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Prerequisites);
        assert!(e.to_string().contains(what), "{e}");
        assert_eq!(e.file(), Some(site.path("etc").join(file).as_path()));
        assert_eq!(site.mounts(), 0, "nothing is tried");
        fs::write(site.path("etc").join(file), "").unwrap();
    }
    drop(all.acquire("x", &own).unwrap());
    assert!(mounted(&all, "c.example.org"));
}

#[test]
fn what_vanished_is_mounted_again_and_cleanup_unmounts_all() {
    // CVM-17, CVM-18
    let Some(site) = Site::new() else { return };
    let (all, both) = (site.internal(), names(&["a.cern.ch", "b.cern.ch"]));
    drop(all.acquire("x", &both).unwrap());
    detach(&site.path("home/cvmfs/a.cern.ch")).unwrap();
    drop(all.acquire("x", &both).unwrap());
    assert!(mounted(&all, "a.cern.ch"));
    assert_eq!(site.mounts(), 3);
    // Those that a process which has ended left behind are among all.
    let next = site.internal();
    next.release_all();
    assert!(!mounted(&all, "a.cern.ch") && !mounted(&all, "b.cern.ch"));
    drop(next.acquire("x", &both).unwrap());
    next.release_all();
    assert!(next.users().is_empty() && !mounted(&next, "a.cern.ch"));
    // And a release by a process that has not mounted it.
    drop(next.acquire("x", &both).unwrap());
    site.internal().release("x", &both);
    assert!(!mounted(&all, "b.cern.ch"));
}

#[test]
fn of_several_that_leave_at_once_the_last_one_unmounts() {
    // CVM-11, 18.3
    let Some(site) = Site::new() else { return };
    // Two as if they were of two processes, each with users of its own.
    let (here, there, one) = (site.internal(), site.internal(), names(&["a.cern.ch"]));
    let users = ["u", "v", "w", "x", "y"];
    for round in 1..=8 {
        drop(here.acquire("stays", &one).unwrap());
        for user in users {
            drop(here.acquire(user, &one).unwrap());
        }
        leave_at_once(&[(&here, &users)], &one);
        assert!(mounted(&here, "a.cern.ch"), "{round}: one stays");
        assert_eq!(here.users().values().map(BTreeSet::len).collect::<Vec<_>>(), [1]);
        for user in users {
            drop(here.acquire(user, &one).unwrap());
        }
        leave_at_once(&[(&here, &["stays", "u", "v", "w", "x", "y"])], &one);
        assert!(!mounted(&here, "a.cern.ch") && here.users().is_empty(), "{round}");
        for user in users {
            drop(here.acquire(user, &one).unwrap());
            drop(there.acquire(user, &one).unwrap());
        }
        leave_at_once(&[(&here, &users), (&there, &users)], &one);
        assert!(!mounted(&here, "a.cern.ch"), "{round}");
        assert!(here.users().is_empty() && there.users().is_empty(), "{round}");
        assert_eq!(site.mounts(), 2 * round);
    }
}

/// Lets them release the repositories, each in a thread: when one of them counts who is left, all have begun.
fn leave_at_once(all: &[(&Repositories, &[&str])], repositories: &BTreeSet<Repository>) {
    std::thread::scope(|scope| {
        let counts: Vec<_> = all.iter().map(|(from, _)| from.users()).collect();
        for (from, users) in all {
            for user in *users {
                scope.spawn(move || from.release(user, repositories));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        drop(counts);
    });
}

#[test]
fn nobody_unmounts_between_a_repository_and_the_overlay_on_it() {
    let Some(site) = Site::new() else { return };
    let (all, one) = (site.internal(), names(&["a.cern.ch"]));
    let held = all.acquire("x", &one).unwrap();
    let (other, directory) = (site.internal(), site.path("home/cvmfs"));
    let repository = Repository::new("a.cern.ch").unwrap();
    for (access, free) in [(Access::Alone, false), (Access::Shared, true)] {
        let lock = Lock::try_get(&directory, &repository, access).unwrap();
        assert_eq!(lock.is_some(), free, "{access:?}");
    }
    let e = Lock::get(&directory, &repository, Duration::ZERO).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
    assert!(e.to_string().contains("locking the repository a.cern.ch"), "{e}");
    // Another process does not wait for that, be it to use the repository or to give it back.
    other.release("x", &one);
    drop(other.acquire("y", &one).unwrap());
    other.release("y", &one);
    assert!(mounted(&all, "a.cern.ch"));
    assert_eq!(site.mounts(), 1);
    drop(held);
    // Now it may: the overlay has mounts of its own.
    other.release("x", &one);
    assert!(!mounted(&all, "a.cern.ch"));
}

#[test]
fn news_are_asked_for_where_the_repository_is_in_use() {
    // CVM-22
    let Some(site) = Site::new() else { return };
    let all = site.internal();
    let name = Repository::new("a.cern.ch").unwrap();
    all.refresh(&name).unwrap();
    drop(all.acquire("x", &names(&["a.cern.ch"])).unwrap());
    all.refresh(&name).unwrap();
    let calls = fs::read_to_string(site.path("calls")).unwrap();
    let talks: Vec<_> = calls.lines().filter(|l| l.starts_with("cvmfs_talk")).collect();
    assert_eq!(talks, ["cvmfs_talk -i a.cern.ch remount sync"]);
    site.program("cvmfs_talk", "echo seems to be stopped >&2; exit 1");
    let e = all.refresh(&name).unwrap_err();
    assert!(e.to_string().contains("seems to be stopped"), "{e}");
    site.external().refresh(&name).unwrap();
}

#[test]
fn links_lead_to_what_others_have_mounted() {
    // CVM-4, 18.3: without a manager too
    let Some(site) = Site::new() else { return };
    let (external, one) = (site.external(), names(&["a.cern.ch"]));
    drop(external.acquire("x", &one).unwrap());
    let folder = external.folder(&layer("a.cern.ch")).unwrap();
    assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "a.cern.ch");
    assert_eq!(
        fs::read_link(site.path("home/cvmfs/a.cern.ch")).unwrap(),
        site.path("published/a.cern.ch")
    );
    external.release("x", &one);
    assert_eq!(site.mounts(), 0);
    let e = external.acquire("x", &names(&["missing.cern.ch"])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Prerequisites);
    assert!(e.to_string().contains("nobody has mounted it"), "{e}");

    // One home may have both, one after the other.
    let internal = site.internal();
    drop(internal.acquire("x", &one).unwrap());
    assert!(mounted(&internal, "a.cern.ch"));
    drop(external.acquire("x", &one).unwrap());
    assert!(mounted(&internal, "a.cern.ch"), "what is mounted right in the home stays");
    internal.release("x", &one);
    drop(external.acquire("x", &one).unwrap());
    assert!(external.folder(&layer("a.cern.ch")).is_ok());
}

#[test]
fn links_in_a_repository_lead_nowhere() {
    // 18.3
    let Some(site) = Site::new() else { return };
    let all = site.internal();
    symlink("/etc", site.path("published/a.cern.ch/out")).unwrap();
    fs::write(site.path("published/a.cern.ch/file"), "").unwrap();
    drop(all.acquire("x", &names(&["a.cern.ch"])).unwrap());
    for (folder, kind) in [
        ("out", ErrorKind::Corrupt),
        ("out/ssh", ErrorKind::Corrupt),
        ("file", ErrorKind::Corrupt),
        ("layers/2", ErrorKind::LayerUnknown),
    ] {
        let url = CvmfsUrl::new(Repository::new("a.cern.ch").unwrap(), folder).unwrap();
        let e = all.folder(&url).unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
    }
}
