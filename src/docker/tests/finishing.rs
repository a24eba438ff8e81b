//! Moves that were ended while docker was forgetting, and what their journal may lead to.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, symlink};

use super::super::journal::{Begun, Journal, NAME};
use super::*;

fn journal_path(f: &Fixture) -> PathBuf {
    f.at("image/overlay2").join(NAME)
}

/// Two images with a common layer, one upon an unnamed step; and one that stays.
fn stocked(f: &Fixture) -> [Digest; 3] {
    let step = f.image(&[], &[base()], None);
    let app = f.image(&["app:1"], &[base(), middle()], Some(&step));
    let web = f.image(&["web:1"], &[base(), top("web")], None);
    f.image(&["stays:1"], &[top("stays")], None);
    [step, app, web]
}

/// Does what a move of these images does up to the step `steps`, and stops there as if it was killed. What was to leave.
fn ended_after(f: &Fixture, images: &[&Digest], steps: usize) -> Journal {
    let docker = f.docker();
    let records: Vec<ImageRecord> = images.iter().map(|id| docker.image(id).unwrap()).collect();
    let leaving =
        docker.leaving(&records.iter().collect::<Vec<_>>(), &[], &BTreeSet::default()).unwrap();
    let journal = Journal {
        images: leaving.images.clone(),
        layers: leaving.layers.keys().cloned().collect(),
    };
    let all: [&dyn Fn(); 5] = [
        &|| docker.write_journal(&journal).unwrap(),
        &|| docker.forget_names(&leaving).unwrap(),
        &|| docker.forget_images(&leaving).unwrap(),
        &|| docker.forget_metadata(&journal).unwrap(),
        &|| docker.forget_layers(&leaving).unwrap(),
    ];
    all.iter().take(steps).for_each(|step| step());
    journal
}

#[test]
fn whatever_was_begun_is_finished() {
    if !needs_root() {
        return;
    }
    let undisturbed = Fixture::new();
    stocked(&undisturbed);
    assert!(take(&undisturbed, &["app:1", "web:1"], moving()).unwrap().is_whole());
    assert!(!journal_path(&undisturbed).exists());
    let wanted = listing(&undisturbed.at(""));
    // The same command as before; one without names; one that is about another image.
    let calls: [&[&str]; 3] = [&["app:1", "web:1"], &[], &["other:1"]];
    for (steps, images) in (1..=5).flat_map(|steps| calls.map(|images| (steps, images))) {
        let f = Fixture::new();
        let [_, app, web] = stocked(&f);
        if images == ["other:1"] {
            f.image(images, &[base(), top("other")], None);
        }
        take(&f, &["app:1", "web:1"], MigrateOptions::default()).unwrap();
        let written = ended_after(&f, &[&app, &web], steps);
        assert_eq!(written.images.len(), 3, "the step leaves with what was built upon it");
        // Whoever only looks changes nothing.
        let before = listing(&f.at(""));
        let dry = take(&f, images, MigrateOptions { dry_run: true, ..moving() }).unwrap();
        assert_eq!(listing(&f.at("")), before);
        let report = take(&f, images, moving()).unwrap();
        let what = format!("{steps} {images:?} {report:?}");
        assert!(report.is_whole(), "{what}");
        assert_eq!(dry.finished, report.finished, "{what}");
        assert!(!journal_path(&f).exists(), "{what}");
        let names = |f: &Fixture| -> Vec<_> {
            f.docker().images().unwrap().into_iter().flat_map(|i| i.names).collect()
        };
        // Before the names have gone nothing has begun, and whoever does not ask for the images leaves them.
        if steps == 1 && images == ["other:1"] {
            assert_eq!(names(&f).len(), 3, "{what}");
            continue;
        }
        if !images.is_empty() {
            assert_eq!(names(&f), ["stays:1"], "{what}");
            assert_eq!(listing(&f.at("")), wanted, "{what}");
        }
        let finished = match steps {
            // The step never had a name.
            1 => 1,
            // The names had gone, and nothing else.
            2 => 3,
            _ => 0,
        };
        assert_eq!(report.finished.images.len(), finished, "{what}");
        let layers = if steps == 5 { 0 } else { written.layers.len() };
        assert_eq!(report.finished.layers, layers, "{what}");
        // The step is docker's own: it never becomes an image of the store.
        let store = f.store();
        assert!(store.images().unwrap().iter().all(|image| !image.names.is_empty()), "{what}");
        for (id, name) in [(&app, "app"), (&web, "web")] {
            assert_eq!(store.image(&format!("docker.io/library/{name}:1")).unwrap().id, id.hex());
        }
    }
}

#[test]
fn half_of_a_layer_is_finished_by_a_move_into_any_store() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let [_, app, web] = stocked(&f);
    take(&f, &["app:1", "web:1"], MigrateOptions::default()).unwrap();
    let chain = f.docker().image(&app).unwrap().chain_ids();
    ended_after(&f, &[&app, &web], 4);
    // The upper layer's record is away, its files half gone; of the one below all is there.
    let database = f.at("image/overlay2/layerdb/sha256");
    let dir = f.diff(&chain[1]).parent().unwrap().to_path_buf();
    let gone = database.join(format!("{}-{}-removing", chain[1].hex(), "0".repeat(64)));
    std::fs::rename(f.record(&chain[1]), &gone).unwrap();
    std::fs::remove_file(dir.join("link")).unwrap();
    std::fs::remove_file(dir.join("diff/srv/new")).unwrap();
    // What docker removes itself is docker's.
    let theirs = database.join(format!("{}-{}-removing", "1".repeat(64), "0".repeat(64)));
    std::fs::create_dir(&theirs).unwrap();
    // Another store than the one that has the images.
    let other = Fixture::new();
    let images = vec!["stays:1".to_owned()];
    let report =
        migrate(&other.store(), &f.docker(), &MigrateOptions { images, ..moving() }).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert_eq!(report.finished, Finished { images: Vec::new(), layers: 3 });
    assert!(theirs.exists() && !gone.exists() && !dir.exists() && !journal_path(&f).exists());
    let left = listing(&f.at("overlay2"));
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [("l".to_owned(), "/".to_owned())]);
}

#[test]
fn an_image_without_a_name_stays_where_no_store_has_it() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let [_, app, web] = stocked(&f);
    take(&f, &["app:1", "web:1"], MigrateOptions::default()).unwrap();
    ended_after(&f, &[&app, &web], 2);
    let other = Fixture::new();
    let into_other = |images: &[&str]| {
        let images = images.iter().map(ToString::to_string).collect();
        migrate(&other.store(), &f.docker(), &MigrateOptions { images, ..moving() })
    };
    let report = into_other(&["stays:1"]).unwrap();
    assert!(report.is_whole() && report.finished.is_empty(), "{report:?}");
    assert!(f.config(&app).exists() && f.config(&web).exists());
    // Who has it lets docker forget it, by the name that it had.
    let report = take(&f, &["app:1"], moving()).unwrap();
    assert_eq!(report.finished.images.len(), 3, "{report:?}");
    assert!(!f.config(&app).exists() && !f.config(&web).exists());
    assert!(f.docker().layers().unwrap().is_empty() && !journal_path(&f).exists());
    let e = take(&f, &["app:1"], moving()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ImageUnknown, "{e}");
}

#[test]
fn what_has_come_into_use_again_stays_and_is_dockers_own() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let [_, app, web] = stocked(&f);
    take(&f, &["app:1", "web:1"], MigrateOptions::default()).unwrap();
    let chain = f.docker().image(&app).unwrap().chain_ids();
    ended_after(&f, &[&app, &web], 2);
    // As by a daemon that has run since.
    f.names.borrow_mut().clear();
    let again = f.image(&["again:1"], &[base(), middle()], None);
    let linked = f.diff(&chain[0]).join("etc/a");
    std::fs::hard_link(&linked, f.at("linked")).unwrap();
    let report = take(&f, &["app:1"], moving()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.finished.images.len(), report.finished.layers), (3, 1));
    let docker = f.docker();
    assert_eq!(docker.image(&again).unwrap().names, ["again:1"]);
    assert_eq!(docker.open_layers(&docker.image(&again).unwrap()).unwrap().len(), 2);
    assert_eq!(f.diff(&chain[0]).join("etc/a").metadata().unwrap().nlink(), 1);
    assert!(!f.config(&web).exists() && !journal_path(&f).exists());
}

#[test]
fn a_layer_that_cannot_be_read_keeps_no_other_from_being_separated() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let all = ["a:1", "b:1", "c:1"].map(|name| f.image(&[name], &[top(name)], None));
    take(&f, &[], MigrateOptions::default()).unwrap();
    let chain: Vec<Digest> = ended_after(&f, &all.each_ref(), 2).layers.into_iter().collect();
    // As by a daemon that has run since: all of them have their names again.
    f.write_names();
    f.image(&["other:1"], &[top("other")], None);
    let files: Vec<PathBuf> = chain.iter().map(|id| f.diff(id).join("top/file")).collect();
    for (at, file) in files.iter().enumerate() {
        std::fs::hard_link(file, f.at(&format!("linked-{at}"))).unwrap();
    }
    let links = || files.iter().map(|f| f.metadata().unwrap().nlink()).collect::<Vec<_>>();
    // In the order in which they are gone through: one whose files no path leads to, one with a damaged record, a good one.
    let deep = make_deep(&f.diff(&chain[0]));
    let size = f.record(&chain[1]).join("size");
    let right = std::fs::read(&size).unwrap();
    std::fs::write(&size, "-1").unwrap();
    let report = take(&f, &["other:1"], moving()).unwrap();
    assert_eq!(links(), [2, 2, 1], "{report:?}");
    let said = report.unfinished.clone().unwrap();
    assert!(said.contains(&format!("giving docker a copy of its layer {}", chain[0])), "{said}");
    assert!(said.contains("looking for linked files"), "{said}");
    assert!(report.images[0].kept.is_some() && journal_path(&f).exists(), "{report:?}");
    std::fs::remove_dir_all(deep).unwrap();
    let report = take(&f, &["other:1"], moving()).unwrap();
    assert_eq!(links(), [1, 2, 1], "{report:?}");
    let said = report.unfinished.clone().unwrap();
    assert!(said.contains(chain[1].as_str()) && said.contains("its size is"), "{said}");
    std::fs::write(&size, right).unwrap();
    let report = take(&f, &["other:1"], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert_eq!(links(), [1, 1, 1]);
    assert!(!journal_path(&f).exists());
}

/// Directories in each other, more than a path can name; the uppermost.
fn make_deep(at: &Path) -> PathBuf {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let name = "d".repeat(250);
    let mut dir = std::fs::File::open(at).unwrap();
    for _ in 0..20 {
        mkdirat(&dir, &name, Mode::RWXU).unwrap();
        dir =
            openat(&dir, &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap().into();
    }
    at.join(name)
}

/// A journal that says these are to be deleted leads to nothing: docker has all that it has after a move without one.
fn leads_to_nothing(what: &str, prepare: impl Fn(&Fixture) -> Journal) {
    let left = [false, true].map(|with| {
        let f = Fixture::new();
        f.image(&["moved:1"], &[top("moved")], None);
        let journal = prepare(&f);
        if with {
            f.docker().write_journal(&journal).unwrap();
        }
        let dry = take(&f, &["moved:1"], MigrateOptions { dry_run: true, ..moving() }).unwrap();
        assert!(dry.finished.is_empty(), "{what}: {dry:?}");
        let report = take(&f, &["moved:1"], moving()).unwrap();
        assert!(report.images[0].moved && report.finished.is_empty(), "{what}: {report:?}");
        let mut left = listing(&f.at(""));
        left.remove(&format!("image/overlay2/{NAME}"));
        left
    });
    assert_eq!(left[0], left[1], "{what}");
}

fn written(images: &[&Digest], layers: &[Digest]) -> Journal {
    Journal {
        images: images.iter().map(|id| ((*id).clone(), vec!["moved:1".to_owned()])).collect(),
        layers: layers.iter().cloned().collect(),
    }
}

#[test]
fn a_journal_deletes_nothing_that_docker_uses() {
    if !needs_root() {
        return;
    }
    let all = |f: &Fixture, id: &Digest| {
        let chain = f.docker().image(id).unwrap().chain_ids();
        written(&[id], &chain)
    };
    leads_to_nothing("an image that has a name", |f| {
        let id = f.image(&["named:1"], &[base(), middle()], None);
        take(f, &["named:1"], MigrateOptions::default()).unwrap();
        all(f, &id)
    });
    leads_to_nothing("an image that has a name by digest alone", |f| {
        let id = f.image(&["named:1"], &[base()], None);
        take(f, &["named:1"], MigrateOptions::default()).unwrap();
        let mut names = f.names.borrow_mut();
        let digest = format!("named@{}", Digest::sha256(b"manifest"));
        names.insert("named".to_owned(), BTreeMap::from([(digest, id.to_string())]));
        drop(names);
        f.write_names();
        all(f, &id)
    });
    leads_to_nothing("an image that no store has", |f| {
        let id = f.image(&[], &[base(), middle()], None);
        all(f, &id)
    });
    leads_to_nothing("an image whose layers came with another one", |f| {
        let id = f.image(&[], &[base(), middle()], None);
        f.image(&["other:1"], &[base(), middle()], None);
        take(f, &["other:1"], MigrateOptions::default()).unwrap();
        assert_eq!(f.store().image(id.hex()).unwrap_err().kind(), ErrorKind::ImageUnknown);
        all(f, &id)
    });
    leads_to_nothing("an image without layers that no store has", |f| {
        let id = f.image(&[], &[], None);
        all(f, &id)
    });
    leads_to_nothing("an image of a container", |f| {
        let id = f.image(&[], &[base(), middle()], None);
        take(f, &[id.hex()], MigrateOptions::default()).unwrap();
        f.container("box", &id);
        all(f, &id)
    });
    leads_to_nothing("an image that another is built upon", |f| {
        let id = f.image(&[], &[base()], None);
        f.image(&["child:1"], &[base(), middle()], Some(&id));
        take(f, &["child:1"], MigrateOptions::default()).unwrap();
        all(f, &id)
    });
    leads_to_nothing("a layer that a directory lies on", |f| {
        let id = f.image(&[], &[base()], None);
        let chain = f.docker().image(&id).unwrap().chain_ids();
        let cache_id = std::fs::read_to_string(f.record(&chain[0]).join("cache-id")).unwrap();
        f.directory("buildcache0000000000000000", Some(&cache_id));
        std::fs::remove_file(f.config(&id)).unwrap();
        written(&[], &chain)
    });
    leads_to_nothing("a layer of the build cache", |f| {
        let id = f.image(&[], &[base()], None);
        let chain = f.docker().image(&id).unwrap().chain_ids();
        std::fs::create_dir(f.at("buildkit")).unwrap();
        std::fs::write(f.at("buildkit/snapshots.db"), format!("\0{}\0", chain[0])).unwrap();
        std::fs::remove_file(f.config(&id)).unwrap();
        written(&[], &chain)
    });
    leads_to_nothing("a layer whose child is no layer of an image", |f| {
        let id = f.image(&[], &[base(), middle()], None);
        let chain = f.docker().image(&id).unwrap().chain_ids();
        std::fs::remove_file(f.config(&id)).unwrap();
        std::fs::remove_file(f.diff(&chain[1]).parent().unwrap().join("lower")).unwrap();
        written(&[], &chain[..1])
    });
    leads_to_nothing("what neither docker nor anybody has", |f| {
        let id = f.image(&["named:1"], &[base()], None);
        written(&[&Digest::sha256(b"no image")], &[Digest::sha256(b"no layer"), id])
    });
}

#[test]
fn a_record_on_its_way_out_does_not_lead_elsewhere() {
    if !needs_root() {
        return;
    }
    let gone = Digest::sha256(b"gone");
    let record = |f: &Fixture, cache_id: &str| {
        let name = format!("{}-{}-removing", gone.hex(), "0".repeat(64));
        let record = f.at("image/overlay2/layerdb/sha256").join(name);
        std::fs::create_dir(&record).unwrap();
        std::fs::write(record.join("cache-id"), cache_id).unwrap();
        written(&[], std::slice::from_ref(&gone))
    };
    leads_to_nothing("the files of a layer that is there", |f| {
        let id = f.image(&["named:1"], &[base()], None);
        let chain = f.docker().image(&id).unwrap().chain_ids();
        let cache_id = std::fs::read_to_string(f.record(&chain[0]).join("cache-id")).unwrap();
        record(f, &cache_id)
    });
    leads_to_nothing("the files of a container", |f| {
        let image = f.image(&["named:1"], &[base()], None);
        let id = f.container("box", &image);
        record(f, &id)
    });
    for odd in ["l", "../../outside", "..", ""] {
        leads_to_nothing("a name that is none", |f| {
            std::fs::create_dir(f.dir.path().join("outside")).unwrap();
            record(f, odd)
        });
    }
    leads_to_nothing("files that others lie on", |f| {
        let cache_id = Digest::sha256(b"files").hex().to_owned();
        f.directory(&cache_id, None);
        f.directory("buildcache0000000000000000", Some(&cache_id));
        // Its short name is found without the file that tells it.
        std::fs::remove_file(f.at("overlay2").join(&cache_id).join("link")).unwrap();
        record(f, &cache_id)
    });
    leads_to_nothing("files that the build cache knows", |f| {
        let cache_id = Digest::sha256(b"files").hex().to_owned();
        f.directory(&cache_id, None);
        std::fs::create_dir(f.at("buildkit")).unwrap();
        std::fs::write(f.at("buildkit/snapshots.db"), format!("\0{cache_id}\0")).unwrap();
        record(f, &cache_id)
    });
    leads_to_nothing("a record that cannot be read beside", |f| {
        let cache_id = Digest::sha256(b"files").hex().to_owned();
        f.directory(&cache_id, None);
        let odd = f.at("image/overlay2/layerdb/sha256").join("1".repeat(64));
        std::fs::create_dir(&odd).unwrap();
        record(f, &cache_id)
    });
}

#[test]
fn a_journal_that_is_none_refuses_a_move_and_nothing_else() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    let secret = f.dir.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let path = journal_path(&f);
    let bad: [&dyn Fn(); 6] = [
        &|| std::fs::write(&path, "").unwrap(),
        &|| std::fs::write(&path, "[]").unwrap(),
        &|| std::fs::write(&path, r#"{"about":"","images":{"../..":[]},"layers":[]}"#).unwrap(),
        &|| std::fs::write(&path, r#"{"about":"","images":{},"layers":["sha256:0"]}"#).unwrap(),
        &|| std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap(),
        &|| symlink(&secret, &path).unwrap(),
    ];
    for (at, write) in bad.iter().enumerate() {
        let _ = std::fs::remove_file(&path);
        write();
        let e = take(&f, &[], moving()).unwrap_err();
        assert!(e.to_string().contains(NAME), "{at}: {e}");
        assert!(f.config(&id).exists() && f.store().images().unwrap().is_empty(), "{at}");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    }
    assert!(take(&f, &[], MigrateOptions::default()).unwrap().is_whole());
}

#[test]
fn migrations_of_one_root_exclude_one_another_where_one_moves() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    f.image(&["a:1"], &[base()], None);
    let refused = |options: MigrateOptions<'_>| {
        let e = take(&f, &[], options).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
        assert!(e.to_string().contains("another migration"), "{e}");
    };
    let docker = f.docker();
    let turn = docker.turn(true).unwrap();
    refused(MigrateOptions::default());
    refused(moving());
    drop(turn);
    let turn = docker.turn(false).unwrap();
    refused(moving());
    assert!(take(&f, &[], MigrateOptions::default()).unwrap().is_whole());
    drop(turn);
    assert!(take(&f, &[], moving()).unwrap().images[0].moved);
}

#[test]
fn a_daemon_that_comes_late_keeps_its_images() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base()], None);
    take(&f, &[], MigrateOptions::default()).unwrap();
    let docker = f.docker();
    let image = docker.image(&id).unwrap();
    let leaving = docker.leaving(&[&image], &[], &BTreeSet::default()).unwrap();
    let alone = docker.alone().unwrap();
    // Only a daemon makes one.
    std::fs::create_dir(f.at("buildkit")).unwrap();
    std::fs::write(f.at("buildkit/cache.db"), "").unwrap();
    let before = listing(&f.at(""));
    let e = docker.retire(&alone, &leaving, &Begun::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
    assert_eq!(listing(&f.at("")), before);
    drop(alone);
    let alone = docker.alone().unwrap();
    docker.retire(&alone, &leaving, &Begun::default()).unwrap();
    assert!(docker.images().unwrap().is_empty());
}
