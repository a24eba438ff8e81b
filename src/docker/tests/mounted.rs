//! Entries of `layerdb/mounts` that are no container's.

use super::super::journal::Journal;
use super::*;

/// As a dockerd that was killed while BuildKit copied out of an image: a directory upon the image's layers, and an entry of a name with 25
/// digits to the base of 36. It stays through restarts and `docker builder prune`.
const BUILD: &str = "2v5q82nce6zujapf1mndndgbk";

fn cache_id(f: &Fixture, chain_id: &Digest) -> String {
    std::fs::read_to_string(f.record(chain_id).join("cache-id")).unwrap()
}

#[test]
fn the_layers_that_a_killed_build_has_read_stay_with_docker() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["read:1"], &[base(), middle()], None);
    f.image(&["over:1"], &[base(), middle(), top("over")], None);
    f.image(&["beside:1"], &[base(), top("beside")], None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let mount = Digest::sha256(b"mount").hex().to_owned();
    let dir = f.directory(&mount, Some(&cache_id(&f, &chain[1])));
    let entry = f.mount(BUILD, &[("mount-id", &mount), ("parent", chain[1].as_str())]);
    // The entry alone tells, too.
    std::fs::remove_file(dir.join("lower")).unwrap();
    let before = (listing(&entry), listing(&dir));
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && report.images.iter().all(|i| i.moved), "{report:?}");
    let left: Vec<Digest> =
        f.docker().layers().unwrap().into_iter().map(|layer| layer.chain_id).collect();
    let mut wanted = chain.clone();
    wanted.sort();
    assert_eq!(left, wanted);
    assert_eq!((listing(&entry), listing(&dir)), before);
    for (chain_id, file) in chain.iter().zip(["etc/a", "srv/new"]) {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(f.diff(chain_id).join(file).metadata().unwrap().nlink(), 1, "docker's own");
    }
    // Without it, the layers go with the next move of an image that has them.
    std::fs::remove_dir_all(entry).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    f.image(&["read:1"], &[base(), middle()], None);
    assert!(take(&f, &["read:1"], moving()).unwrap().images[0].moved);
    assert!(f.docker().layers().unwrap().is_empty());
}

/// Docker makes a container's layers first and its record last.
#[test]
fn a_container_that_was_never_made_keeps_its_layers() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let container = f.container("box", &id);
    std::fs::remove_dir_all(f.at("containers").join(&container)).unwrap();
    // Their directories are not taken for the rest of a layer that was to go, either.
    let gone = Digest::sha256(b"gone");
    let record = format!("{}-{}-removing", gone.hex(), "0".repeat(64));
    let record = f.at("image/overlay2/layerdb/sha256").join(record);
    std::fs::create_dir(&record).unwrap();
    std::fs::write(record.join("cache-id"), &container).unwrap();
    let layers = [gone].into_iter().collect();
    f.docker().write_journal(&Journal { layers, ..Journal::default() }).unwrap();
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert!(f.diff(&chain[0]).join("etc/a").exists());
    assert!(f.at("overlay2").join(&container).join("diff").exists());
}

#[test]
fn an_entry_that_cannot_be_read_may_lie_on_any_layer() {
    if !needs_root() {
        return;
    }
    let good = "0".repeat(64);
    let cases: [(&str, &[(&str, &str)]); 5] = [
        ("it is missing", &[]),
        ("its mount-id is", &[("mount-id", "../..")]),
        ("its mount-id is", &[("mount-id", BUILD)]),
        ("its init-id is", &[("mount-id", &good), ("init-id", "")]),
        ("it holds no digest", &[("mount-id", &good), ("parent", "x")]),
    ];
    for (why, files) in cases {
        let f = Fixture::new();
        let id = f.image(&["a:1"], &[base()], None);
        let entry = f.mount(BUILD, files);
        let before = listing(&f.at(""));
        let e = take(&f, &[], moving()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
        let by_hand = format!("remove {entry:?} by hand");
        for part in [why, "leave out --move", "stop the daemon", &by_hand] {
            assert!(e.to_string().contains(part), "{part}: {e}");
        }
        assert_eq!(listing(&f.at("")), before);
        assert!(f.store().images().unwrap().is_empty());
        assert!(take(&f, &[id.hex()], MigrateOptions::default()).unwrap().is_whole());
    }
}
