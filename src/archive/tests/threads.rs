//! However many threads write files: the same trees, the same facts, the same errors.

use std::fs;
use std::io::Cursor;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

use super::{OVERLAY, Tar, header, listing, open_dir, options};
use crate::archive::Whiteouts;
use crate::archive::import::import_with;
use crate::archive::pack::Header;

const COUNTS: [usize; 4] = [0, 1, 2, 8];

/// What an import does: the tree and the facts, or the error.
#[derive(Debug, PartialEq)]
struct Outcome {
    error: Option<String>,
    facts: String,
    tree: Vec<(Vec<u8>, String)>,
}

fn outcome(tar: &[u8], whiteouts: Whiteouts, writers: usize, prepare: impl Fn(&Path)) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let root = open_dir(dir.path());
    let mut split = Vec::new();
    let options = options(whiteouts);
    match import_with(writers, &mut Cursor::new(tar), root.as_fd(), &options, Some(&mut split)) {
        Ok(facts) => {
            let mut tree: Vec<_> = listing(dir.path()).into_iter().collect();
            for (_, line) in &mut tree {
                // Whiteouts, parents without an entry and what was there before have the present for a time.
                let words = line.split(' ').map(|word| match word.split_once('.') {
                    Some((seconds, _)) if seconds.parse().is_ok_and(|s: u64| s > 1_600_000_000) => {
                        "now"
                    }
                    _ => word,
                });
                *line = words.collect::<Vec<_>>().join(" ");
            }
            let facts = format!("{facts:?} {}", crate::Digest::sha256(&split));
            Outcome { error: None, facts, tree }
        }
        Err(e) => Outcome {
            error: Some(format!("{:?}: {e}", e.kind())),
            facts: String::new(),
            tree: vec![],
        },
    }
}

/// Names that meet again and again, by way of links as well; some archives are broken.
fn tangled(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = move |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % sides
    };
    let mut tar = Tar::default();
    for name in ["./", "a/", "b/", "a/c/"] {
        let set_gid = if roll(4) == 0 { 0o2000 } else { 0 };
        let h = Header { mode: 0o755 | set_gid, gid: roll(3) as u32, ..header(name, b'5') };
        tar = tar.add(h, b"");
    }
    let parents = ["", "a/", "b/", "a/c/", "ln/", "b/ln/", "old/"];
    let broken = roll(3) == 0;
    let mut files = vec!["f".to_owned()];
    tar = tar.file("f", "first");
    for n in 0..60 + roll(100) {
        let parent = parents[roll(parents.len())];
        // A tar has each name once; what begins with other numbers of `..` is another name for the same place.
        let parent = format!("{}{parent}", "../".repeat(n));
        let base = if roll(3) == 0 { format!("f{n}") } else { format!("x{}", roll(6)) };
        let mut h = Header {
            mode: [0o644, 0o755, 0o600, 0o4755, 0o2711][roll(5)],
            uid: [0, 0, 1000][roll(3)],
            gid: [0, 0, 7][roll(3)],
            mtime: 1_000_000_000 + roll(1_000_000) as i64,
            ..header(&format!("{parent}{base}"), b'0')
        };
        if roll(8) == 0 {
            h.xattrs = vec![(b"user.x".to_vec(), vec![b'v'; roll(300)])];
        }
        let target = files[files.len() - 1 - roll(files.len().min(5))].clone();
        let size = [0, 10, 3000, 40_000, 70_000][roll(5)];
        let content = vec![n as u8; size];
        tar = match roll(16) {
            0 => tar.add(
                Header {
                    kind: b'5',
                    mode: 0o2750,
                    ..header(&format!("{parent}d{}", roll(3)), b'5')
                },
                b"",
            ),
            1 => tar.link(&format!("ln{n}"), b'2', ["a", "b/", "/a/c", ".."][roll(4)]),
            2 => tar.link(&format!("{parent}ln"), b'2', ["a", "/b", "a/c"][roll(3)]),
            3..=5 => {
                tar.add(Header { kind: b'1', link_name: target.into(), xattrs: vec![], ..h }, b"")
            }
            6 => tar.file(&format!("{parent}.wh.x{}", roll(6)), ""),
            7 if roll(8) == 0 => tar.file(&format!("{parent}.wh..wh..opq"), ""),
            8 if broken && roll(4) == 0 => {
                h.xattrs = vec![(b"user.x".to_vec(), vec![b'v'; 70_000])];
                tar.add(h, &content)
            }
            9 if broken && roll(8) == 0 => tar.add(Header { kind: b'V', ..h }, b""),
            _ => {
                files.push(format!("{parent}{base}"));
                tar.add(h, &content)
            }
        };
    }
    tar.end()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    // DEF-15
    let old = |root: &Path| {
        fs::create_dir_all(root.join("old/x1")).unwrap();
        fs::write(root.join("old/x1/deep"), "old").unwrap();
        fs::write(root.join("old/x2"), "old").unwrap();
        symlink("../a", root.join("old/x3")).unwrap();
        for path in ["old", "old/x1", "old/x1/deep", "old/x2"] {
            chown(root.join(path), Some(9), Some(9)).unwrap();
        }
    };
    let (mut good, mut bad) = (0, 0);
    for seed in 1..=40 {
        let tar = tangled(seed);
        let whiteouts = [OVERLAY, Whiteouts::Keep, Whiteouts::Execute][seed as usize % 3];
        let serial = outcome(&tar, whiteouts, 0, old);
        if serial.error.is_some() {
            bad += 1
        } else {
            good += 1
        }
        for writers in &COUNTS[1..] {
            assert_eq!(outcome(&tar, whiteouts, *writers, old), serial, "{seed} {writers}");
        }
    }
    assert!(good > 5 && bad > 5, "{good} {bad}");
}

/// Of two bad members the first is named, whichever thread finds it.
#[test]
fn the_first_bad_member_is_named() {
    let too_big = vec![(b"user.x".to_vec(), vec![b'v'; 70_000])];
    let bad_file = |name: &str| Header { xattrs: too_big.clone(), ..header(name, b'0') };
    for gap in [0, 1, 20, 200] {
        let fill = |tar: Tar, from: &str| {
            (0..gap).fold(tar, |tar, n| tar.file(&format!("{from}{n}"), &"x".repeat(5000)))
        };
        let start = || fill(Tar::default(), "a").add(bad_file("first"), b"1");
        // Enough after it that the first is noticed while the second is on its way.
        let file = fill(start(), "b").add(bad_file("second"), b"2");
        let file = (0..200).fold(file, |tar, n| tar.file(&format!("c{n}"), ""));
        let kind = fill(start(), "b").add(header("second", b'V'), b"");
        let cut = fill(start(), "b").0;
        for (tar, writers) in [file.end(), kind.end(), cut[..cut.len() - 300].to_vec()]
            .iter()
            .flat_map(|tar| COUNTS.map(|writers| (tar, writers)))
        {
            let error = outcome(tar, OVERLAY, writers, |_| ()).error.unwrap();
            assert!(error.contains("user.x\" of \"first\""), "{gap} {writers}: {error}");
        }
    }
}

/// What new files get is learnt from the first in a directory, and again when the directory has changed.
#[test]
fn directories_that_change_are_looked_at_anew() {
    let of = |name: &str, gid| Header { gid, ..header(name, b'0') };
    let tar = Tar::default()
        .link("ln", b'2', "d")
        .add(of("d/a", 0), b"")
        .add(of("ln/b", 0), b"")
        .add(of("d/c", 77), b"")
        .dir("d/")
        .add(of("d/e", 77), b"")
        .add(of("ln/f", 77), b"")
        .add(Header { mode: 0o666, ..of("ln/g", 0) }, b"")
        .end();
    let set_gid = |root: &Path| {
        fs::create_dir(root.join("d")).unwrap();
        chown(root.join("d"), None, Some(77)).unwrap();
        let all = rustix::fs::Mode::from_raw_mode(0o2755);
        rustix::fs::chmod(root.join("d"), all).unwrap();
    };
    for writers in COUNTS {
        let dir = tempfile::tempdir().unwrap();
        set_gid(dir.path());
        let root = open_dir(dir.path());
        let split: Option<&mut (dyn std::io::Write + Send)> = None;
        import_with(writers, &mut &tar[..], root.as_fd(), &options(OVERLAY), split).unwrap();
        let groups: Vec<u32> = ["a", "b", "c", "e", "f", "g"]
            .map(|name| fs::metadata(dir.path().join("d").join(name)).unwrap().gid())
            .to_vec();
        assert_eq!(groups, [0, 0, 77, 77, 77, 0], "{writers}");
        assert_eq!(fs::metadata(dir.path().join("d/g")).unwrap().mode() & 0o7777, 0o666);
    }
}
