use super::*;
use crate::ErrorKind;

fn overlay() -> Option<Fixture> {
    if rustix::process::geteuid().is_root() {
        return Some(Fixture::with_driver("overlay"));
    }
    println!("skipped: mounting needs root");
    None
}

fn container(store: &Store) -> Container {
    let base = import(store, "base", None, &[("file", "lower\n"), ("gone", "")]);
    let new =
        NewImage { names: vec!["i".into()], layer: Some(base.id.clone()), ..NewImage::default() };
    store.create_image(new).unwrap();
    let new = NewContainer {
        names: vec!["c".into()],
        image: Some("i".into()),
        ..NewContainer::default()
    };
    store.create_container(new).unwrap()
}

#[test]
fn mounts_are_counted_across_handles() {
    // store-format.md 16.19
    let Some(fixture) = overlay() else { return };
    let (one, two) = (fixture.store(), fixture.store());
    let container = container(&one);
    let request = MountRequest::default();
    let path = one.mount("c", &request).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "lower\n");
    assert_eq!(two.mount(&container.layer, &request).unwrap(), path);
    assert_eq!(one.mounted("c").unwrap(), 2);
    assert_eq!(two.layer(&container.layer).unwrap().mount_point, Some(path.clone()));
    assert!(one.unmount("c", false).unwrap(), "the other mount remains");
    assert!(path.join("file").exists());
    assert!(!two.unmount("c", false).unwrap());
    assert!(!path.join("file").exists());
    assert!(!one.unmount("c", false).unwrap(), "what is not mounted stays so");
    let points =
        std::fs::read_to_string(fixture.path("run/overlay-layers/mountpoints.json")).unwrap();
    assert_eq!(points, "[]");
}

#[test]
fn a_container_changes_and_its_diff_says_so() {
    let Some(fixture) = overlay() else { return };
    let store = fixture.store();
    let container = container(&store);
    let path = store.mount("c", &MountRequest::default()).unwrap();
    std::fs::write(path.join("new"), "new\n").unwrap();
    std::fs::remove_file(path.join("gone")).unwrap();
    store.unmount("c", false).unwrap();
    let changes: Vec<_> = store.changes("c", None).unwrap();
    let text: Vec<_> = changes
        .iter()
        .map(|c| format!("{:?} {}", c.kind, String::from_utf8_lossy(&c.path)))
        .collect();
    assert_eq!(text, ["Delete /gone", "Add /new"]);
    let mut out = Vec::new();
    store.diff("c", None, None, &mut out).unwrap();
    let mut archive = tar::Archive::new(out.as_slice());
    let names: Vec<_> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().into_owned()).collect();
    assert_eq!(names, [PathBuf::from(".wh.gone"), PathBuf::from("new")]);
    assert_eq!(store.diff_size(&container.layer, None).unwrap(), 4);
}

#[test]
fn a_stale_count_is_cleared_by_force() {
    // store-format.md 16.18
    let Some(fixture) = overlay() else { return };
    let store = fixture.store();
    container(&store);
    let path = store.mount("c", &MountRequest::default()).unwrap();
    rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).unwrap();
    // Killed mounts: mounted again, on top of the stale count (6).
    store.mount("c", &MountRequest::default()).unwrap();
    assert!(path.join("file").exists());
    assert_eq!(store.mounted("c").unwrap(), 2);
    assert!(!store.unmount("c", true).unwrap());
    assert_eq!(store.mounted("c").unwrap(), 0);
}

#[test]
fn deleting_unmounts() {
    let Some(fixture) = overlay() else { return };
    let store = fixture.store();
    container(&store);
    let path = store.mount("c", &MountRequest::default()).unwrap();
    fixture.store().delete_container("c").unwrap();
    assert!(!path.exists());
    let points =
        std::fs::read_to_string(fixture.path("run/overlay-layers/mountpoints.json")).unwrap();
    assert_eq!(points, "[]");
}

#[test]
fn shutdown_wants_nothing_mounted() {
    let Some(fixture) = overlay() else { return };
    let store = fixture.store();
    container(&store);
    store.mount("c", &MountRequest::default()).unwrap();
    let second =
        NewContainer { id: Some("c2".into()), image: Some("i".into()), ..Default::default() };
    store.create_container(second).unwrap();
    store.mount("c2", &MountRequest::default()).unwrap();
    // Go's Shutdown lists them beside its error, whether it has unmounted them or not.
    let layers = ["c", "c2"].map(|id| store.container(id).unwrap().layer);
    let refused = |force| {
        let e = store.shutdown(force).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::LayerUsedByContainer);
        for layer in &layers {
            assert!(e.to_string().contains(layer), "{e}");
        }
        assert!(layers.iter().any(|layer| e.object_id() == Some(layer)), "{e}");
    };
    refused(false);
    assert_eq!(["c", "c2"].map(|id| store.mounted(id).unwrap()), [1, 1]);
    refused(true);
    assert_eq!(["c", "c2"].map(|id| store.mounted(id).unwrap()), [0, 0]);
    store.shutdown(false).unwrap();
    let root = fixture.path("graph");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(&*root.to_string_lossy()), "the private mount of the home is gone");
    // And the store goes on after it, in another handle as well (9.3).
    let other = fixture.store();
    other.mount("c", &MountRequest::default()).unwrap();
    other.unmount("c", false).unwrap();
}

#[test]
fn an_image_is_mounted_read_only() {
    let Some(fixture) = overlay() else { return };
    let store = fixture.store();
    container(&store);
    let path = store.mount_image("i", &MountRequest::default()).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "lower\n");
    assert!(std::fs::write(path.join("x"), "").is_err());
    assert!(!store.unmount_image("i", false).unwrap());
}

#[test]
fn another_handles_shutdown_is_made_up_for_at_the_next_mount() {
    // store-format 9.3: the record of storage.lock tells of it.
    let Some(fixture) = overlay() else { return };
    let store = fixture.store();
    let container = container(&store);
    let is_mount = || {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let home = fixture.path("graph/overlay").canonicalize().unwrap();
        table.lines().filter_map(|l| l.split(' ').nth(4)).any(|p| Path::new(p) == home)
    };
    assert!(is_mount());
    fixture.store().shutdown(false).unwrap();
    assert!(!is_mount());
    store.mount(&container.id, &MountRequest::default()).unwrap();
    assert!(is_mount());
    assert!(!store.unmount(&container.id, false).unwrap());
}

#[test]
fn a_directory_that_somebody_removed_is_made_again_for_a_mount() {
    // store-format.md 9.3, 9.7: a handle that has made its directories once does not look at them again.
    let Some(fixture) = overlay() else { return };
    let store = fixture.store();
    container(&store);
    let request = MountRequest::default();
    store.mount("c", &request).unwrap();
    store.unmount("c", false).unwrap();
    std::fs::remove_dir_all(fixture.path("run")).unwrap();
    let path = store.mount("c", &request).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "lower\n");
    assert!(!store.unmount("c", false).unwrap());
    // After another process's shutdown all of them are there again.
    fixture.store().shutdown(false).unwrap();
    std::fs::remove_dir_all(fixture.path("run")).unwrap();
    store.mount("c", &request).unwrap();
    assert!(fixture.path("run/overlay-containers").is_dir());
    assert!(!store.unmount("c", false).unwrap());
}
