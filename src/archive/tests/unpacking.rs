//! Imports: facts, trees like Go's, the way back, and what is reported when a stage fails.

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use super::packing::zoo;
use super::{Full, OVERLAY, Tar, go, header, import_to, listing, open_dir, options, os, run_go};
use crate::archive::pack::Header;
use crate::archive::{
    Compression, Compressor, PackOptions, TreeFiles, Whiteouts, import, pack_tree, reassemble,
    unpack,
};
use crate::sys::beneath::testing::in_both_modes;
use crate::{Digest, ErrorKind};

/// A reproducible choice.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Seeds beside each other give rolls that have nothing in common.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A big archive of everything that both unpack.
fn random_tar(seed: u64, members: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut tar = Tar::default();
    let mut dirs = vec![String::new()];
    let mut files: Vec<String> = Vec::new();
    for n in 0..members {
        let dir = dirs[dice.roll(dirs.len() as u64) as usize].clone();
        let long =
            if dice.roll(50) == 0 { "x".repeat(dice.roll(180) as usize) } else { String::new() };
        let name = format!("{dir}{n}-é{long}");
        let mut h = Header {
            mode: dice.roll(0o10000) as u32,
            uid: dice.roll(3) as u32 * 1_500_000,
            gid: dice.roll(4) as u32,
            mtime: dice.roll(2_000_000_000) as i64 - 1000,
            ..header(&name, b'0')
        };
        if dice.roll(10) == 0 {
            h.xattrs = vec![(b"user.x".to_vec(), vec![b'v'; dice.roll(300) as usize])];
        }
        let most = if dice.roll(40) == 0 { 600_000 } else { 3000 };
        let content = vec![n as u8; dice.roll(most) as usize];
        match dice.roll(12) {
            0 | 1 => {
                h.kind = b'5';
                h.name.push(b'/');
                dirs.push(format!("{name}/"));
                tar = tar.add(h, b"");
            }
            2 if !files.is_empty() => {
                h.kind = b'1';
                h.link_name = files[dice.roll(files.len() as u64) as usize].clone().into();
                h.xattrs.clear();
                tar = tar.add(h, b"");
            }
            3 => {
                h.kind = b'2';
                h.link_name = b"../some/where".to_vec();
                h.xattrs.clear();
                tar = tar.add(h, b"");
            }
            4 => {
                h.kind = *b"346".get(dice.roll(3) as usize).unwrap();
                h.xattrs.clear();
                (h.dev_major, h.dev_minor) = (7, 1000);
                tar = tar.add(h, b"");
            }
            5 => {
                // Nothing is there to hide but what lower layers have.
                h.name = format!("{dir}.wh.hidden{n}").into();
                h.xattrs.clear();
                tar = tar.add(h, b"");
            }
            6 if n % 7 == 0 => {
                // A parent that has no entry of its own.
                h.name = format!("{dir}implicit{n}/file").into();
                tar = tar.add(h, &content);
            }
            _ => {
                files.push(name);
                tar = tar.add(h, &content);
            }
        }
    }
    tar.end()
}

// UNP-7, UNP-9 and UNP-14 to UNP-18
#[test]
fn trees_are_those_of_go() {
    let Some(go) = go() else { return };
    let tar = random_tar(42, 4000);
    for (command, whiteouts) in [("unpack", OVERLAY), ("apply", Whiteouts::Execute)] {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        run_go(go, &[command.as_ref(), theirs.as_os_str()], &tar);
        let theirs = listing(&theirs);
        in_both_modes(|| {
            let mut theirs = theirs.clone();
            let dir = tempfile::tempdir().unwrap();
            import_to(dir.path(), &tar, whiteouts).unwrap();
            let mut ours = listing(dir.path());
            // Made in passing by both, with the present for a time.
            let implicit = |path: &[u8]| {
                let base = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
                base.starts_with(b"implicit")
            };
            for tree in [&mut ours, &mut theirs] {
                for (path, line) in tree {
                    if implicit(path) || line.contains(" 0 CharacterDevice") {
                        *line = line.split(' ').take(3).collect::<Vec<_>>().join(" ");
                    }
                    if line.starts_with("CharacterDevice 0 ") {
                        *line = line.split(' ').take(4).collect::<Vec<_>>().join(" ");
                    }
                }
            }
            assert_eq!(ours.len(), theirs.len());
            for ((path, a), (other, b)) in ours.iter().zip(&theirs) {
                assert_eq!((path, a), (other, b), "{}", String::from_utf8_lossy(path));
            }
        });
    }
}

fn compressed(kind: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut c = Compressor::new(kind, Vec::new()).unwrap();
    c.write_all(bytes).unwrap();
    c.finish().unwrap()
}

// UNP-4
#[test]
fn what_comes_in_goes_out() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    fs::create_dir(&source).unwrap();
    zoo(&source);
    fs::write(source.join(os(b"\xfe\xff")), "not a text").unwrap();
    let mut tar = Vec::new();
    pack_tree(open_dir(&source).as_fd(), &PackOptions::default(), &mut tar).unwrap();
    tar.extend_from_slice(&[7; 5000]); // junk after the end belongs to the layer
    for kind in [Compression::None, Compression::Gzip, Compression::Zstd] {
        fs::create_dir(&target).unwrap();
        let root = open_dir(&target);
        let stream = compressed(kind, &tar);
        let mut split = Vec::new();
        let facts =
            import(&mut Cursor::new(&stream), root.as_fd(), &options(OVERLAY), Some(&mut split))
                .unwrap();
        assert_eq!(facts.compression, kind);
        assert_eq!(facts.compressed_digest, Digest::sha256(&stream));
        assert_eq!(facts.compressed_size, stream.len() as u64);
        assert_eq!(facts.diff_digest, Digest::sha256(&tar));
        assert_eq!(facts.diff_size, tar.len() as u64);
        assert!(facts.uids.contains(&2_097_152) && facts.gids.contains(&4_000_000_000));
        // store-format.md 8
        assert_eq!(split[..10], [0x1f, 0x8b, 8, 0, 0, 9, 0x6e, 0x88, 4, 0xff]);
        let files = TreeFiles::new(vec![root]);
        let mut out = Vec::new();
        let n = reassemble(&mut &split[..], &files, &mut out).unwrap();
        assert_eq!(n, tar.len() as u64);
        assert!(out == tar, "the bytes differ");
        let cut = &split[..split.len() / 2];
        assert_eq!(
            reassemble(&mut &cut[..], &files, &mut io::sink()).unwrap_err().kind(),
            ErrorKind::Corrupt
        );
        let error = reassemble(&mut &split[..], &files, &mut Full(tar.len() - 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("writing the tar stream"), "{error}");
        fs::write(target.join("dir/file"), "tampere").unwrap();
        let error = reassemble(&mut &split[..], &files, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DigestMismatch);
        fs::remove_file(target.join("dir/file")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", target.join("dir/file")).unwrap();
        assert_eq!(
            reassemble(&mut &split[..], &files, &mut io::sink()).unwrap_err().kind(),
            ErrorKind::Io
        );
        fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn sizes_and_owners_are_counted() {
    // DEF-15
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default()
        .add(Header { uid: 3, gid: 4, ..header("a", b'0') }, b"12345")
        .add(Header { uid: 99, gid: 98, ..header("d/.wh.x", b'0') }, b"")
        .file("b", "123")
        .link("c", b'1', "b")
        .end();
    let facts = import_to(dir.path(), &tar, OVERLAY).unwrap();
    assert_eq!(facts.unpacked_size, 8);
    assert_eq!(facts.uids.into_iter().collect::<Vec<_>>(), [0, 3]);
    assert_eq!(facts.gids.into_iter().collect::<Vec<_>>(), [0, 4]);
    let whiteout = fs::symlink_metadata(dir.path().join("d/x")).unwrap();
    assert_eq!((whiteout.uid(), whiteout.gid()), (99, 98));
    let other = tempfile::tempdir().unwrap();
    let root = open_dir(other.path());
    assert_eq!(unpack(&mut &tar[..], root.as_fd(), &options(OVERLAY)).unwrap(), 8);
}

#[test]
fn a_whiteout_is_made_once_and_hides_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default().add(header(".wh.x", b'0'), b"").end();
    for _ in 0..2 {
        import_to(dir.path(), &tar, OVERLAY).unwrap();
    }
    fs::remove_file(dir.path().join("x")).unwrap();
    fs::write(dir.path().join("x"), "x").unwrap();
    let e = import_to(dir.path(), &tar, OVERLAY).unwrap_err();
    assert!(e.to_string().contains(".wh.x"), "{e}");
    assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"x");
}

// UNP-4
#[test]
fn empty_streams_are_empty_layers() {
    for tar in [&b""[..], &[0; 1024], &[0; 10240]] {
        let dir = tempfile::tempdir().unwrap();
        let facts = import_to(dir.path(), tar, OVERLAY).unwrap();
        assert_eq!((facts.compression, facts.diff_size), (Compression::None, tar.len() as u64));
        assert_eq!(facts.diff_digest, Digest::sha256(tar));
    }
}

// DEF-9
#[test]
fn contiguous_and_sparse_members() {
    // ACC-10
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("sparse")).unwrap();
    file.set_len(5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"in the middle", 3 << 20).unwrap();
    for format in ["gnu", "posix"] {
        let tar = std::process::Command::new("tar")
            .args(["-cS", "--format", format, "-C"])
            .arg(&source)
            .arg("sparse")
            .output()
            .unwrap()
            .stdout;
        assert!(tar.len() < 1 << 20);
        let target = dir.path().join(format);
        fs::create_dir(&target).unwrap();
        let root = open_dir(&target);
        let mut split = Vec::new();
        import(&mut &tar[..], root.as_fd(), &options(OVERLAY), Some(&mut split)).unwrap();
        assert_eq!(
            fs::read(target.join("sparse")).unwrap(),
            fs::read(source.join("sparse")).unwrap()
        );
        assert!(fs::metadata(target.join("sparse")).unwrap().blocks() < 64, "the holes are filled");
        // ARC-4
        let mut out = Vec::new();
        reassemble(&mut &split[..], &TreeFiles::new(vec![root]), &mut out).unwrap();
        assert!(out == tar, "{format}");
    }
    let target = dir.path().join("contiguous");
    fs::create_dir(&target).unwrap();
    import_to(&target, &Tar::default().add(header("f", b'7'), b"abc").end(), OVERLAY).unwrap();
    assert_eq!(fs::read(target.join("f")).unwrap(), b"abc");
}

// DEF-9: a tar with the holes filled, as nearly everybody writes them.
#[test]
fn long_runs_of_zeros_become_holes() {
    let long = 1 << 20;
    let mut content = vec![0u8; 5 * long + 12_345];
    content[3 * long + 77] = 1;
    let ends_in_data = [content.as_slice(), b"end"].concat();
    let short = [vec![1; 100_000], vec![0; 60_000], vec![1; 100_000]].concat();
    let tar = Tar::default()
        .add(header("hole", b'0'), &content)
        .add(header("data", b'0'), &ends_in_data)
        .add(header("zeros", b'0'), &vec![0; 2 * long])
        .add(header("short", b'0'), &short)
        .end();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let root = open_dir(dir.path());
    let mut split = Vec::new();
    let facts = import(&mut &tar[..], root.as_fd(), &options(OVERLAY), Some(&mut split)).unwrap();
    assert_eq!(facts.unpacked_size as usize, 2 * content.len() + 3 + 2 * long + short.len());
    for (name, wanted, most) in [
        ("hole", &content, 1000),
        ("data", &ends_in_data, 1000),
        ("zeros", &vec![0; 2 * long], 8),
        ("short", &short, 600),
    ] {
        assert!(fs::read(dir.path().join(name)).unwrap() == *wanted, "{name}");
        let blocks = fs::metadata(dir.path().join(name)).unwrap().blocks();
        assert!(blocks <= most, "{name} has {blocks} blocks");
    }
    let mut out = Vec::new();
    reassemble(&mut &split[..], &TreeFiles::new(vec![root]), &mut out).unwrap();
    assert!(out == tar);
}

// ARC-5: what is added up is more than a number holds.
#[test]
fn holes_beyond_all_numbers_are_counted() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    for name in ["a", "b", "c"] {
        fs::File::create(source.join(name)).unwrap().set_len(7 << 60).unwrap();
    }
    let packed = std::process::Command::new("tar")
        .args(["-cS", "--format", "posix", "-C"])
        .arg(&source)
        .args(["a", "b", "c"])
        .output()
        .unwrap();
    let facts = import_to(&target, &packed.stdout, OVERLAY).unwrap();
    assert_eq!(facts.unpacked_size, u64::MAX);
}

// ARC-5: a hole costs no time.
#[test]
fn a_hole_of_terabytes_is_unpacked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let size = 8u64 << 40;
    let file = fs::File::create(source.join("sparse")).unwrap();
    file.set_len(size).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"at the end", size - 10).unwrap();
    let packed = std::process::Command::new("tar")
        .args(["-cS", "--format", "posix", "-C"])
        .arg(&source)
        .arg("sparse")
        .output()
        .unwrap();
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    let start = std::time::Instant::now();
    import_to(&target, &packed.stdout, OVERLAY).unwrap();
    assert!(start.elapsed().as_secs() < 30);
    let stat = fs::metadata(target.join("sparse")).unwrap();
    assert!(stat.len() == size && stat.blocks() < 64);
}

// UNP-11
#[test]
fn devices_are_skipped_in_a_user_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default().link("char", b'3', "").link("fifo", b'6', "").end();
    let root = open_dir(dir.path());
    let options = crate::archive::UnpackOptions { in_user_namespace: true, ..options(OVERLAY) };
    unpack(&mut &tar[..], root.as_fd(), &options).unwrap();
    assert_eq!(listing(dir.path()).into_keys().collect::<Vec<_>>(), [b"fifo"]);
}

/// A source that fails after some bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::Error::other("the line is dead")),
            n => Ok(n),
        }
    }
}

#[test]
fn the_cause_is_what_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let tar = random_tar(7, 3000);
    let gz = compressed(Compression::Gzip, &tar);
    let root = open_dir(dir.path());
    let fresh = || {
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    };
    let run = |source: &mut (dyn Read + Send)| {
        fresh();
        import(source, root.as_fd(), &options(OVERLAY), Some(&mut Vec::new())).unwrap_err()
    };
    for share in [0, 100, gz.len() / 2, gz.len()] {
        let error = run(&mut Failing(&gz[..share]));
        assert!(error.to_string().contains("the line is dead"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Io);
    }
    for share in [20, gz.len() / 2, gz.len() - 1] {
        let error = run(&mut &gz[..share]);
        assert!(error.to_string().starts_with("decompressing a layer"), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidArchive);
    }
    let error = run(&mut &tar[..tar.len() / 2]);
    assert_eq!(error.kind(), ErrorKind::InvalidArchive, "{error}");
    assert!(!error.to_string().contains("pipeline"), "{error}");
    let error = run(&mut &b"this is no tar, but long enough to be taken for one".repeat(30)[..]);
    assert_eq!(error.kind(), ErrorKind::InvalidArchive, "{error}");
    // An error of the unpacker while megabytes are still under way.
    let bad = [Tar::default().link("odd", b'V', "").0, vec![1; 20 << 20]].concat();
    let error = run(&mut &bad[..]);
    assert!(error.to_string().contains("unhandled tar header type"), "{error}");
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no room for the tar-split"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    fresh();
    let error = import(&mut &gz[..], root.as_fd(), &options(OVERLAY), Some(&mut Full)).unwrap_err();
    assert!(error.to_string().contains("no room for the tar-split"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Io);
}

// The digests cover what follows the tar, in the compressed and the plain stream.
#[test]
fn the_rest_of_the_stream_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut tar = Tar::default().file("f", "x").end();
    tar.extend_from_slice(&vec![5; 3 << 20]);
    let gz = compressed(Compression::Gzip, &tar);
    let facts = import_to(dir.path(), &gz, OVERLAY).unwrap();
    assert_eq!(facts.diff_digest, Digest::sha256(&tar));
    assert_eq!(facts.compressed_digest, Digest::sha256(&gz));
}

// Go's record of ids goes by the last part of a name as it stands in the archive.
#[test]
fn whose_ids_count() {
    let dir = tempfile::tempdir().unwrap();
    let owned = |name: &str, kind, uid| Header { uid, ..header(name, kind) };
    let tar = Tar::default()
        .add(owned(".wh.a/", b'5', 1), b"")
        .add(owned("b/.wh.c/.", b'5', 2), b"")
        .add(owned(".wh.g", b'g', 3), b"")
        .add(owned("d", b'0', 4), b"")
        .end();
    let facts = import_to(dir.path(), &tar, OVERLAY).unwrap();
    assert_eq!(facts.uids.into_iter().collect::<Vec<_>>(), [2, 4]);
}

// UNP-16
#[test]
fn a_second_name_of_a_symbolic_link_leaves_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default()
        .link("soft", b'2', "x")
        .add(Header { mtime: 7, link_name: b"soft".to_vec(), ..header("hard", b'1') }, b"")
        .end();
    import_to(dir.path(), &tar, OVERLAY).unwrap();
    let stat = fs::symlink_metadata(dir.path().join("hard")).unwrap();
    assert_eq!((stat.nlink(), stat.mtime()), (2, 1_600_000_000));
}

// UNP-18
#[test]
fn a_late_mode_is_for_its_own_directory() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default()
        .add(Header { mode: 0o411, ..header("self/j/", b'5') }, b"")
        .dir("j/")
        .link("self", b'2', ".")
        .end();
    import_to(dir.path(), &tar, OVERLAY).unwrap();
    assert_eq!(fs::metadata(dir.path().join("j")).unwrap().mode() & 0o7777, 0o755);
}

// UNP-9
#[test]
fn a_directory_whose_name_is_a_whiteout_keeps_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default().file(".wh.a/f", "kept").dir(".wh.a/").end();
    import_to(dir.path(), &tar, OVERLAY).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join(".wh.a/f")).unwrap(), "kept");
    let whiteout = fs::symlink_metadata(dir.path().join("a")).unwrap();
    assert_eq!(whiteout.rdev(), 0);
}

// overlay-driver.md 11.3: what was deleted may have the longest name that there is.
#[test]
fn long_names_can_be_whited_out() {
    let long = "n".repeat(255);
    let tar = Tar::default().file(&format!("d/.wh.{long}"), "").end();
    for whiteouts in [OVERLAY, Whiteouts::Execute] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d").join(&long), "").unwrap();
        if whiteouts == OVERLAY {
            fs::remove_file(dir.path().join("d").join(&long)).unwrap();
        }
        import_to(dir.path(), &tar, whiteouts).unwrap();
        let found = fs::symlink_metadata(dir.path().join("d").join(&long));
        assert_eq!(found.is_ok(), whiteouts == OVERLAY);
    }
}

/// A tar-split that cannot be written is the cause, even where the unpacker waits for just that.
#[test]
fn the_tar_split_is_what_is_reported() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            // Until then everything before is full.
            std::thread::sleep(std::time::Duration::from_millis(20));
            Err(io::Error::other("no room for the tar-split"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let target = "x".repeat(4000);
    let tar = (0..700).fold(Tar::default(), |tar, n| tar.link(&n.to_string(), b'2', &target)).end();
    for _ in 0..60 {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let root = open_dir(dir.path());
        let error =
            import(&mut &tar[..], root.as_fd(), &options(OVERLAY), Some(&mut Full)).unwrap_err();
        assert!(error.to_string().contains("no room for the tar-split"), "{error}");
    }
}
