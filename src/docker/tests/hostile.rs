//! Data roots that are damaged, or made to lead elsewhere.

use std::os::unix::fs::symlink;

use super::*;

/// One image of two layers, which `spoil` damages: it is refused with `kind`, nothing of it is stored, and nothing outside is touched.
fn refused(what: &str, kind: &str, spoil: impl FnOnce(&Fixture, &[Digest], &Digest)) {
    refused_of(what, kind, &[base(), top("t")], spoil);
}

/// As [`refused`], of an image of these layers.
pub(super) fn refused_of(
    what: &str,
    kind: &str,
    tars: &[Vec<u8>],
    spoil: impl FnOnce(&Fixture, &[Digest], &Digest),
) {
    let f = Fixture::new();
    let outside = f.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let id = f.image(&["a:1"], tars, None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    spoil(&f, &chain, &id);
    for options in [MigrateOptions::default(), moving()] {
        let moves = options.transfer == Transfer::Move;
        match take(&f, &["a:1"], options) {
            Err(e) => assert!(e.to_string().contains(kind), "{what}: {e}"),
            Ok(report) => {
                let said = report.images[0].error.clone().unwrap_or_default();
                assert!(said.contains(kind), "{what}, moved {moves}: {said:?}");
                assert!(!report.images[0].moved, "{what}");
            }
        }
        assert!(f.store().images().unwrap().is_empty(), "{what}");
        assert!(f.store().layers().unwrap().is_empty(), "{what}");
        assert!(f.config(&id).exists(), "{what}");
    }
    assert_eq!(
        listing(&outside).into_iter().collect::<Vec<_>>(),
        [("secret".to_owned(), "secret".to_owned())],
        "{what}"
    );
}

#[test]
fn damaged_layers_are_refused_by_name() {
    if !needs_root() {
        return;
    }
    let write = |path: PathBuf, text: &str| std::fs::write(path, text).unwrap();
    refused("no layer", "it is missing", |f, chain, _| {
        std::fs::remove_dir_all(f.record(&chain[0])).unwrap();
    });
    refused("no content", "it is missing", |f, chain, _| {
        std::fs::remove_dir_all(f.diff(&chain[1])).unwrap();
    });
    refused("no tar-split", "it is missing", |f, chain, _| {
        std::fs::remove_file(f.record(&chain[1]).join("tar-split.json.gz")).unwrap();
    });
    refused("a tar-split that is none", "tar-split", |f, chain, _| {
        write(f.record(&chain[1]).join("tar-split.json.gz"), "no gzip");
    });
    refused("another diff digest", "its diff digest is", |f, chain, _| {
        write(f.record(&chain[1]).join("diff"), Digest::sha256(b"x").as_str());
    });
    refused("no digest", "it holds no digest", |f, chain, _| {
        write(f.record(&chain[1]).join("diff"), "sha256:short");
    });
    refused("a size that is none", "its size is", |f, chain, _| {
        write(f.record(&chain[1]).join("size"), "-1");
    });
    refused("a changed file", "checksum", |f, chain, _| {
        write(f.diff(&chain[0]).join("etc/a"), "BASE");
    });
    refused("a file less", "etc/a", |f, chain, _| {
        std::fs::remove_file(f.diff(&chain[0]).join("etc/a")).unwrap();
    });
    refused("another tar's tar-split", "etc/a", |f, chain, _| {
        let tar_split = |at: usize| f.record(&chain[at]).join("tar-split.json.gz");
        std::fs::copy(tar_split(0), tar_split(1)).unwrap();
    });
}

#[test]
fn parents_in_a_circle_lead_nowhere() {
    if !needs_root() {
        return;
    }
    refused("a circle", "its parent is not", |f, chain, _| {
        std::fs::write(f.record(&chain[0]).join("parent"), chain[1].as_str()).unwrap();
    });
    refused("its own parent", "its parent is not", |f, chain, _| {
        std::fs::write(f.record(&chain[1]).join("parent"), chain[1].as_str()).unwrap();
    });
}

#[test]
fn ids_and_links_do_not_lead_out() {
    if !needs_root() {
        return;
    }
    for bad in ["../../outside", "..", "", "l", "a/b", &"0".repeat(63), "../abcdefghijklmnopqrstuv"]
    {
        refused(bad, "its cache id is", |f, chain, _| {
            std::fs::write(f.record(&chain[1]).join("cache-id"), bad).unwrap();
        });
    }
    let replace = |path: PathBuf, target: PathBuf| {
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        symlink(target, &path).unwrap();
    };
    refused("a linked diff", "symbolic link", |f, chain, _| {
        replace(f.diff(&chain[1]), f.dir.path().join("outside"));
    });
    refused("a linked layer", "symbolic link", |f, chain, _| {
        let dir = f.diff(&chain[1]).parent().unwrap().to_path_buf();
        replace(dir, f.dir.path().join("outside"));
    });
    refused("a linked tar-split", "symbolic link", |f, chain, _| {
        let path = f.record(&chain[1]).join("tar-split.json.gz");
        replace(path, f.dir.path().join("outside/secret"));
    });
    refused("a pipe for a record", "regular file", |f, chain, _| {
        let path = f.record(&chain[1]).join("size");
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
}

#[test]
fn marks_of_content_elsewhere_are_refused() {
    // DEF-2
    if !needs_root() {
        return;
    }
    let mark = |path: PathBuf, key: &str, value: &[u8]| {
        rustix::fs::setxattr(path, key, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    refused("a redirect", "lower layer", |f, chain, _| {
        mark(f.diff(&chain[0]).join("etc"), "trusted.overlay.redirect", b"/srv");
    });
    refused("a metacopy", "lower layer", |f, chain, _| {
        mark(f.diff(&chain[0]).join("etc/a"), "trusted.overlay.metacopy", b"");
    });
}

#[test]
fn damaged_images_are_passed_over_and_refused_when_asked_for() {
    let f = Fixture::new();
    let good = f.image(&["good:1"], &[base()], None);
    let content = f.at("image/overlay2/imagedb/content/sha256");
    let huge = Digest::sha256(b"huge");
    let file = std::fs::File::create(content.join(huge.hex())).unwrap();
    file.set_len(1 << 40).unwrap();
    let odd = Digest::sha256(b"[]");
    std::fs::write(content.join(odd.hex()), "[]").unwrap();
    let other = Digest::sha256(b"other");
    std::fs::write(content.join(other.hex()), "{}").unwrap();
    let link = Digest::sha256(b"link");
    symlink(f.config(&good), content.join(link.hex())).unwrap();
    std::fs::create_dir(content.join("..x")).unwrap();
    let images = f.docker().images().unwrap();
    assert_eq!(images.iter().map(|i| &i.id).collect::<Vec<_>>(), [&good]);
    for (id, why) in [
        (&huge, "more than"),
        (&odd, "no rootfs"),
        (&other, "has the digest"),
        (&link, "symbolic link"),
    ] {
        let e = f.docker().image(id).unwrap_err();
        assert!(e.to_string().contains(why), "{e}");
        if needs_root() {
            assert!(take(&f, &[id.hex()], MigrateOptions::default()).is_err());
        }
    }
    std::fs::write(
        f.at("image/overlay2/repositories.json"),
        r#"{"Repositories":{"a":{"a:1":"../.."}}}"#,
    )
    .unwrap();
    assert!(f.docker().images().unwrap()[0].names.is_empty());
    std::fs::write(f.at("image/overlay2/repositories.json"), "[").unwrap();
    assert_eq!(f.docker().images().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn damaged_containers_are_passed_over() {
    let f = Fixture::new();
    let image = f.image(&["a:1"], &[base()], None);
    let (good, bad) = (f.container("good", &image), f.container("bad", &image));
    let mounts = f.at("image/overlay2/layerdb/mounts").join(&bad);
    for (name, text) in [("mount-id", "../.."), ("init-id", "/etc"), ("parent", "x")] {
        let before = std::fs::read(mounts.join(name)).unwrap();
        std::fs::write(mounts.join(name), text).unwrap();
        let found = f.docker().containers().unwrap();
        assert_eq!(found.iter().map(|c| &c.id).collect::<Vec<_>>(), [&good], "{name}");
        std::fs::write(mounts.join(name), before).unwrap();
    }
    assert_eq!(f.docker().containers().unwrap().len(), 2);
}

#[test]
fn other_data_roots_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| DataRoot::open(dir.path().join(name)).unwrap_err();
    let make = |name: &str| std::fs::create_dir_all(dir.path().join(name)).unwrap();
    make("empty");
    make("remapped/100000.100000/image/overlay2");
    make("zfs/image/zfs");
    make("linked/image");
    make("linked/overlay2");
    symlink("/etc", dir.path().join("linked/image/overlay2")).unwrap();
    for (name, why) in [
        ("empty", "it has no images"),
        ("remapped", "userns-remap"),
        ("remapped/100000.100000", "userns-remap"),
        ("zfs", "only of: zfs"),
        ("linked", "symbolic link"),
        ("missing", "opening docker's data root"),
    ] {
        let e = open(name);
        assert!(e.to_string().contains(why), "{name}: {e}");
    }
}
