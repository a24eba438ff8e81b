//! Clients that do not come to an end, or do so in another way than they should (18.3).

use super::*;

/// Answers that come at once, on a machine that is busy.
const SOON: Duration = Duration::from_secs(8);

/// A client that serves `b.cern.ch` as ever; for any other repository it does what `script` says, with `$3` and `$4` as in its call.
fn site_with(script: &str) -> Option<Site> {
    let site = Site::new()?;
    site.program(
        "cvmfs2",
        &format!("[ \"$3\" = b.cern.ch ] || {{\n{script}\n}}\n{}", site.binds()),
    );
    Some(site)
}

/// What is running with the site's directory among its arguments.
fn left(site: &Site) -> Vec<String> {
    let dir = site.path("");
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    all.filter(|line| line.contains(dir.to_str().unwrap())).collect()
}

/// Until `done`, which others do.
fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_client_that_hangs_is_ended_and_keeps_nobody_from_other_repositories() {
    let (one, other) = (names(&["a.cern.ch"]), names(&["b.cern.ch"]));
    for script in [
        "exec sleep 600",
        "trap '' TERM; while :; do sleep 1; done",
        // It mounts, and hangs before it says so; or hands that on to one in another session.
        "mount --bind \"$4\" \"$4\"; sleep 600",
        "setsid -f sh -c 'sleep 600; mount --bind \"$1\" \"$1\"' sh \"$4\"; sleep 600",
    ] {
        let Some(site) = site_with(script) else { return };
        let all = site.within(10);
        std::thread::scope(|scope| {
            let begun = Instant::now();
            let hangs = scope.spawn(|| all.acquire("x", &one));
            wait_for("the client is called", || site.mounts() == 1);
            // In this process and in another one: it is mounted, used and unmounted.
            for user in [&all, &site.within(10)] {
                let since = Instant::now();
                let held = user.acquire("y", &other).unwrap();
                assert!(mounted(user, "b.cern.ch"), "{script}");
                drop(held);
                user.release("y", &other);
                assert!(!mounted(user, "b.cern.ch"), "{script}");
                assert!(since.elapsed() < SOON, "{script}: {:?}", since.elapsed());
            }
            assert!(!hangs.is_finished(), "{script}");
            let e = hangs.join().unwrap().unwrap_err();
            assert!(begun.elapsed() < Duration::from_secs(60), "{script}");
            assert_eq!(e.kind(), ErrorKind::Io);
            let text = e.to_string();
            for says in ["a.cern.ch", "after 10 s", "cvmfsMountTimeout"] {
                assert!(text.contains(says), "{script}: {says}: {text}");
            }
        });
        assert!(!mounted(&all, "a.cern.ch") && all.users().is_empty(), "{script}");
        assert_eq!(left(&site), Vec::<String>::new(), "{script}");
        // And when it answers again, all is well.
        site.program("cvmfs2", &site.binds());
        drop(all.acquire("x", &one).unwrap());
        assert!(mounted(&all, "a.cern.ch"), "{script}");
    }
}

#[test]
fn of_several_repositories_those_that_answer_stay_free() {
    // One of the layer's repositories hangs: nobody waits for its other ones, and they are given back.
    let Some(site) = site_with("[ \"$3\" = a.cern.ch ] || exec sleep 600") else { return };
    let (all, one) = (site.within(8), names(&["a.cern.ch"]));
    std::thread::scope(|scope| {
        let hangs = scope.spawn(|| all.acquire("x", &names(&["a.cern.ch", "z.cern.ch"])));
        wait_for("the second one is mounted", || site.mounts() == 2);
        let begun = Instant::now();
        drop(all.acquire("y", &one).unwrap());
        all.release("y", &one);
        // Another process may even unmount it.
        let other = site.within(8);
        drop(other.acquire("z", &one).unwrap());
        other.release("z", &one);
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        assert!(!hangs.is_finished());
        assert!(hangs.join().unwrap().is_err());
    });
    assert!(!mounted(&all, "a.cern.ch") && all.users().is_empty());
}

#[test]
fn who_waits_for_a_hanging_client_tries_for_himself() {
    let Some(site) = site_with("sleep 600") else { return };
    let (all, one) = (site.within(1), names(&["a.cern.ch"]));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let both = ["x", "y"].map(|user| {
            let (all, one) = (&all, &one);
            scope.spawn(move || all.acquire(user, one).unwrap_err().to_string())
        });
        for e in both.map(|one| one.join().unwrap()) {
            assert!(e.contains("after 1 s"), "{e}");
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(site.mounts(), 2);
    assert!(all.users().is_empty());
}

#[test]
fn a_client_that_dies_is_named_and_one_that_is_slow_is_waited_for() {
    let Some(site) = site_with("echo no memory >&2; kill -KILL $$") else { return };
    let (all, one) = (site.within(30), names(&["a.cern.ch"]));
    let e = all.acquire("x", &one).unwrap_err();
    assert!(e.to_string().contains("no memory (exit code 137)"), "{e}");
    // Behind its mount.
    site.program("cvmfs2", &format!("{}; kill -KILL $$", site.binds()));
    assert!(all.acquire("x", &one).is_err());
    assert!(!mounted(&all, "a.cern.ch") && all.users().is_empty());
    site.program("cvmfs2", &format!("sleep 2; {}", site.binds()));
    drop(all.acquire("x", &one).unwrap());
    assert!(all.folder(&layer("a.cern.ch")).is_ok());
}

#[test]
fn a_talk_that_hangs_is_ended_too() {
    // CVM-22
    let Some(site) = Site::new() else { return };
    let all = site.within(1);
    drop(all.acquire("x", &names(&["a.cern.ch"])).unwrap());
    site.program("cvmfs_talk", "sleep 600");
    let e = all.refresh(&Repository::new("a.cern.ch").unwrap()).unwrap_err();
    assert!(e.to_string().contains("news of the repository a.cern.ch"), "{e}");
    assert!(e.to_string().contains("after 1 s"), "{e}");
    assert!(mounted(&all, "a.cern.ch"));
}
