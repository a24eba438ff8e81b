//! Memory does not grow with a layer's bytes (ARC-5).

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Command;

use super::{OVERLAY, header, open_dir, options};
use crate::archive::pack::Header;
use crate::archive::{Compression, Compressor, import};

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
