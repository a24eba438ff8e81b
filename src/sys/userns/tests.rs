//! The child is nobody's: no signal, no wait of the host's, no process that stays.

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as Number, sigaction};

use super::*;

const fn range(container_id: u32, host_id: u32, size: u32) -> IdMap {
    IdMap { container_id, host_id, size }
}

fn maps() -> IdMaps {
    IdMaps::new(&[range(0, 100_000, 65_536)], &[range(0, 200_000, 5), range(5, 300_000, 10)])
}

/// What a process in the namespace reads of its maps.
fn seen_inside(namespace: &OwnedFd, file: &str) -> Vec<String> {
    let of = format!("--user=/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    let output = std::process::Command::new("nsenter")
        .args([&of, "-S", "0", "-G", "0", "cat", &format!("/proc/self/{file}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_namespace_has_the_maps_and_outlives_its_process() {
    // MNT-7, GET-34
    let namespace = user_namespace(&maps()).unwrap();
    assert_eq!(seen_inside(&namespace, "uid_map"), ["0", "100000", "65536"]);
    assert_eq!(seen_inside(&namespace, "gid_map"), ["0", "200000", "5", "5", "300000", "10"]);
    let own = std::fs::metadata("/proc/self/ns/user").unwrap().ino();
    assert_ne!(File::from(namespace).metadata().unwrap().ino(), own);
}

#[test]
fn maps_that_no_kernel_takes_are_refused() {
    let overlapping = IdMaps::new(&[range(0, 1000, 10), range(5, 2000, 10)], &[range(0, 0, 1)]);
    let none = IdMaps::new(&[range(0, 1000, 10)], &[]);
    let endless = IdMaps::new(&vec![range(0, 0, 1); 2000], &[range(0, 0, 1)]);
    for wrong in [overlapping, none, endless] {
        let e = user_namespace(&wrong).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{e}");
    }
}

static CHILD_SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    CHILD_SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// In a process of its own, since other tests start children: the test program, asked for this test alone.
#[test]
fn the_host_hears_nothing_of_the_child() {
    const ALONE: &str = "ORLOP_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "sys::userns::tests::the_host_hears_nothing_of_the_child";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1", "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
        return;
    }
    // MNT-7
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only adds to an atomic number.
    unsafe { sigaction(Number::SIGCHLD, &action) }.unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A host's loop over all its children, such as a reaper's.
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let waited = rustix::process::wait(rustix::process::WaitOptions::empty());
                assert_eq!(waited.err(), Some(rustix::io::Errno::CHILD));
            }
        });
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        user_namespace(&maps()).unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(CHILD_SIGNALS.load(Ordering::Relaxed), 0);
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    for task in tasks {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        assert_eq!(children, "", "nobody stays");
    }
    assert_eq!(seen_inside(&user_namespace(&maps()).unwrap(), "uid_map").len(), 3);
    assert_eq!(CHILD_SIGNALS.load(Ordering::Relaxed), 1, "the handler works: that was nsenter");
}

#[test]
fn the_child_blocks_every_signal_and_holds_no_file_but_its_pipe() {
    let child = Child::start().unwrap();
    let files = || {
        let fds = std::fs::read_dir(child.file("fd")).unwrap().flatten();
        fds.map(|f| f.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while files() != ["0"] {
        assert!(std::time::Instant::now() < until, "{:?}", files());
        std::thread::yield_now();
    }
    let status = child.file("status");
    let (_, mask) = crate::sys::threads::testing::mask(status.to_str().unwrap()).unwrap();
    assert_eq!(mask, crate::sys::threads::testing::ALL);
    drop(child);
    assert!(!status.exists());
}
