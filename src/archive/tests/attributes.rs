//! Owner, mode and late times, each by its rule (`overlay-driver.md` 11).

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{OVERLAY, Tar, header, import_to, open_dir, options};
use crate::archive::pack::Header;
use crate::archive::{UnpackOptions, Whiteouts, import, unpack};
use crate::sys::beneath::testing::in_both_modes;
use crate::{IdMap, IdMaps};

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: giving files away needs root");
    }
    root
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = path.symlink_metadata().unwrap();
    (meta.uid(), meta.gid())
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

// UNP-14
#[test]
fn a_link_is_given_away_and_not_what_it_leads_to() {
    if !is_root() {
        return;
    }
    let tar = Tar::default()
        .add(Header { uid: 3, gid: 4, ..header("f", b'0') }, b"")
        .add(Header { uid: 7, gid: 8, link_name: b"f".to_vec(), ..header("l", b'2') }, b"")
        .add(Header { uid: 5, gid: 6, mode: 0o755, ..header("d/", b'5') }, b"")
        .add(Header { uid: 9, gid: 9, ..header("p", b'6') }, b"")
        .end();
    in_both_modes(|| {
        let dir = tempfile::tempdir().unwrap();
        import_to(dir.path(), &tar, OVERLAY).unwrap();
        let at = |name: &str| owner(&dir.path().join(name));
        assert_eq!((at("f"), at("l"), at("d"), at("p")), ((3, 4), (7, 8), (5, 6), (9, 9)));
    });
}

// UNP-14
#[test]
fn an_owner_that_cannot_be_set_is_refused_with_advice_or_passed_over() {
    if !is_root() {
        return;
    }
    const USER: u32 = 54321;
    let tar = Tar::default()
        // Right already: there is nothing to set.
        .add(Header { uid: USER, gid: 0, ..header("own", b'0') }, b"")
        .add(Header { uid: 5, gid: 6, ..header("others", b'0') }, b"content")
        .end();
    for ignore in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(USER), Some(0)).unwrap();
        let outcome = std::thread::scope(|scope| {
            let work = || {
                // Of this thread and those that it starts; the capabilities over files go with it.
                nix::unistd::setfsuid(nix::unistd::Uid::from_raw(USER));
                let root = open_dir(dir.path());
                let options = UnpackOptions { ignore_chown_errors: ignore, ..options(OVERLAY) };
                import(&mut tar.as_slice(), root.as_fd(), &options, Some(&mut Vec::new()))
            };
            scope.spawn(work).join().unwrap()
        });
        assert_eq!(owner(&dir.path().join("own")), (USER, 0));
        match outcome {
            Err(e) if !ignore => {
                let text = e.to_string();
                assert!(text.contains("others") && text.contains("5:6"), "{text}");
                assert!(text.contains("/etc/subuid"), "{text}");
            }
            Ok(_) if ignore => {
                let file = dir.path().join("others");
                assert_eq!(owner(&file), (USER, 0));
                assert_eq!(fs::read(&file).unwrap(), b"content");
            }
            other => panic!("{ignore}: {other:?}"),
        }
    }
}

// UNP-7, UNP-14
#[test]
fn the_owner_of_an_implied_directory_is_forgiven_with_the_others() {
    if !is_root() {
        return;
    }
    const USER: u32 = 54321;
    // Of the user himself: only what nobody listed would belong to another.
    let tar = Tar::default().add(Header { uid: 1, gid: 0, ..header("a/b/own", b'0') }, b"").end();
    let maps = IdMaps::new(
        &[(0, 7000), (1, USER)].map(|(container_id, host_id)| IdMap {
            container_id,
            host_id,
            size: 1,
        }),
        &[IdMap { container_id: 0, host_id: 0, size: 1 }],
    );
    for (ignore, whiteouts) in [(false, OVERLAY), (true, OVERLAY), (true, Whiteouts::Execute)] {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(USER), Some(0)).unwrap();
        let outcome = std::thread::scope(|scope| {
            let work = || {
                nix::unistd::setfsuid(nix::unistd::Uid::from_raw(USER));
                let root = open_dir(dir.path());
                let options = UnpackOptions {
                    ignore_chown_errors: ignore,
                    maps: maps.clone(),
                    ..options(whiteouts)
                };
                import(&mut tar.as_slice(), root.as_fd(), &options, Some(&mut Vec::new()))
            };
            scope.spawn(work).join().unwrap()
        });
        match outcome {
            Err(e) if !ignore => assert!(e.to_string().contains("a/b/own"), "{e}"),
            Ok(_) if ignore => {
                for name in ["a", "a/b", "a/b/own"] {
                    assert_eq!(owner(&dir.path().join(name)), (USER, 0), "{name}");
                }
            }
            other => panic!("{ignore}: {other:?}"),
        }
    }
}

// UNP-15
#[test]
fn the_mode_is_whole_and_set_after_the_owner() {
    if !is_root() {
        return;
    }
    let all = [("f", b'0', 0o6755), ("p", b'6', 0o2711), ("d/", b'5', 0o7777), ("none", b'0', 0)];
    let tar = all.iter().fold(Tar::default(), |tar, (name, kind, mode)| {
        tar.add(Header { uid: 5, gid: 6, mode: *mode, ..header(name, *kind) }, b"")
    });
    // A link has no mode of its own, and what it leads to keeps the one that it has.
    let link = Header { mode: 0o7000, link_name: b"f".to_vec(), ..header("l", b'2') };
    let tar = tar.add(link, b"").end();
    in_both_modes(|| {
        let dir = tempfile::tempdir().unwrap();
        import_to(dir.path(), &tar, OVERLAY).unwrap();
        for (name, _, expected) in all {
            assert_eq!(mode(&dir.path().join(name)), expected, "{name}");
        }
    });
    // Nor does the umask take anything away, nor what was there before add anything.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::set_permissions(dir.path().join("d"), PermissionsExt::from_mode(0o1777)).unwrap();
    let tar = Tar::default().dir("d/").end();
    import_to(dir.path(), &tar, OVERLAY).unwrap();
    assert_eq!(mode(&dir.path().join("d")), 0o755);
}

// UNP-18
#[test]
fn directories_get_their_times_at_the_end_in_the_order_of_the_archive() {
    let at = |name: &str, mtime: i64| Header { mode: 0o755, mtime, ..header(name, b'5') };
    let tar = Tar::default()
        .add(at("d/", 100), b"")
        .add(at("twice/", 200), b"")
        .add(at("d/sub/", 300), b"")
        .file("d/f", "later than its directory")
        .file("d/sub/f", "")
        // By way of a link: an archive has no name twice.
        .link("self", b'2', ".")
        .add(at("self/twice/", 400), b"")
        .file("twice/f", "")
        .add(Header { mtime: -5, mode: 0o755, ..header("before/", b'5') }, b"")
        .add(header("PaxHeaders.0/own", b'x'), b"13 atime=123\n")
        .add(at("own/", 500), b"")
        .end();
    in_both_modes(|| {
        let dir = tempfile::tempdir().unwrap();
        let root = open_dir(dir.path());
        unpack(&mut tar.as_slice(), root.as_fd(), &options(OVERLAY)).unwrap();
        for (name, mtime) in [("d", 100), ("twice", 400), ("d/sub", 300), ("before", 0)] {
            let meta = dir.path().join(name).metadata().unwrap();
            // Without a time of access in the header, the epoch; a file would have its mtime.
            assert_eq!((meta.mtime(), meta.atime()), (mtime, 0), "{name}");
        }
        assert_eq!(dir.path().join("d/f").metadata().unwrap().atime(), 1_600_000_000);
        let own = dir.path().join("own").metadata().unwrap();
        assert_eq!((own.mtime(), own.atime()), (500, 123));
    });
}

// UNP-18
#[test]
fn what_has_taken_a_directorys_place_does_not_get_its_times() {
    let at = |name: &str, mtime: i64| Header { mode: 0o755, mtime, ..header(name, b'5') };
    let tar = Tar::default()
        .add(at("kept/", 100), b"")
        .add(at("file/", 200), b"")
        .add(at("link/", 300), b"")
        .add(at("kept/below/", 400), b"")
        // By way of a link: an archive has no name twice.
        .link("self", b'2', ".")
        .add(Header { mtime: 7, ..header("self/file", b'0') }, b"")
        .add(Header { mtime: 8, link_name: b"kept".to_vec(), ..header("self/link", b'2') }, b"")
        .end();
    in_both_modes(|| {
        let dir = tempfile::tempdir().unwrap();
        let root = open_dir(dir.path());
        unpack(&mut tar.as_slice(), root.as_fd(), &options(OVERLAY)).unwrap();
        let mtime = |name: &str| dir.path().join(name).symlink_metadata().unwrap().mtime();
        assert_eq!((mtime("kept"), mtime("file"), mtime("link")), (100, 7, 8));
    });
    // Nor what the new link leads to, out of the tree.
    let dir = tempfile::tempdir().unwrap();
    for name in ["tree", "outside/d"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    let before = dir.path().join("outside/d").metadata().unwrap().mtime();
    let tar = Tar::default()
        .add(at("d/", 300), b"")
        .link("self", b'2', ".")
        .link("self/d", b'2', "../outside/d")
        .end();
    let root = open_dir(&dir.path().join("tree"));
    unpack(&mut tar.as_slice(), root.as_fd(), &options(OVERLAY)).unwrap();
    assert!(dir.path().join("tree/d").is_symlink());
    assert_eq!(dir.path().join("outside/d").metadata().unwrap().mtime(), before);
}
