use std::os::unix::fs::MetadataExt;

use super::*;
use crate::driver::tests::Xfs;

/// What a store holds, without times.
fn records(f: &Fixture, kind: &str) -> Vec<serde_json::Value> {
    let path = f.dir.path().join(format!("graph/overlay-{kind}/{kind}.json"));
    let mut records: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for record in &mut records {
        record.as_object_mut().unwrap().shift_remove("created");
    }
    records
}

#[test]
fn an_image_comes_over_as_if_it_had_been_loaded() {
    // store-format.md 3.2, 4
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let tars = [base(), middle(), top("t")];
    let id = f.image(&["web:1", "quay.io/a/b:c"], &tars, None);
    let before = listing(&f.at(""));
    let report = take(&f, &["web:1"], MigrateOptions::default()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let image = &report.images[0];
    assert_eq!(image.id, id.hex());
    assert_eq!(image.names, ["quay.io/a/b:c", "docker.io/library/web:1"]);
    assert_eq!(listing(&f.at("")), before, "docker's tree is as it was");

    // The same by a docker archive, in a store of its own.
    let loaded = Fixture::new();
    let archive = f.dir.path().join("image.tar");
    let names = ["docker.io/library/web:1".to_owned()];
    save(
        &f.store(),
        &names,
        SaveFormat::DockerArchive,
        Output::Path(archive.clone()),
        &SaveOptions::default(),
    )
    .unwrap();
    let options = LoadOptions { names: Some(image.names.clone()), ..LoadOptions::default() };
    load(&loaded.store(), Source::Path(archive), &options).unwrap();
    assert_eq!(records(&f, "layers"), records(&loaded, "layers"));
    assert_eq!(records(&f, "images"), records(&loaded, "images"));

    // Tars come out as they went in, and the root file system is the same.
    let store = f.store();
    for (layer, tar) in image.layers.iter().zip(&tars) {
        let mut out = Vec::new();
        store.diff(&layer.id, None, None, &mut out).unwrap();
        assert_eq!(out, *tar);
        assert_eq!(listing(&content(&f, &layer.id)), listing(&content(&loaded, &layer.id)));
        let root = |f: &Fixture| content(f, &layer.id).metadata().unwrap().mode();
        assert_eq!(root(&f), root(&loaded));
    }
    let top = &image.layers[2].id;
    let mounted = store.mount(top, &crate::store::MountRequest::default()).unwrap();
    let seen: Vec<String> = listing(&mounted).into_keys().collect();
    assert_eq!(seen, ["etc", "etc/a", "srv", "srv/new", "top", "top/file"]);
    store.unmount(top, false).unwrap();
}

/// Bytes that are not used below `path`.
fn free(path: &Path) -> u64 {
    rustix::fs::syncfs(std::fs::File::open(path).unwrap()).unwrap();
    let about = rustix::fs::statvfs(path).unwrap();
    about.f_bavail * about.f_frsize
}

#[test]
fn files_share_their_blocks_where_the_file_system_can() {
    const BIG: u64 = 16 << 20;
    if !needs_root() {
        return;
    }
    let xfs = match Xfs::new() {
        Ok(xfs) => xfs,
        Err(why) => {
            println!("skipped: reflinks on xfs: {why}");
            return;
        }
    };
    let f = Fixture::below(&xfs.root());
    let big = "0123456789abcdef".repeat(1 << 20);
    let id = f.image(&["a:1"], &[base(), tar_of(&[("big", &big)])], None);
    for (transfer, outcome) in [
        (Transfer::Reflink, Outcome::Reflinked),
        (Transfer::Either, Outcome::Reflinked),
        (Transfer::Copy, Outcome::Copied),
    ] {
        let before = free(&xfs.root());
        let report = take(&f, &["a:1"], MigrateOptions { transfer, ..MigrateOptions::default() });
        let report = report.unwrap();
        assert!(report.is_whole(), "{report:?}");
        let layers = &report.images[0].layers;
        assert_eq!(layers.iter().map(|l| l.outcome).collect::<Vec<_>>(), [outcome; 2]);
        let used = before.saturating_sub(free(&xfs.root()));
        // Of what was deleted before, xfs may give back some only now.
        assert_eq!(used > BIG / 2, outcome == Outcome::Copied, "{transfer:?}: {used} bytes");
        // What shares blocks is no less a file of its own.
        let file = content(&f, &layers[1].id).join("big");
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1).unwrap();
        let docker = f.docker().image(&id).unwrap().chain_ids().remove(1);
        assert_eq!(std::fs::read(f.diff(&docker).join("big")).unwrap(), big.as_bytes());
        f.store().delete_image(id.hex(), false).unwrap();
    }
}

#[test]
fn unverified_layers_have_the_same_records() {
    if !needs_root() {
        return;
    }
    let tars = [base(), tampered::rich(), middle()];
    let stored = [true, false].map(|verify| {
        let f = Fixture::new();
        f.image(&["web:1"], &tars, None);
        let options = MigrateOptions { verify, ..MigrateOptions::default() };
        let report = take(&f, &[], options).unwrap();
        assert!(report.is_whole(), "{report:?}");
        // Sizes, digests and owners of the layers are those of a loaded image.
        let loaded = Fixture::new();
        let archive = f.dir.path().join("image.tar");
        let names = report.images[0].names.clone();
        let output = Output::Path(archive.clone());
        let format = SaveFormat::DockerArchive;
        save(&f.store(), &names, format, output, &SaveOptions::default()).unwrap();
        load(&loaded.store(), Source::Path(archive), &LoadOptions::default()).unwrap();
        assert_eq!(records(&f, "layers"), records(&loaded, "layers"), "verified: {verify}");
        (records(&f, "layers"), report.images[0].layers.clone())
    });
    let [(verified, _), (unverified, layers)] = stored;
    assert_eq!(verified, unverified);
    for (record, tar) in unverified.iter().zip(&tars) {
        assert_eq!(record["diff-size"], tar.len());
    }
    // Bytes of content, as docker has counted them but for the length of one link.
    let bytes: Vec<u64> = layers.iter().map(|layer| layer.bytes).collect();
    assert_eq!(bytes, [6, 16, 1]);
}

#[test]
fn a_dry_run_tells_of_containers_what_would_be_made() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let image = f.image(&["web:1"], &[base()], None);
    for (name, text) in [("box", "a"), ("Box", "b"), ("other", "c")] {
        let upper = f.at("overlay2").join(f.container(name, &image)).join("diff");
        std::fs::write(upper.join("new"), text).unwrap();
    }
    // A name that another image of the store has already.
    let taken = Fixture::new();
    taken.image(&["localhost/other:latest"], &[top("x")], None);
    migrate(&f.store(), &taken.docker(), &MigrateOptions::default()).unwrap();
    let run = |dry_run: bool| {
        let options = MigrateOptions { containers: true, dry_run, ..MigrateOptions::default() };
        let report = take(&f, &[], options).unwrap();
        assert!(report.is_whole(), "{report:?}");
        let image = |image: &MigratedImage| {
            let layers: Vec<String> = image.layers.iter().map(|l| l.id.clone()).collect();
            (image.id.clone(), image.container.clone(), image.names.clone(), layers)
        };
        report.images.iter().map(image).collect::<Vec<_>>()
    };
    let before = f.store().layers().unwrap().len();
    let planned = run(true);
    assert_eq!(f.store().layers().unwrap().len(), before);
    assert_eq!(planned, run(false));
    let latest: Vec<&String> = planned.iter().flat_map(|(_, _, names, _)| names).collect();
    assert_eq!(latest.iter().filter(|name| **name == "localhost/box:latest").count(), 1);
    assert!(!latest.iter().any(|name| **name == "localhost/other:latest"), "{latest:?}");
}

#[test]
fn containers_are_packed_where_temporary_files_belong() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let image = f.image(&["web:1"], &[base()], None);
    f.container("box", &image);
    let run = |temp_dir: PathBuf| {
        let temp_dir = Some(temp_dir);
        take(&f, &[], MigrateOptions { containers: true, temp_dir, ..MigrateOptions::default() })
    };
    let report = run(f.dir.path().join("missing")).unwrap();
    let said = report.images[1].error.clone().unwrap_or_default();
    assert!(said.contains("temporary file") && said.contains("/missing"), "{said}");
    assert!(run(f.dir.path().to_path_buf()).unwrap().is_whole());
}

#[test]
fn a_second_call_goes_on_where_the_first_was_ended() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    f.image(&["a:1"], &[base(), top("a")], None);
    f.image(&["b:1"], &[base(), top("b")], None);
    let outcomes = |report: &Migration| -> Vec<Vec<Outcome>> {
        let of = |image: &MigratedImage| image.layers.iter().map(|l| l.outcome).collect();
        report.images.iter().map(of).collect()
    };
    let dry = take(&f, &["a:1"], MigrateOptions { dry_run: true, ..moving() }).unwrap();
    assert_eq!(outcomes(&dry), [[Outcome::Planned, Outcome::Planned]]);
    assert!(f.store().images().unwrap().is_empty() && f.docker().images().unwrap().len() == 2);
    let copy = || MigrateOptions { transfer: Transfer::Copy, ..MigrateOptions::default() };
    let first = take(&f, &["a:1"], copy()).unwrap();
    assert_eq!(outcomes(&first), [[Outcome::Copied, Outcome::Copied]]);
    let all = take(&f, &[], copy()).unwrap();
    let mut seen = outcomes(&all);
    seen.sort_by_key(|layers| layers[1] == Outcome::Copied);
    assert_eq!(seen, [[Outcome::Present, Outcome::Present], [Outcome::Present, Outcome::Copied]]);
    assert!(take(&f, &[], copy()).unwrap().is_whole());
    assert_eq!(f.store().layers().unwrap().len(), 3);
}

#[test]
fn a_stopped_container_becomes_the_same_image_each_time() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let image = f.image(&["web:1"], &[base(), middle()], None);
    let id = f.container("Box", &image);
    let upper = f.at("overlay2").join(&id).join("diff");
    std::fs::create_dir(upper.join("etc")).unwrap();
    std::fs::write(upper.join("etc/b"), "changed").unwrap();
    let dev = rustix::fs::makedev(0, 0);
    let mode = rustix::fs::Mode::empty();
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, upper.join("etc/a"), kind, mode, dev).unwrap();
    let options = || MigrateOptions { containers: true, ..MigrateOptions::default() };
    let report = take(&f, &["web:1"], options()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let made = &report.images[1];
    assert_eq!(made.container.as_deref(), Some("Box"));
    assert_eq!(made.names, ["localhost/box:latest"]);
    let store = f.store();
    let config = store.image_big_data(&made.id, &format!("sha256:{}", made.id)).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["created"], "2024-02-03T05:06:07Z");
    assert_eq!(config["config"], json!({"Cmd": ["/bin/other"], "Env": ["A=b"]}));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    let top = &made.layers[2].id;
    let mounted = store.mount(top, &crate::store::MountRequest::default()).unwrap();
    let seen: Vec<String> = listing(&mounted).into_keys().collect();
    assert_eq!(seen, ["etc", "etc/b", "srv", "srv/new"]);
    store.unmount(top, false).unwrap();
    let again = take(&f, &["web:1"], options()).unwrap();
    assert_eq!(again.images[1].id, made.id);
    assert_eq!((store.images().unwrap().len(), store.layers().unwrap().len()), (2, 3));
}

#[test]
fn other_forms_of_layers_are_refused_by_name() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    f.image(&["a:1"], &[base()], None);
    let refused = |options: StoreOptions, why: &str| {
        let store = Store::open(options).unwrap();
        let e = migrate(&store, &f.docker(), &MigrateOptions::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported, "{e}");
        assert!(e.to_string().contains(why), "{e}");
    };
    refused(f.store_options("vfs"), "whole trees");
    let mut mapped = f.store_options("overlay");
    mapped.driver_options =
        vec!["overlay.force_mask=700".into(), "overlay.mount_program=/bin/true".into()];
    refused(mapped, "force_mask");
}

#[test]
fn names_of_other_images_stay_theirs() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let old = f.image(&["a:1"], &[base()], None);
    assert!(take(&f, &[], MigrateOptions::default()).unwrap().is_whole());
    let new = f.image(&["a:1", "b:1"], &[base(), top("n")], None);
    for dry_run in [true, false, false] {
        let options = MigrateOptions { dry_run, ..MigrateOptions::default() };
        let report = take(&f, &["b:1"], options).unwrap();
        let image = &report.images[0];
        assert_eq!(image.names, ["docker.io/library/b:1"]);
        assert_eq!(image.left_out, ["docker.io/library/a:1"]);
    }
    let store = f.store();
    assert_eq!(store.image("docker.io/library/a:1").unwrap().id, old.hex());
    assert_eq!(store.image("docker.io/library/b:1").unwrap().id, new.hex());
}
