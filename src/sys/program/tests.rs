//! Programs that end by themselves, and those that must be ended.

use std::io::{Seek as _, Write as _};
use std::time::Instant;

use super::*;

fn shell(script: &str, directory: &str) -> io::Result<Ended> {
    let environment = [("GIVEN".into(), "a value".into())].into();
    run(
        Path::new("/bin/sh"),
        &["-c".as_ref(), script.as_ref()],
        Path::new(directory),
        &environment,
        Streams::default(),
    )
}

#[test]
fn it_reads_and_writes_what_it_is_given() {
    // MNT-7, APL-6
    let (mut given, mut taken) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    given.write_all(b"to be read").unwrap();
    given.rewind().unwrap();
    let streams = Streams { input: Some(given.as_fd()), output: Some(taken.as_fd()) };
    let none = BTreeMap::new();
    let ended = run(Path::new("/bin/cat"), &[], Path::new("/"), &none, streams).unwrap();
    assert_eq!(ended, Ended::default());
    taken.rewind().unwrap();
    assert_eq!(io::read_to_string(taken).unwrap(), "to be read");
}

#[test]
fn what_it_says_and_how_it_ends_come_back() {
    // MNT-7, GET-29
    let ended =
        shell("pwd >&2; echo \"$GIVEN$HOME\" >&2; read x; echo lost; exit 7", "/proc").unwrap();
    assert_eq!(ended, Ended { code: 7, said: "/proc\na value".into(), overdue: false });
    assert_eq!(shell("kill -TERM $$", "/").unwrap().code, 128 + 15);
    assert_eq!(shell("true", "/").unwrap(), Ended::default());
    let long = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2", "/").unwrap();
    assert_eq!((long.code, long.said.len()), (0, SAID_MAX));
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let start =
        |path| run(Path::new(path), &[], Path::new("/"), &BTreeMap::new(), Streams::default());
    let missing = start("/no/such/program");
    assert_eq!(missing.unwrap_err().raw_os_error(), Some(libc::ENOENT));
    assert_eq!(shell("true", "/no/such/place").unwrap_err().raw_os_error(), Some(libc::ENOENT));
    let no_program = start("/etc/passwd");
    assert_eq!(no_program.unwrap_err().raw_os_error(), Some(libc::EACCES));
}

#[test]
fn nobody_waits_for_what_it_leaves_behind() {
    let begun = Instant::now();
    // It holds on to standard error, as no file system in user space should.
    assert_eq!(shell("sleep 5 & echo on its way >&2", "/").unwrap().said, "on its way");
    assert!(begun.elapsed().as_secs() < 4);
}

/// Runs the script with a limit; returns how it ended, and how long that took.
fn shell_within(limit: Duration, script: &str) -> (Ended, Duration) {
    let (begun, environment) = (Instant::now(), [("PATH".into(), "/usr/bin:/bin".into())].into());
    let words = ["-c".as_ref(), script.as_ref()];
    let ended = run_within(limit, Path::new("/bin/sh"), &words, Path::new("/"), &environment);
    (ended.unwrap(), begun.elapsed())
}

/// The processes that have `mark` among their arguments.
fn alive(mark: &str) -> usize {
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    all.filter(|line| line.split(|b| *b == 0).any(|word| word == mark.as_bytes())).count()
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    // 18.3
    // The longer ones for a machine on which a program takes as long to begin, or to end.
    let limits = [300, 3000, 20_000].map(Duration::from_millis);
    // One that goes when it is asked, one that does not, one with children, one whose children have groups and parents of their own.
    for (mark, script, code, slow) in [
        ("600.01", "echo here >&2; exec sleep 600.01", 128 + 15, false),
        ("600.02", "trap '' TERM; echo here >&2; while :; do sleep 600.02; done", 128 + 9, true),
        ("600.03", "echo here >&2; sleep 600.03 & sleep 600.03", 128 + 15, false),
        (
            "600.04",
            "echo here >&2; setsid -f setsid sleep 600.04; exec sleep 600.04",
            128 + 15,
            false,
        ),
        ("600.05", "echo here >&2; (trap '' TERM; sleep 600.05 & wait) & wait", 128 + 15, false),
    ] {
        let over = |limit: Duration, took: Duration| took.saturating_sub(limit).as_millis();
        let tries = limits.map(|limit| move || (limit, shell_within(limit, script)));
        let fits = |(limit, (ended, took)): &(Duration, (Ended, Duration))| {
            !ended.said.is_empty() && (over(*limit, *took) >= 1700) == slow
        };
        let (limit, (ended, took)) = tries.into_iter().map(|run| run()).find(fits).expect(script);
        assert_eq!(ended, Ended { code, said: "here".into(), overdue: true }, "{script}");
        assert!(over(limit, took) < 20_000, "{script}: {took:?}");
        assert_eq!(alive(mark), 0, "{script}");
    }
}

#[test]
fn a_limit_changes_nothing_for_a_program_that_keeps_it() {
    let long = Duration::from_secs(60);
    let (ended, took) = shell_within(long, "sleep 0.2; echo here >&2; exit 7");
    assert_eq!(ended, Ended { code: 7, said: "here".into(), overdue: false });
    assert!(took.as_secs() < 30);
    // What it leaves behind on purpose stays, as file systems in user space do.
    let (ended, _) = shell_within(long, "setsid -f sleep 3.01");
    assert_eq!(ended, Ended::default());
    assert_eq!(alive("3.01"), 1);
    let missing = run_within(long, Path::new("/no/such"), &[], Path::new("/"), &BTreeMap::new());
    assert_eq!(missing.unwrap_err().raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn a_program_has_no_files_and_no_mask_of_the_hosts() {
    let (_held, _end) = rustix::pipe::pipe().unwrap();
    // The shell itself looks at its mask: while it starts a program it has another one.
    let look = "while read -r line; do case $line in SigBlk*) echo \"$line\" >&2;; esac; done </proc/$$/status";
    let files = shell(&format!("ls -l /proc/$$/fd >&2; {look}"), "/").unwrap().said;
    let leads = |line: &str| line.split_once(" -> ").map(|(_, target)| target.to_owned());
    let targets: std::collections::BTreeSet<_> = files.lines().filter_map(leads).collect();
    assert_eq!(targets.len(), 2, "/dev/null and its standard error: {files}");
    assert!(files.ends_with("0000000000000000"), "{files}");
}

/// In a process of its own: whether the test's other threads have children is nobody's business here.
#[test]
fn the_host_hears_nothing_of_it() {
    // MNT-7: no SIGCHLD, and wait(-1) finds no child, before and after
    const IN_CHILD: &str = "ORLOP_TEST_QUIET_PROGRAM";
    if std::env::var_os(IN_CHILD).is_none() {
        let name = "sys::program::tests::the_host_hears_nothing_of_it";
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--test-threads=1", "--nocapture"]).env(IN_CHILD, "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let mut child = nix::sys::signal::SigSet::empty();
    child.add(nix::sys::signal::Signal::SIGCHLD);
    child.thread_block().unwrap();
    let waiting = std::thread::spawn(|| shell("sleep 0.5; exit 3", "/").unwrap());
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 300 {
        let any =
            rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        assert_eq!(any.unwrap_err(), Errno::CHILD);
    }
    assert_eq!(waiting.join().unwrap().code, 3);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    for pending in ["SigPnd:", "ShdPnd:"] {
        let set = u64::from_str_radix(field(pending), 16).unwrap();
        assert_eq!(set & 1 << (libc::SIGCHLD - 1), 0, "{pending}");
    }
}

#[test]
fn a_file_system_that_does_not_answer_is_not_waited_for() {
    // 18.3
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(60));
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let ask = |limit, root: &Path, ways: &[Vec<_>]| ask_within(limit, root, ways, None).unwrap();
    let way = vec![vec![dir.path().join("a"), dir.path().join("a/b")], Vec::new()];
    assert!(matches!(ask(long, dir.path(), &way), Reply::Answers));
    let fails = |root: &str, errno| match ask(long, Path::new(root), &[]) {
        Reply::Fails(e) => assert_eq!(e.raw_os_error(), Some(errno), "{root}"),
        reply => panic!("{root}: {reply:?}"),
    };
    fails("/no/such", libc::ENOENT);
    fails("/etc/passwd", libc::ENOTDIR);

    let silent_at = dir.path().join("a");
    std::fs::create_dir(&silent_at).unwrap();
    let Some(mut silent) = crate::sys::silent::Silent::at(&silent_at) else { return };
    assert!(crate::sys::mount::is_mount_point(&silent_at).unwrap(), "nothing is asked for that");
    for (root, ways) in [(silent_at.as_path(), &[][..]), (dir.path(), &way)] {
        let begun = Instant::now();
        assert!(matches!(ask(short, root, ways), Reply::Silent), "{root:?}");
        assert!(begun.elapsed().as_secs() < 20, "{root:?}");
    }
    // Once its process has read the question, not even a kill ends who asks: he is left behind until the file system ends.
    std::thread::scope(|scope| {
        scope.spawn(|| silent.greet_and_read());
        let begun = Instant::now();
        assert!(matches!(ask(short, &silent_at, &[]), Reply::Silent));
        assert!((4..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    });
    silent.die();
    fails(silent_at.to_str().unwrap(), libc::ENOTCONN);
    assert!(crate::sys::mount::is_mount_point(&silent_at).unwrap());
}

/// The processes that have this file as their standard input, each with its parent.
fn readers_of(path: &Path) -> Vec<(i32, i32)> {
    let of = |entry: io::Result<std::fs::DirEntry>| {
        let dir = entry.ok()?.path();
        let id = dir.file_name()?.to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (std::fs::read_link(dir.join("fd/0")).ok()? == path).then_some((id, parent))
    };
    std::fs::read_dir("/proc").unwrap().filter_map(of).collect()
}

#[test]
fn who_asks_may_be_killed() {
    // 18.3
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (at, sign) = (dir.path().join("a"), dir.path().join("sign"));
    std::fs::create_dir(&at).unwrap();
    let file = std::fs::File::create(&sign).unwrap();
    let Some(_silent) = crate::sys::silent::Silent::at(&at) else { return };
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let asked =
            scope.spawn(|| ask_within(Duration::from_secs(60), &at, &[], Some(file.as_fd())));
        // The one that asks is a child of the one that waits for it.
        let asks = loop {
            let all = readers_of(&sign);
            let own = |parent: &i32| all.iter().any(|(id, _)| id == parent);
            match all.iter().find(|(_, parent)| own(parent)) {
                Some((id, _)) => break *id,
                None if begun.elapsed().as_secs() > 30 => panic!("nobody asks"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(asks), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        assert!(matches!(asked.join().unwrap().unwrap(), Reply::Killed));
        assert!(begun.elapsed().as_secs() < 50, "{:?}", begun.elapsed());
    });
}
