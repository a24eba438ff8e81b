//! Memory does not grow with a layer's bytes (ARC-5), nor do open files with its entries.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Command;

use super::{OVERLAY, header, open_dir, options};
use crate::IdMaps;
use crate::archive::import::import_with;
use crate::archive::pack::Header;
use crate::archive::{Compression, Compressor, change_owners, import};

const SIZE: u64 = 1 << 30;
const MARK: &str = "ORLOP_TEST_MEMORY_DIR";
const NAME: &str = "archive::tests::memory::a_gigabyte_needs_little_memory";

/// High-water mark of the process's memory, in KiB.
fn high_water() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The test runs itself again, for a process whose high-water mark is its own.
#[test]
fn a_gigabyte_needs_little_memory() {
    if let Some(dir) = std::env::var_os(MARK) {
        return child(dir.as_ref());
    }
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("layer.tar.gz")).unwrap();
    let mut gz = Compressor::new(Compression::Gzip, file).unwrap();
    let mut head = Vec::new();
    Header { size: SIZE, ..header("zeros", b'0') }.write(&mut head).unwrap();
    gz.write_all(&head).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(SIZE + 1024), &mut gz).unwrap();
    gz.finish().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(MARK, dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fs::metadata(dir.path().join("root/zeros")).unwrap().len(), SIZE);
}

fn child(dir: &std::path::Path) {
    fs::create_dir(dir.join("root")).unwrap();
    let root = open_dir(&dir.join("root"));
    let mut source = fs::File::open(dir.join("layer.tar.gz")).unwrap();
    let before = high_water();
    let mut split = Vec::new();
    let facts = import(&mut source, root.as_fd(), &options(OVERLAY), Some(&mut split)).unwrap();
    assert_eq!(facts.unpacked_size, SIZE);
    let used = high_water() - before;
    assert!(used < 64 << 10, "{used} KiB");
}

/// Attributes are as large as they please, as long as no file system is asked to keep them.
#[test]
fn attributes_need_little_memory() {
    again("attributes_need_little_memory", || {
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Vec::new();
        let xattrs = (0..16).map(|n| (format!("unknown{n}").into_bytes(), vec![b'v'; 60_000]));
        let xattrs: Vec<_> = xattrs.collect();
        for n in 0..200 {
            let name = format!("f{n}");
            Header { xattrs: xattrs.clone(), ..header(&name, b'0') }.write(&mut tar).unwrap();
        }
        let root = open_dir(dir.path());
        let before = high_water();
        import_with(4, &mut &tar[..], root.as_fd(), &options(OVERLAY), None).unwrap();
        let used = high_water() - before;
        assert!(used < 16 << 10, "{used} KiB");
    });
}

/// Several layers at once, with more directories and files than the process may open.
#[test]
fn few_files_are_open() {
    again("few_files_are_open", || {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let mut tar = Vec::new();
        for n in 0..200 {
            for m in 0..10 {
                let name = format!("d{n}/f{m}");
                Header { size: 20_000, ..header(&name, b'0') }.write(&mut tar).unwrap();
                tar.resize(tar.len() + 20_480, m);
            }
        }
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(160), maximum }).unwrap();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let dir = tempfile::tempdir().unwrap();
                    let root = open_dir(dir.path());
                    import_with(4, &mut &tar[..], root.as_fd(), &options(OVERLAY), None).unwrap();
                });
            }
        });
    });
}

/// A file of very many names costs as much as one of two.
#[test]
fn many_names_of_one_file_need_little_memory() {
    // MAP-6
    again("many_names_of_one_file_need_little_memory", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d".repeat(200));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("first"), "").unwrap();
        let root = open_dir(dir.path());
        let change =
            || change_owners(root.as_fd(), &IdMaps::default(), &IdMaps::default()).unwrap();
        // What threads and buffers take, whatever there is to do.
        change();
        for n in 0..20 {
            let sub = path.join(format!("{n:02}"));
            fs::create_dir(&sub).unwrap();
            for m in 0..1000 {
                fs::hard_link(path.join("first"), sub.join(format!("{m:0200}"))).unwrap();
            }
        }
        let before = high_water();
        change();
        let used = high_water() - before;
        assert!(used < 4 << 10, "{used} KiB");
    });
}

/// Runs a test of that name in a process of its own.
fn again(name: &str, test: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("archive::tests::memory::{name}"), "--nocapture"])
        .env(MARK, "")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
