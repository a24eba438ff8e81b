//! Repositories that are mounted and do not answer, or whose client has died.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::*;
use crate::sys::refused::{self, Call};
use crate::sys::silent::Silent;
use crate::thin::{ThinImage, ThinLayer};

/// What the answers of one second's wait may take on a machine that is busy, with the end of who asks.
const SOON: Duration = Duration::from_secs(20);

fn thin(url: CvmfsUrl) -> ThinImage {
    ThinImage::of([ThinLayer { digest: crate::Digest::sha256(b"1"), url: Some(url) }])
}

fn says(e: &Error, place: &Path) {
    assert_eq!(e.kind(), ErrorKind::Io, "{e}");
    assert_eq!(e.file(), Some(place));
    let (text, advice) = (e.to_string(), e.advice().unwrap_or_default());
    for part in ["a.cern.ch", "mounted there", "not answered for 1 s"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(advice.contains("umount -l") && advice.contains("cvmfsMountTimeout"), "{advice}");
}

#[test]
fn a_mount_that_does_not_answer_is_an_error() {
    // 18.3
    let Some(site) = Site::new() else { return };
    let (all, one) = (site.within(1), names(&["a.cern.ch"]));
    let place = site.path("home/cvmfs/a.cern.ch");
    fs::create_dir_all(&place).unwrap();
    let Some(mut silent) = Silent::at(&place) else { return };
    let begun = Instant::now();
    says(&all.acquire("x", &one).unwrap_err(), &place);
    says(&all.bring(one.clone()).unwrap_err(), &place);
    says(&all.await_answers(&thin(layer("a.cern.ch"))).unwrap_err(), &place);
    assert!(begun.elapsed() < 3 * SOON, "{:?}", begun.elapsed());
    assert!(all.users().is_empty());
    assert_eq!(site.mounts(), 0, "it may come back");
    // The others are as ever, and it can be unmounted.
    drop(all.acquire("x", &names(&["b.cern.ch"])).unwrap());
    // Its process ends: then it is mounted again, be there another one below.
    silent.die();
    drop(all.acquire("x", &one).unwrap());
    assert!(all.folder(&layer("a.cern.ch")).is_ok());
    all.await_answers(&thin(layer("a.cern.ch"))).unwrap();
    let Some(_silent) = Silent::at(&place) else { return };
    all.release("x", &one);
    assert!(!all.users().contains_key(&Repository::new("a.cern.ch").unwrap()));
}

#[test]
fn what_others_have_mounted_and_does_not_answer_is_an_error() {
    // CVM-4
    let Some(site) = Site::new() else { return };
    let method = Method::External(site.path("published"), Duration::from_secs(1));
    let (all, one) = (Repositories::new(&site.path("home"), method), names(&["a.cern.ch"]));
    for place in ["published/a.cern.ch", "home/cvmfs/a.cern.ch"].map(|place| site.path(place)) {
        fs::create_dir_all(&place).unwrap();
        let Some(_silent) = Silent::at(&place) else { return };
        let begun = Instant::now();
        // Where it is mounted right where it is shown, nobody needs to look before its layers are asked for.
        let used = all.acquire("x", &one).map(drop);
        let e = used.and_then(|()| all.await_answers(&thin(layer("a.cern.ch")))).unwrap_err();
        says(&e, &place);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        all.release("x", &one);
        let _ = fs::remove_file(site.path("home/cvmfs/a.cern.ch"));
    }
}

#[test]
fn a_machine_that_is_short_of_processes_is_not_kept_waiting() {
    // 18.3
    let Some(site) = Site::new() else { return };
    let (all, image) = (site.internal(), thin(layer("a.cern.ch")));
    drop(all.acquire("x", &names(&["a.cern.ch"])).unwrap());
    for errno in [Errno::AGAIN, Errno::NOMEM, Errno::MFILE] {
        let e = refused::with(&[(Call::Clone, errno)], || all.await_answers(&image).unwrap_err());
        assert_eq!((e.kind(), e.raw_os_error()), (ErrorKind::Io, Some(errno.raw_os_error())));
        assert_eq!(e.file(), Some(site.path("home/cvmfs/a.cern.ch").as_path()));
        assert!(e.to_string().contains("using the repository a.cern.ch"), "{e}");
        assert!(e.advice().is_some_and(|advice| advice.contains("processes")), "{e}");
    }
    // Where no child can be made at all, this process asks for itself.
    for errno in [Errno::NOSYS, Errno::PERM] {
        refused::with(&[(Call::Clone, errno)], || all.await_answers(&image).unwrap());
    }
}

/// How many processes wait for an answer of the repository.
fn waiting(site: &Site) -> usize {
    let sign = site.path("home/cvmfs/.a.cern.ch~");
    let all = fs::read_dir("/proc").unwrap();
    all.filter(|entry| {
        let input = entry.as_ref().map(|entry| fs::read_link(entry.path().join("fd/0")));
        input.is_ok_and(|input| input.is_ok_and(|input| input == sign))
    })
    .count()
}

#[test]
fn however_often_it_is_tried_one_process_is_left_behind() {
    // CVM-4, 18.3: whoever has mounted it
    let Some(site) = Site::new() else { return };
    let one = names(&["a.cern.ch"]);
    let external = || {
        let method = Method::External(site.path("published"), Duration::from_secs(1));
        Repositories::new(&site.path("home"), method)
    };
    for (place, homes, mounts) in [
        ("published/a.cern.ch", [external(), external()], 0),
        ("home/cvmfs/a.cern.ch", [site.within(1), site.within(1)], 1),
    ] {
        let place = site.path(place);
        let _ = fs::remove_file(site.path("home/cvmfs/a.cern.ch"));
        fs::create_dir_all(&place).unwrap();
        let Some(mut silent) = Silent::at(&place) else { return };
        let [here, there] = &homes;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // No signal takes a question back that has been read.
            scope.spawn(|| silent.greet_and_read_on(&stop));
            let tries = [here, here, there].map(|all| {
                let begun = Instant::now();
                (all.acquire("x", &one).map(drop), begun.elapsed())
            });
            stop.store(true, Ordering::Relaxed);
            for (tried, took) in tries {
                says(&tried.unwrap_err(), &place);
                assert!(took < SOON, "{took:?}");
            }
        });
        assert_eq!(waiting(&site), 1, "{place:?}");
        // What is mounted in its place has nothing to do with him who is left.
        detach(&place).unwrap();
        drop(here.acquire("x", &one).unwrap());
        assert_eq!((site.mounts(), waiting(&site)), (mounts, 1), "{place:?}");
        here.release("x", &one);
        silent.die();
        let begun = Instant::now();
        while waiting(&site) > 0 {
            assert!(begun.elapsed() < SOON, "he goes with the file system");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
