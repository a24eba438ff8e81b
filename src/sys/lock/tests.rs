//! Against real processes with POSIX locks, as Go programs hold them (`store-format.md` 9.1, 9.2).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use super::*;

/// A process that takes and drops POSIX locks on command, and answers each with `ok` or `busy`.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const SCRIPT: &str = "
import fcntl, sys
f = open(sys.argv[1], 'r+b')
modes = {'read': fcntl.LOCK_SH, 'write': fcntl.LOCK_EX, 'try-read': fcntl.LOCK_SH | fcntl.LOCK_NB,
         'try-write': fcntl.LOCK_EX | fcntl.LOCK_NB, 'unlock': fcntl.LOCK_UN}
for line in sys.stdin:
    try:
        fcntl.lockf(f, modes[line.strip()])
        print('ok', flush=True)
    except BlockingIOError:
        print('busy', flush=True)
";

impl Peer {
    fn new(path: &Path) -> Self {
        let mut child = Command::new("python3")
            .arg("-c")
            .arg(SCRIPT)
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn send(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.answer()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock_in(dir: &tempfile::TempDir) -> (PathBuf, Arc<LockFile>) {
    let path = dir.path().join("layers.lock");
    let lock = LockFile::open(&path, LockAccess::ReadWrite).unwrap();
    (path, lock)
}

#[test]
fn other_processes_are_excluded_both_ways() {
    // store-format.md 16.1
    let dir = tempfile::tempdir().unwrap();
    let (path, lock) = lock_in(&dir);
    let mut peer = Peer::new(&path);
    let guard = lock.write().unwrap();
    assert_eq!(peer.ask("try-read"), "busy");
    drop(guard);
    let guard = lock.read().unwrap();
    assert_eq!(peer.ask("try-write"), "busy");
    assert_eq!(peer.ask("try-read"), "ok");
    drop(guard);
    assert!(lock.try_write().unwrap().is_none());
    assert_eq!(peer.ask("unlock"), "ok");
    let guard = lock.try_write().unwrap().unwrap();
    assert_eq!(peer.ask("try-read"), "busy");
    drop(guard);
    assert_eq!(peer.ask("try-write"), "ok");
    assert!(lock.try_write().unwrap().is_none());
}

#[test]
fn waiting_ends_when_the_other_process_unlocks() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lock) = lock_in(&dir);
    let mut peer = Peer::new(&path);
    for ours_writes in [false, true] {
        assert_eq!(peer.ask("write"), "ok");
        let (sent, received) = mpsc::channel();
        std::thread::scope(|s| {
            s.spawn(|| {
                let guards = if ours_writes {
                    (None, Some(lock.write().unwrap()))
                } else {
                    (Some(lock.read().unwrap()), None)
                };
                sent.send(()).unwrap();
                drop(guards);
            });
            assert!(received.recv_timeout(Duration::from_millis(150)).is_err());
            assert_eq!(peer.ask("unlock"), "ok");
            received.recv_timeout(Duration::from_secs(10)).unwrap();
        });
    }
    // The reverse: the peer waits for us.
    let guard = lock.write().unwrap();
    peer.send("write");
    std::thread::sleep(Duration::from_millis(50));
    drop(guard);
    assert_eq!(peer.answer(), "ok");
}

/// The rule of 9.1: our opening, locking and dropping leaves the POSIX locks of this very process alone.
#[test]
fn posix_locks_of_the_same_process_survive() {
    // store-format.md 16.2
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layers.lock");
    let go =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let range = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&go, FcntlArg::F_SETLK(&range)).unwrap();
    let mut peer = Peer::new(&path);
    assert_eq!(peer.ask("try-write"), "busy");
    for access in [LockAccess::ReadOnly, LockAccess::ReadWrite, LockAccess::ReadOnly] {
        let lock = LockFile::open(&path, access).unwrap();
        drop(lock.read().unwrap());
        assert_eq!(lock.token().unwrap().len, 0);
        drop(lock);
        assert_eq!(peer.ask("try-write"), "busy", "{access:?}");
    }
    // And they exclude us.
    assert!(LockFile::open(&path, LockAccess::ReadWrite).unwrap().try_write().unwrap().is_none());
    drop(go);
    assert_eq!(peer.ask("try-write"), "ok");
}

#[test]
fn threads_exclude_each_other_and_readers_share() {
    let dir = tempfile::tempdir().unwrap();
    let (path, lock) = lock_in(&dir);
    let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
    assert!(lock.try_write().unwrap().is_none());
    drop(one);
    assert_eq!(Peer::new(&path).ask("try-write"), "busy", "given back by the last reader only");
    drop(two);
    let inside = AtomicU64::new(0);
    let turns = AtomicU64::new(0);
    std::thread::scope(|s| {
        for n in 0..8 {
            let (lock, inside, turns) = (&lock, &inside, &turns);
            s.spawn(move || {
                for _ in 0..200 {
                    if n % 2 == 0 {
                        let _guard = lock.write().unwrap();
                        assert_eq!(inside.fetch_add(1000, Ordering::SeqCst), 0);
                        inside.fetch_sub(1000, Ordering::SeqCst);
                    } else {
                        let _guard = lock.read().unwrap();
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 1000);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                    turns.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(turns.into_inner(), 1600);
    assert_eq!(Peer::new(&path).ask("try-write"), "ok");
}

#[test]
fn a_reader_may_read_again_while_a_writer_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (_, lock) = lock_in(&dir);
    let outer = lock.read().unwrap();
    std::thread::scope(|s| {
        let writer = s.spawn(|| drop(lock.write().unwrap()));
        while relock(&lock.state).waiting_writers == 0 {
            std::thread::yield_now();
        }
        drop(lock.read().unwrap());
        drop(outer);
        writer.join().unwrap();
    });
}

#[test]
fn one_object_for_each_inode_and_no_second_descriptor() {
    // store-format.md 16.3
    let dir = tempfile::tempdir().unwrap();
    let (path, lock) = lock_in(&dir);
    let alias = dir.path().join("alias");
    std::fs::hard_link(&path, &alias).unwrap();
    for other in [&path, &alias, &dir.path().join("./layers.lock")] {
        assert!(Arc::ptr_eq(&lock, &LockFile::open(other, LockAccess::ReadWrite).unwrap()));
        assert!(Arc::ptr_eq(&lock, &LockFile::open(other, LockAccess::ReadOnly).unwrap()));
    }
    assert_eq!(relock(&lock.state).files.len(), 1);
    // Replaced on disk: another lock.
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    let new = LockFile::open(&path, LockAccess::ReadWrite).unwrap();
    assert!(!Arc::ptr_eq(&lock, &new));
    let _old = lock.write().unwrap();
    assert!(new.try_write().unwrap().is_some());
}

#[test]
fn a_lock_opened_for_reading_can_be_opened_for_writing_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.lock");
    std::fs::write(&path, "").unwrap();
    let reading = LockFile::open(&path, LockAccess::ReadOnly).unwrap();
    assert_eq!(reading.write().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(reading.try_write().unwrap_err().kind(), ErrorKind::ReadOnly);
    let guard = reading.read().unwrap();
    let writing = LockFile::open(&path, LockAccess::ReadWrite).unwrap();
    assert!(writing.try_write().unwrap().is_none());
    drop(guard);
    writing.write().unwrap().touch().unwrap();
    assert_eq!(Peer::new(&path).ask("try-write"), "ok");
}

#[test]
fn missing_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no/such/dir/layers.lock");
    let absent = LockFile::open(&path, LockAccess::ReadOnly).unwrap();
    assert!(absent.is_absent());
    assert!(!path.exists() && !dir.path().join("no").exists());
    let guards = (absent.read().unwrap(), absent.read().unwrap());
    assert_eq!(absent.token().unwrap(), Token::default());
    drop(guards);
    assert_eq!(absent.write().unwrap_err().kind(), ErrorKind::ReadOnly);
    let made = LockFile::open(&path, LockAccess::ReadWrite).unwrap();
    assert!(!made.is_absent());
    let mode = |p: &Path| std::fs::metadata(p).unwrap().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("no/such")), 0o700);
    assert_eq!(mode(&path) & 0o600, 0o600);
    let e = LockFile::open(dir.path(), LockAccess::ReadOnly).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
}

#[test]
fn read_only_media() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (there, missing) = (dir.path().join("there.lock"), dir.path().join("missing.lock"));
    std::fs::write(&there, "record").unwrap();
    rustix::mount::mount_bind(dir.path(), dir.path()).unwrap();
    let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount_remount(dir.path(), flags, "").unwrap();
    let open = |path, access| LockFile::open(path, access);
    let outcome = std::panic::catch_unwind(|| {
        let lock = open(&there, LockAccess::ReadOnly).unwrap();
        let _guard = lock.read().unwrap();
        assert!(!lock.is_absent());
        assert_eq!(lock.token().unwrap().len, 6);
        assert!(open(&missing, LockAccess::ReadOnly).unwrap().is_absent());
        for path in [&there, &missing] {
            let e = open(path, LockAccess::ReadWrite).unwrap_err();
            assert_eq!(e.os_error(), Some(io::ErrorKind::ReadOnlyFilesystem));
        }
    });
    // Detached: the lock's descriptor stays open.
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    outcome.unwrap();
}

#[test]
fn tokens_are_64_fresh_bytes_in_place() {
    // store-format.md 16.4
    let dir = tempfile::tempdir().unwrap();
    let (path, lock) = lock_in(&dir);
    assert_eq!(lock.token().unwrap(), Token::default());
    // Older writers leave other lengths: compared all the same, and never truncated.
    std::fs::write(&path, "x".repeat(80)).unwrap();
    let before = lock.token().unwrap();
    let guard = lock.write().unwrap();
    let first = guard.touch().unwrap();
    assert_eq!(lock.token().unwrap(), first);
    let second = guard.touch().unwrap();
    assert!(before != first && first != second);
    drop(guard);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 80);
    assert_eq!(bytes[..64], second.bytes);
    assert_eq!(bytes[16..20], std::process::id().to_le_bytes());
    let number = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap());
    assert!(number(&second.bytes[..8]) > 1_700_000_000_000_000_000);
    assert!(number(&second.bytes[8..16]) > number(&first.bytes[8..16]));
    std::fs::write(&path, "short").unwrap();
    assert_eq!(lock.token().unwrap().len, 5);
}
