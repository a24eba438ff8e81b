//! Guards are users as layers are (CVM-11, CVM-18).

use super::*;

#[test]
fn what_a_guard_has_brought_is_there_until_it_goes() {
    let Some(site) = Site::new() else { return };
    let (all, both, one) =
        (site.internal(), names(&["a.cern.ch", "b.cern.ch"]), names(&["a.cern.ch"]));
    let guard = all.bring(both.clone()).unwrap();
    let second = all.bring(one.clone()).unwrap();
    // No lock is kept with it: another process would wait for that with locks of its own.
    let repository = Repository::new("a.cern.ch").unwrap();
    let lock = Lock::try_get(&site.path("home/cvmfs"), &repository, Access::Alone).unwrap();
    assert!(lock.is_some());
    drop(lock);
    // A layer comes and goes meanwhile.
    drop(all.acquire("x", &both).unwrap());
    all.release("x", &both);
    assert!(mounted(&all, "a.cern.ch") && mounted(&all, "b.cern.ch"));
    assert_eq!(site.mounts(), 2, "each once");
    drop(guard);
    assert!(mounted(&all, "a.cern.ch"), "the second one's");
    assert!(!mounted(&all, "b.cern.ch"));
    // A layer that has come stays.
    drop(all.acquire("x", &one).unwrap());
    drop(second);
    assert!(mounted(&all, "a.cern.ch"));
    all.release("x", &one);
    assert!(!mounted(&all, "a.cern.ch") && all.users().is_empty());
}

#[test]
fn a_guard_has_all_or_is_none() {
    // 18.3
    let Some(site) = Site::new() else { return };
    let all = site.internal();
    let e = all.bring(names(&["a.cern.ch", "missing.cern.ch"])).unwrap_err();
    assert!(e.to_string().contains("no such repository (exit code 17)"), "{e}");
    assert!(!mounted(&all, "a.cern.ch") && all.users().is_empty());
}
