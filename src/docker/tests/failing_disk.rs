//! Records that the disk does not give just now: neither damaged nor gone, so that nothing can be said about the others.

use super::*;

/// A file that is there and cannot be read, until this value goes.
struct Unreadable(PathBuf);

impl Unreadable {
    fn new(path: PathBuf) -> Self {
        // In its place the memory of this process, of which the kernel gives the first page to nobody.
        rustix::mount::mount_bind("/proc/self/mem", &path).unwrap();
        let unreadable = Self(path);
        let e = std::fs::read(&unreadable.0).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::EIO));
        unreadable
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        let _ = crate::sys::mount::detach(&self.0);
    }
}

/// Tells how many there are.
type Look = fn(&DataRoot) -> Result<usize>;

#[test]
fn a_record_that_the_disk_does_not_give_is_not_passed_over() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    f.image(&["a:1"], &[base()], None);
    let other = f.image(&["other:1"], &[base(), middle()], None);
    let container = f.container("box", &other);
    let chain = f.docker().image(&other).unwrap().chain_ids();
    let before = listing(&f.at(""));
    let looks: [(&str, PathBuf, Look); 3] = [
        ("an image", f.config(&other), |docker| Ok(docker.images()?.len())),
        ("a container", f.at("containers").join(container).join("config.v2.json"), |docker| {
            Ok(docker.containers()?.len())
        }),
        ("a layer", f.record(&chain[1]).join("size"), |docker| Ok(docker.layers()?.len())),
    ];
    for (what, path, look) in &looks {
        let whole = look(&f.docker()).unwrap();
        let unreadable = Unreadable::new(path.clone());
        let e = look(&f.docker()).unwrap_err();
        assert_eq!((e.kind(), e.file()), (ErrorKind::Io, Some(path.as_path())), "{what}: {e}");
        // What lies on it might be anything: docker keeps all, and the store gets nothing.
        let e = take(&f, &["a:1"], moving()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io, "{what}: {e}");
        drop(unreadable);
        assert_eq!(listing(&f.at("")), before, "{what}");
        assert!(f.store().images().unwrap().is_empty(), "{what}");
        assert_eq!(look(&f.docker()).unwrap(), whole, "{what}");
    }
    assert!(take(&f, &["a:1"], moving()).unwrap().images[0].moved);
}

#[test]
fn nobody_is_told_to_remove_what_may_be_whole() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    f.image(&["a:1"], &[base()], None);
    let entry = f.mount("2v5q82nce6zujapf1mndndgbk", &[("mount-id", &"0".repeat(64))]);
    let unreadable = Unreadable::new(entry.join("mount-id"));
    let e = take(&f, &["a:1"], moving()).unwrap_err();
    drop(unreadable);
    assert_eq!(e.kind(), ErrorKind::Io, "{e}");
    let said = e.to_string();
    assert!(said.contains("leave out --move") && !said.contains("by hand"), "{said}");
}
