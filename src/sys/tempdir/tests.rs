//! Whose temp dirs recovery removes (`store-format.md` 10.3).

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::sys::owner_lock::FOREIGN;

/// Removes every temp dir in `root` whose owner is gone.
fn recover(root: &Path) -> Result<()> {
    let mut outcome = Ok(());
    adopt(root, |dir| outcome = dir.cleanup())?;
    outcome
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A process that holds the POSIX lock of a temp dir, as Go does, until it is killed.
fn holder(root: &Path, suffix: &str) -> Child {
    let script = "
import fcntl, os, sys, time
root, n = sys.argv[1:]
f = open(root + '/lock-' + n, 'w+b')
fcntl.lockf(f, fcntl.LOCK_EX)
os.mkdir(root + '/temp-dir-' + n)
open(root + '/temp-dir-' + n + '/0-addition', 'w').close()
print('ready', flush=True)
time.sleep(600)
";
    let mut child = Command::new("python3")
        .arg("-c")
        .arg(script)
        .arg(root)
        .arg(suffix)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn members_and_cleanup() {
    // REM-5
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("a/tmp");
    let mut temp = TempDir::create(&root).unwrap();
    assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(temp.path()).unwrap().mode() & 0o777, 0o700);
    let suffix = temp
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .strip_prefix("temp-dir-")
        .unwrap()
        .to_owned();
    assert!(suffix.bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(names(&root), [format!("lock-{suffix}"), format!("temp-dir-{suffix}")]);
    assert_eq!(
        std::fs::metadata(root.join(format!("lock-{suffix}"))).unwrap().mode() & 0o777,
        0o600
    );

    let added = temp.addition();
    assert_eq!(added, temp.path().join("0-addition"));
    std::fs::create_dir_all(added.join("x/y")).unwrap();
    std::fs::write(base.path().join("old"), "").unwrap();
    assert!(temp.take(&base.path().join("old")).unwrap());
    assert!(!temp.take(&base.path().join("old")).unwrap());
    assert_eq!(names(temp.path()), ["0-addition", "1-old"]);
    let long = base.path().join("n".repeat(255));
    std::fs::write(&long, "").unwrap();
    assert!(temp.take(&long).unwrap());
    temp.cleanup().unwrap();
    assert!(names(&root).is_empty());

    drop(TempDir::create(&root).unwrap());
    assert!(names(&root).is_empty());
}

#[test]
fn what_is_in_use_stays_and_the_rest_goes() {
    // store-format.md 16.21
    let base = tempfile::tempdir().unwrap();
    let root = base.path();
    recover(&root.join("missing")).unwrap();
    let ours = TempDir::create(root).unwrap();
    let mut other = holder(root, "777");
    // Leftovers: both, either one alone, odd suffixes; and names that are none.
    std::fs::create_dir_all(root.join("temp-dir-1/sub/dir")).unwrap();
    std::fs::write(root.join("lock-1"), "").unwrap();
    std::fs::create_dir(root.join("temp-dir-only")).unwrap();
    std::fs::write(root.join("lock-alone"), "").unwrap();
    std::fs::create_dir(root.join("temp-dir-")).unwrap();
    std::fs::write(root.join("other"), "").unwrap();
    for _ in 0..3 {
        recover(root).unwrap();
        let left = names(root);
        assert_eq!(left.len(), 5, "{left:?}");
        assert!(
            ours.path().is_dir()
                && root.join("temp-dir-777/0-addition").exists()
                && root.join("lock-777").exists()
        );
    }
    other.kill().unwrap();
    other.wait().unwrap();
    recover(root).unwrap();
    assert!(!root.join("temp-dir-777").exists() && !root.join("lock-777").exists());
    ours.cleanup().unwrap();
    assert_eq!(names(root), ["other"]);
}

/// As for lock files: looking at a lock that a Go part of this process holds must not drop it.
#[test]
fn a_posix_lock_of_this_process_survives_recovery() {
    let base = tempfile::tempdir().unwrap();
    let (root, path) = (base.path(), base.path().join("lock-5"));
    let go = File::create(&path).unwrap();
    std::fs::create_dir(root.join("temp-dir-5")).unwrap();
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&go, nix::fcntl::FcntlArg::F_SETLK(&range)).unwrap();
    let free = || {
        let script = "import fcntl, sys\ntry: fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept BlockingIOError: sys.exit(1)";
        Command::new("python3").arg("-c").arg(script).arg(&path).status().unwrap().success()
    };
    for _ in 0..2 {
        recover(root).unwrap();
        assert!(root.join("temp-dir-5").exists());
        assert!(!free());
    }
    let key = |f: &File| f.metadata().map(|m| (m.dev(), m.ino())).unwrap();
    let kept = || FOREIGN.lock().1.contains_key(&key(&go));
    assert!(kept());
    // Removed by its owner: the next recovery closes our descriptor.
    std::fs::remove_dir(root.join("temp-dir-5")).unwrap();
    std::fs::remove_file(&path).unwrap();
    recover(root).unwrap();
    assert!(!kept());
}

#[test]
fn what_is_mounted_in_a_leftover_is_detached_and_not_emptied() {
    let base = tempfile::tempdir().unwrap();
    let (root, kept) = (base.path().join("tmp"), base.path().join("kept"));
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("precious"), "").unwrap();
    let point = root.join("temp-dir-9/0-layer/merged");
    std::fs::create_dir_all(&point).unwrap();
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    rustix::mount::mount_bind(&kept, &point).unwrap();
    recover(&root).unwrap();
    assert!(names(&root).is_empty());
    assert_eq!(names(&kept), ["precious"]);
}
