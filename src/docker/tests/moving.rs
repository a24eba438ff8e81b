use std::os::unix::fs::MetadataExt;

use super::*;

fn ids(f: &Fixture) -> Vec<Digest> {
    f.docker().images().unwrap().into_iter().map(|image| image.id).collect()
}

#[test]
fn a_moved_image_leaves_nothing_behind() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    // As the builder of docker leaves it: an unnamed step between two images.
    let step = f.image(&[], &[base()], None);
    f.image(&["app:1"], &[base(), middle()], Some(&step));
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert_eq!(
        report.images[0].layers.iter().map(|l| l.outcome).collect::<Vec<_>>(),
        [Outcome::Moved, Outcome::Moved]
    );
    assert!(ids(&f).is_empty() && f.docker().layers().unwrap().is_empty());
    let left = listing(&f.at("overlay2"));
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [("l".to_owned(), "/".to_owned())]);
    let names = std::fs::read_to_string(f.at("image/overlay2/repositories.json")).unwrap();
    assert_eq!(names, r#"{"Repositories":{}}"#);
    let layer = &report.images[0].layers[0].id;
    assert_eq!(content(&f, layer).join("etc/a").metadata().unwrap().nlink(), 1);
    assert!(f.store().image("docker.io/library/app:1").is_ok());
    // There is nothing more to do.
    assert!(take(&f, &[], moving()).unwrap().images.is_empty());
}

#[test]
fn what_others_need_stays_with_docker() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let shared = f.image(&["shared:1"], &[base(), top("a")], None);
    let other = f.image(&["other:1"], &[base(), top("b")], None);
    let boxed = f.image(&["boxed:1"], &[base(), top("c")], None);
    f.container("box", &boxed);
    let report = take(&f, &["shared:1", "boxed:1"], moving()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert!(report.images[0].moved && !report.images[1].moved);
    assert!(report.images[1].kept.as_ref().unwrap().contains("the container box"));
    let mut left = ids(&f);
    left.sort();
    let mut wanted = [other.clone(), boxed.clone()];
    wanted.sort();
    assert_eq!(left, wanted);
    assert!(!f.config(&shared).exists());
    // What both have is no longer the same files: a change of owners in the store must not be one in docker.
    for image in f.docker().images().unwrap() {
        for layer in f.docker().open_layers(&image).unwrap() {
            for (name, _) in listing(layer.diff.path()) {
                let path = layer.diff.path().join(&name);
                assert!(path.is_dir() || path.metadata().unwrap().nlink() == 1, "{path:?}");
            }
        }
    }
    // A directory that no database knows, as the build cache has them, keeps what it lies on.
    let base_id = images::chain_ids(&f.docker().image(&other).unwrap().diffs)[0].clone();
    let cache_id = std::fs::read_to_string(f.record(&base_id).join("cache-id")).unwrap();
    f.directory("buildcache0000000000000000", Some(&cache_id));
    let report = take(&f, &["other:1"], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved);
    assert!(f.diff(&base_id).join("etc/a").exists());
}

#[test]
fn a_directory_that_two_records_name_stays_as_long_as_one_does() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let [one, other] = [("one:1", base()), ("other:1", top("t"))].map(|(name, tar)| {
        let id = f.image(&[name], &[tar], None);
        f.docker().image(&id).unwrap().chain_ids().remove(0)
    });
    std::fs::copy(f.record(&one).join("cache-id"), f.record(&other).join("cache-id")).unwrap();
    let shared = f.diff(&one);
    assert_eq!(f.diff(&other), shared);
    let before = listing(&shared);
    let report = take(&f, &["one:1"], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert_eq!(listing(&shared), before);
    assert_eq!(shared.join("etc/a").metadata().unwrap().nlink(), 1, "docker's own");
    let chain_ids = || -> Vec<Digest> {
        f.docker().layers().unwrap().into_iter().map(|layer| layer.chain_id).collect()
    };
    let mut both = vec![one, other];
    both.sort();
    assert_eq!(chain_ids(), both);
    // What lies there is not what the other one is said to be.
    let report = take(&f, &["other:1"], moving()).unwrap();
    assert!(report.images[0].error.is_some() && !report.images[0].moved, "{report:?}");
    assert_eq!((listing(&shared), chain_ids()), (before, both));
}

#[test]
fn a_directory_that_the_build_cache_names_stays() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let cache_id = std::fs::read_to_string(f.record(&chain[0]).join("cache-id")).unwrap();
    std::fs::create_dir(f.at("buildkit")).unwrap();
    std::fs::write(f.at("buildkit/snapshots.db"), format!("\0{cache_id}\0")).unwrap();
    let before = listing(&f.diff(&chain[0]));
    let report = take(&f, &["a:1"], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert_eq!(listing(&f.diff(&chain[0])), before);
}

#[test]
fn an_image_that_fails_keeps_its_layers_to_itself() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let good = f.image(&["good:1"], &[base(), top("a")], None);
    let bad = f.image(&["bad:1"], &[base(), top("b")], None);
    let chain = f.docker().image(&bad).unwrap().chain_ids();
    std::fs::write(f.diff(&chain[1]).join("top/file"), "changed behind docker's back").unwrap();
    let report = take(&f, &["good:1", "bad:1"], moving()).unwrap();
    assert!(report.images[0].error.is_none() && report.images[0].moved);
    assert!(report.images[1].error.is_some() && !report.images[1].moved);
    assert_eq!(ids(&f), [bad]);
    assert!(!f.config(&good).exists());
    let kept = f.diff(&chain[0]).join("etc/a");
    assert_eq!(std::fs::read(&kept).unwrap(), b"base");
    assert_eq!(kept.metadata().unwrap().nlink(), 1, "it is docker's own again");
    assert_eq!(f.store().layers().unwrap().len(), 2);
}

#[test]
fn a_daemon_keeps_its_images() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    f.image(&["a:1"], &[base()], None);
    let file = std::fs::File::open(f.at("volumes/metadata.db")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(f.docker().is_in_use().unwrap());
    let before = listing(&f.at(""));
    let e = take(&f, &[], moving()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
    assert_eq!(listing(&f.at("")), before);
    assert!(f.store().images().unwrap().is_empty());
    // To copy them is nobody's harm.
    assert!(take(&f, &[], MigrateOptions::default()).unwrap().is_whole());
    drop(file);
    assert!(!f.docker().is_in_use().unwrap());
    assert!(take(&f, &[], moving()).unwrap().images[0].moved);
}

#[test]
fn an_unread_record_may_name_any_layer() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let image = f.image(&["a:1"], &[base()], None);
    let other = f.image(&["other:1"], &[top("other")], None);
    let (unread, odd) = (f.config(&Digest::sha256(b"odd")), f.config(&image).with_file_name("odd"));
    let container = f.at("containers").join(f.container("box", &other));
    let record = container.join("config.v2.json");
    let stray = f.at("containers/stray");
    type Spoil<'a> = &'a dyn Fn();
    let cases: [(&Path, &Path, &str, &str, Spoil<'_>); 5] = [
        (&unread, &unread, "has the digest", "`docker rmi`", &|| {
            std::fs::write(&unread, "{").unwrap()
        }),
        (&odd, &odd, "is no id", "`docker rmi`", &|| std::fs::write(&odd, "").unwrap()),
        (&container, &container, "not the JSON", "`docker rm`", &|| {
            std::fs::write(&record, "{").unwrap()
        }),
        (&container, &record, "it is missing", "`docker rm`", &|| {
            std::fs::remove_file(&record).unwrap()
        }),
        (&stray, &stray, "is no id", "`docker rm`", &|| std::fs::create_dir(&stray).unwrap()),
    ];
    for (path, file, why, command, spoil) in cases {
        spoil();
        let before = listing(&f.at(""));
        let e = take(&f, &["a:1"], moving()).unwrap_err();
        assert_eq!((e.kind(), e.file()), (ErrorKind::Corrupt, Some(file)), "{e}");
        let by_hand = format!("stop the daemon and remove {path:?} by hand");
        for part in [why, "leave out --move", command, &by_hand] {
            assert!(e.to_string().contains(part), "{part}: {e}");
        }
        assert_eq!(listing(&f.at("")), before);
        assert!(f.store().images().unwrap().is_empty());
        if why != "not the JSON" {
            crate::sys::remove::remove_tree(path).unwrap();
        }
    }
    // To copy them is nobody's harm.
    std::fs::write(&unread, "{").unwrap();
    assert!(take(&f, &["a:1"], MigrateOptions::default()).unwrap().is_whole());
    f.store().delete_image(image.hex(), false).unwrap();
    std::fs::remove_file(&unread).unwrap();
    // What another driver's daemon has is not in the way of being read, and nothing to be removed.
    let foreign = f.at("containers").join("f".repeat(64));
    std::fs::create_dir(&foreign).unwrap();
    let config =
        format!(r#"{{"ID":"{0}","Name":"/old","Image":"{image}","Driver":"vfs"}}"#, "f".repeat(64));
    std::fs::write(foreign.join("config.v2.json"), config).unwrap();
    let e = take(&f, &["a:1"], moving()).unwrap_err();
    assert_eq!((e.kind(), e.file()), (ErrorKind::NotSupported, Some(&*foreign)), "{e}");
    assert!(e.to_string().contains("\"vfs\"") && !e.to_string().contains("remove"), "{e}");
    std::fs::remove_dir_all(&foreign).unwrap();
    // What the container lay on stays all the same, as layerdb tells.
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && report.images.iter().all(|image| image.moved), "{report:?}");
    let chain = f.docker().layers().unwrap();
    assert_eq!(
        chain.iter().map(|layer| &layer.diff).collect::<Vec<_>>(),
        [&Digest::sha256(&top("other"))]
    );
}

#[test]
fn what_cannot_be_read_may_lie_on_any_layer() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    let odd = f.at("overlay2/odd");
    std::os::unix::fs::symlink(f.dir.path(), &odd).unwrap();
    let e = take(&f, &["a:1"], moving()).unwrap_err();
    assert!(e.to_string().contains("symbolic link"), "{e}");
    assert_eq!(ids(&f), [id]);
    // A file lies on nothing, nor does the device that a daemon makes there on xfs.
    std::fs::remove_file(&odd).unwrap();
    std::fs::write(&odd, "").unwrap();
    let (cwd, kind) = (rustix::fs::CWD, rustix::fs::FileType::BlockDevice);
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(cwd, f.at("overlay2/backingFsBlockDev"), kind, mode, 0x700).unwrap();
    assert!(take(&f, &["a:1"], moving()).unwrap().images[0].moved);
}

#[test]
fn where_nothing_can_be_locked_nothing_is_moved() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    std::fs::remove_file(f.at("volumes/metadata.db")).unwrap();
    let e = take(&f, &[], moving()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported, "{e}");
    assert!(e.to_string().contains("leave out --move"), "{e}");
    assert_eq!(ids(&f), [id]);
    assert!(take(&f, &[], MigrateOptions::default()).unwrap().is_whole());
}

#[test]
fn the_own_locks_are_not_a_daemons() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let image = f.image(&["a:1"], &[base()], None);
    // As a daemon that was killed leaves it.
    let id = f.container("box", &image);
    let path = f.at("containers").join(&id).join("config.v2.json");
    let record = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, record.replace(r#""Running":false"#, r#""Running":true"#)).unwrap();
    assert!(f.docker().containers().unwrap()[0].running);
    let report = take(&f, &[], MigrateOptions { containers: true, ..moving() }).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.images[1].container.as_deref(), Some("box"));
    assert!(report.images[0].kept.is_some() && !report.images[0].moved);
}

#[test]
fn layers_that_the_store_had_are_compared_before_dockers_go() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let bad = f.image(&["bad:1"], &[base(), top("a")], None);
    let good = f.image(&["good:1"], &[base(), top("b")], None);
    let report = take(&f, &[], MigrateOptions::default()).unwrap();
    let found = report.images.iter().find(|image| image.id == bad.hex()).unwrap();
    let path = content(&f, &found.layers[1].id).join("top/file");
    std::fs::write(&path, "?").unwrap();
    let report = take(&f, &[], moving()).unwrap();
    for image in &report.images {
        assert!(image.error.is_none(), "{report:?}");
        assert_eq!(image.moved, image.id == good.hex(), "{report:?}");
        assert_eq!(image.kept.is_some(), image.id == bad.hex(), "{report:?}");
    }
    assert_eq!(ids(&f), [bad]);
    let unverified = || MigrateOptions { verify: false, ..moving() };
    assert!(take(&f, &[], unverified()).unwrap().images[0].moved);
}

#[test]
fn what_cannot_be_retired_is_reported() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    let names = f.at("image/overlay2/repositories.json");
    let set = |flags| rustix::fs::ioctl_setflags(std::fs::File::open(&names).unwrap(), flags);
    if set(rustix::fs::IFlags::IMMUTABLE).is_err() {
        eprintln!("skipped: the file system has no files that cannot be replaced");
        return;
    }
    let report = take(&f, &[], moving());
    set(rustix::fs::IFlags::empty()).unwrap();
    let report = report.unwrap();
    assert!(!report.is_whole() && report.unfinished.is_some(), "{report:?}");
    assert!(report.images[0].error.is_none() && !report.images[0].moved);
    assert!(report.images[0].kept.is_some(), "{report:?}");
    assert_eq!(ids(&f), [id]);
    assert!(take(&f, &[], moving()).unwrap().images[0].moved);
}

#[test]
fn what_a_killed_call_has_linked_is_separated() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    assert!(take(&f, &[], MigrateOptions::default()).unwrap().is_whole());
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let here = f.diff(&chain[0]).join("etc/a");
    // In the place of the store's, which is behind a mount of its own.
    let there = f.at("linked");
    std::fs::hard_link(&here, &there).unwrap();
    f.container("box", &id);
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && !report.images[0].moved, "{report:?}");
    let (here, there) = (here.metadata().unwrap(), there.metadata().unwrap());
    assert_eq!((here.nlink(), there.nlink()), (1, 1));
    assert_ne!(here.ino(), there.ino());
}

/// Gives layers the ids that BuildKit's snapshotter makes; returns them.
fn named_by_buildkit(f: &Fixture, chain: &[Digest]) -> Vec<String> {
    let mut ids = Vec::new();
    for chain_id in chain {
        let old = std::fs::read_to_string(f.record(chain_id).join("cache-id")).unwrap();
        let new = format!("zq{}", &old[..23]);
        let dir = f.at("overlay2").join(&new);
        std::fs::rename(f.at("overlay2").join(&old), &dir).unwrap();
        let link = f.at("overlay2/l").join(std::fs::read_to_string(dir.join("link")).unwrap());
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(format!("../{new}/diff"), link).unwrap();
        std::fs::write(f.record(chain_id).join("cache-id"), &new).unwrap();
        ids.push(new);
    }
    ids
}

#[test]
fn layers_that_buildkit_has_made_move_unless_its_cache_has_them() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["built:1"], &[base(), middle(), top("t")], None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let ids = named_by_buildkit(&f, &chain);
    std::fs::create_dir(f.at("buildkit")).unwrap();
    let database = f.at("buildkit/snapshots.db");
    std::fs::write(&database, format!("\0{}\0", ids[0])).unwrap();
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    let left: Vec<String> = f.docker().layers().unwrap().into_iter().map(|l| l.cache_id).collect();
    assert_eq!(left, ids[..1]);
    assert!(!f.at("overlay2").join(&ids[1]).exists() && !f.at("overlay2").join(&ids[2]).exists());
    assert_eq!(listing(&f.at("overlay2/l")).len(), 1);
    let kept = f.diff(&chain[0]).join("etc/a");
    assert_eq!(kept.metadata().unwrap().nlink(), 1, "the cache's files are its own");
    let layers = &report.images[0].layers;
    assert_eq!(std::fs::read(content(&f, &layers[0].id).join("etc/a")).unwrap(), b"base");
    assert_eq!(std::fs::read(content(&f, &layers[2].id).join("top/file")).unwrap(), b"t");
    // Once the cache is pruned, the rest goes with the next image that has it.
    std::fs::remove_file(&database).unwrap();
    f.image(&["built:2"], &[base(), top("u")], None);
    assert!(take(&f, &[], moving()).unwrap().images[0].moved);
    let left = listing(&f.at("overlay2"));
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [("l".to_owned(), "/".to_owned())]);
}
