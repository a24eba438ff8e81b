//! The dialect of Docker's overlay2 (`overlay-driver.md` 17).

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::archive::Compat;
use crate::driver::tests::{TestStore, chain, id, mode, mounted_at, snapshot, super_options};
use crate::driver::{
    ApplyOptions, CreateOptions, DiffOptions, Driver, MountDescription, MountOptions,
    detect_dialect, open_dialect,
};
use crate::{Dialect, ErrorKind};

fn docker(store: &TestStore, options: &[&str]) -> crate::Result<Box<dyn Driver>> {
    let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
    open_dialect(Dialect::Moby, &store.graph, &store.run, &options)
}

/// Two image layers with a file each, and a container's layer on them.
fn image(store: &TestStore) -> Box<dyn Driver> {
    let driver = docker(store, &[]).unwrap();
    chain(&*driver, &["base", "mid"]);
    driver.create_read_write(&id("box"), Some(&id("mid")), &CreateOptions::default()).unwrap();
    for layer in ["base", "mid"] {
        let diff = driver.home().join(layer).join("diff");
        fs::create_dir_all(diff.join("etc")).unwrap();
        fs::write(diff.join("etc").join(layer), layer).unwrap();
    }
    driver
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn layers_have_dockers_files() {
    // MOB-1, MOB-10, MOB-12, MOB-22 and 17.1
    let store = TestStore::new();
    let driver = image(&store);
    assert_eq!((driver.name(), driver.dialect()), ("overlay2", Some(Dialect::Moby)));
    let home = driver.home();
    assert_eq!((mode(home), mode(home.join("l"))), (0o701, 0o701));
    assert!(mounted_at(home).is_none(), "the home is no mount of itself");
    assert_eq!(names(home), ["base", "box", "l", "mid"]);
    assert_eq!(names(&home.join("base")), ["committed", "diff", "link"]);
    assert_eq!(names(&home.join("mid")), ["committed", "diff", "link", "lower", "work"]);
    assert_eq!(names(&home.join("box")), ["diff", "link", "lower", "work"]);
    for layer in ["base", "mid", "box"] {
        assert_eq!(mode(home.join(layer)), 0o701, "{layer}");
        assert_eq!(mode(home.join(layer).join("diff")), 0o755, "{layer}");
    }
    assert_eq!((mode(home.join("mid/work")), mode(home.join("mid/committed"))), (0o700, 0o600));
    assert_eq!(home.join("mid/committed").metadata().unwrap().len(), 0);
    let link = |layer: &str| fs::read_to_string(home.join(layer).join("link")).unwrap();
    let lower = fs::read_to_string(home.join("box/lower")).unwrap();
    assert_eq!(lower, format!("l/{}:l/{}", link("mid"), link("base")));
    let rows = driver.metadata(&id("box")).unwrap();
    let paths =
        |of: &[&str]| of.iter().map(|l| format!("{}/{l}/diff", home.display())).collect::<Vec<_>>();
    assert_eq!(rows["LowerDir"], paths(&["mid", "base"]).join(":"));
    assert_eq!(rows["UpperDir"], paths(&["box"])[0]);
    assert_eq!(rows.len(), 4);
}

#[test]
fn only_a_layer_on_others_is_mounted() {
    // MOB-6, MOB-13, MOB-14, MOB-15, MOB-19
    let store = TestStore::new();
    let driver = image(&store);
    let home = driver.home().to_path_buf();
    let before = snapshot(&home);
    let options = MountOptions::default();
    assert_eq!(driver.get(&id("base"), &options).unwrap(), home.join("base/diff"));
    driver.put(&id("base")).unwrap();
    driver.put(&id("base")).unwrap();
    let described = driver.describe_mount(&id("base"), &options).unwrap();
    assert_eq!(described, MountDescription::Directory(home.join("base/diff")));
    let e = driver.mount_detached(&id("base"), &options).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    assert_eq!(snapshot(&home), before, "nothing was mounted or changed");

    // The kernel shows it only where it is not the usual.
    let MountDescription::Overlay { options: words, .. } =
        driver.describe_mount(&id("box"), &options).unwrap()
    else {
        panic!("a directory")
    };
    let known = Path::new("/sys/module/overlay/parameters/index").exists();
    assert_eq!(words, if known { vec!["index=off"] } else { vec![] }, "MOB-6");

    // What has children is not written to.
    let merged = driver.get(&id("mid"), &options).unwrap();
    let e = fs::write(merged.join("new"), "").unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    driver.put(&id("mid")).unwrap();

    let merged = driver.get(&id("box"), &options).unwrap();
    assert_eq!(merged, home.join("box/merged"));
    assert_eq!(mode(&merged), 0o755);
    let shown = super_options(&merged);
    let l = |layer: &str| {
        home.join("l").join(fs::read_to_string(home.join(layer).join("link")).unwrap())
    };
    let lowers = format!("lowerdir={}:{}", l("mid").display(), l("base").display());
    assert!(shown.contains(&lowers), "MOB-14: {shown}");
    assert_eq!(fs::read_to_string(merged.join("etc/base")).unwrap(), "base");
    fs::write(merged.join("new"), "new").unwrap();
    driver.put(&id("box")).unwrap();
    assert!(!home.join("box/merged").exists(), "MOB-19");
    assert_eq!(names(&home.join("box/diff")), ["new"]);
}

#[test]
fn changes_come_from_trees_and_tars_from_the_upper() {
    // MOB-23, MOB-24, MOB-25, MOB-27
    let store = TestStore::new();
    let driver = image(&store);
    let merged = driver.get(&id("box"), &MountOptions::default()).unwrap();
    fs::remove_file(merged.join("etc/base")).unwrap();
    fs::create_dir(merged.join("plain")).unwrap();
    fs::remove_dir_all(merged.join("etc")).unwrap();
    fs::create_dir(merged.join("etc")).unwrap();
    fs::write(merged.join("etc/own"), "own").unwrap();
    driver.put(&id("box")).unwrap();
    // The kernel marks a new directory in place of an old one; one that hides nothing is marked here.
    let plain = driver.home().join("box/diff/plain");
    for (key, value) in [("trusted.overlay.opaque", "y"), ("user.mark", "told")] {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&plain, key, value.as_bytes(), flags).unwrap();
    }

    let list = |driver: &dyn Driver| -> Vec<String> {
        let changes =
            driver.changes(&id("box"), Some(&id("mid")), &DiffOptions::default()).unwrap();
        changes.iter().map(|c| String::from_utf8(c.path.clone()).unwrap()).collect()
    };
    assert_eq!(list(&*driver), ["/etc", "/etc/base", "/etc/mid", "/etc/own", "/plain"]);
    let mut tar = Vec::new();
    driver.diff(&id("box"), Some(&id("mid")), &DiffOptions::default(), &mut tar).unwrap();
    let mut members = Vec::new();
    let mut modes = Vec::new();
    for entry in tar_members(&tar) {
        members.push(entry.0);
        modes.push(entry.1);
    }
    assert_eq!(members, ["etc/", "etc/.wh..wh..opq", "etc/own", "plain/", "plain/.wh..wh..opq"]);
    assert_eq!(modes[0] & 0o170_000, 0o040_000, "modes have the bits of the kind");
    assert_eq!(modes[2], 0o100_644);

    // Of extended attributes capabilities alone, unless the caller wants another form.
    let mut other = Vec::new();
    let form = DiffOptions { compat: Compat::V1_24, ..DiffOptions::default() };
    driver.diff(&id("box"), Some(&id("mid")), &form, &mut other).unwrap();
    let tells = |tar: &[u8]| tar.windows(9).any(|text| text == b"user.mark");
    assert_eq!((tells(&tar), tells(&other)), (false, true));

    // Over what is not its parent: the trees.
    let mut over_base = Vec::new();
    driver.diff(&id("box"), Some(&id("base")), &DiffOptions::default(), &mut over_base).unwrap();
    let over_base: Vec<String> = tar_members(&over_base).into_iter().map(|m| m.0).collect();
    assert_eq!(over_base, ["etc/", "etc/.wh.base", "etc/own", "plain/"]);

    driver.create(&id("copy"), Some(&id("mid")), &CreateOptions::default()).unwrap();
    driver.apply_diff(&id("copy"), &ApplyOptions::default(), &mut &tar[..]).unwrap();
    let view = driver.get(&id("copy"), &MountOptions::read_only()).unwrap();
    assert_eq!(names(&view.join("etc")), ["own"]);
    driver.put(&id("copy")).unwrap();
}

/// Names and modes of the members of a tar of short names.
fn tar_members(tar: &[u8]) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut rest = tar;
    let field = |header: &[u8], at: std::ops::Range<usize>| {
        let text: Vec<u8> = header[at].iter().copied().take_while(|b| *b != 0).collect();
        String::from_utf8(text).unwrap().trim().to_owned()
    };
    loop {
        let mut header = [0; 512];
        rest.read_exact(&mut header).unwrap();
        if header == [0; 512] {
            return found;
        }
        let size = usize::from_str_radix(&field(&header, 124..136), 8).unwrap();
        if header[156] != b'x' {
            let mode = u32::from_str_radix(&field(&header, 100..108), 8).unwrap();
            found.push((field(&header, 0..100), mode));
        }
        rest = &rest[size.div_ceil(512) * 512..];
    }
}

#[test]
fn a_home_tells_its_dialect() {
    // 20, rule 3
    let store = TestStore::new();
    drop(image(&store));
    let home = store.graph.join("overlay2");
    assert_eq!(detect_dialect(&home).unwrap(), Some(Dialect::Moby));
    let by_name = store.open("overlay2", None, &[]);
    assert_eq!(by_name.dialect(), Some(Dialect::Moby));

    let ours = TestStore::new();
    let driver = ours.open("overlay2", None, &[]);
    assert_eq!(driver.dialect(), Some(Dialect::Containers), "an empty home");
    chain(&*driver, &["base", "top"]);
    assert_eq!(detect_dialect(driver.home()).unwrap(), Some(Dialect::Containers));
    fs::remove_dir_all(driver.home().join("base/empty")).unwrap();
    assert_eq!(detect_dialect(driver.home()).unwrap(), Some(Dialect::Containers));
    // What a killed creation leaves looks like a base layer of Docker's.
    for name in ["0-left", "left", "z-left"] {
        fs::create_dir_all(driver.home().join(name).join("diff")).unwrap();
        fs::write(driver.home().join(name).join("link"), "").unwrap();
    }
    assert_eq!(detect_dialect(driver.home()).unwrap(), Some(Dialect::Containers));
    assert_eq!(detect_dialect(Path::new("/nowhere/overlay2")).unwrap(), None);

    // Nor does a leftover of 2016 make today's home one of then.
    let today = TestStore::new();
    let driver = today.overlay(&[]);
    chain(&*driver, &["base"]);
    for name in ["0-old", "old", "z-old"] {
        fs::create_dir_all(driver.home().join(name).join("root")).unwrap();
    }
    assert_eq!(detect_dialect(driver.home()).unwrap(), Some(Dialect::Containers));
}

#[test]
fn options_have_its_name_and_are_two() {
    // MOB-2, MOB-9
    let store = TestStore::new();
    for good in ["overlay2.override_kernel_check=true", "OVERLAY2.size=20m"] {
        docker(&store, &[good]).unwrap();
    }
    for (bad, says) in [
        ("overlay.size=1g", "overlay2: unknown option overlay.size"),
        ("size=1g", "overlay2: unknown option size"),
        ("overlay2.mountopt=nodev", "overlay2: unknown option overlay2.mountopt"),
        ("overlay2.override_kernel_check=maybe", "a boolean is"),
        ("overlay2.size=x", "it is not a size"),
    ] {
        let e = docker(&store, &[bad]).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Config, "{bad}");
        assert!(e.to_string().contains(says), "{e}");
    }
    let driver = docker(&store, &[]).unwrap();
    let storage_opt = [("size".to_owned(), "1g".to_owned())].into();
    let sized = CreateOptions { storage_opt, ..CreateOptions::default() };
    let e = driver.create(&id("base"), None, &sized).unwrap_err();
    assert!(e.to_string().contains("only supported for ReadWrite Layers"), "{e}");
}

#[test]
fn a_layer_too_deep_is_refused_when_it_is_made() {
    // MOB-11, MOB-16
    let store = TestStore::new();
    let driver = docker(&store, &[]).unwrap();
    let ids: Vec<String> = (0..=128).map(|n| format!("layer{n}")).collect();
    chain(&*driver, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let before = snapshot(driver.home());
    let e = driver
        .create_read_write(&id("one-more"), Some(&id("layer128")), &CreateOptions::default())
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::MaxDepth);
    assert_eq!(snapshot(driver.home()), before, "the parent is not frozen");
    let merged = driver.get(&id("layer128"), &MountOptions::default()).unwrap();
    fs::write(merged.join("f"), "").unwrap();
    driver.put(&id("layer128")).unwrap();
}

#[test]
fn its_layers_are_removed_one_by_one() {
    // ACC-16, MOB-8, MOB-20: what an empty `link` names is never taken for the directory of links
    let store = TestStore::new();
    let driver = image(&store);
    let home = driver.home().to_path_buf();
    driver.get(&id("box"), &MountOptions::default()).unwrap();
    fs::set_permissions(home.join("box/link"), PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(home.join("box/link"), "").unwrap();
    driver.remove(&id("box")).unwrap();
    assert!(mounted_at(&home.join("box/merged")).is_none());
    assert_eq!(names(&home.join("l")).len(), 2);
    driver.remove(&id("box")).unwrap();
    driver.deferred_remove(&id("mid")).unwrap().empty().unwrap();
    assert_eq!(names(&home.join("l")).len(), 1);
    let rows: Vec<String> = driver.status().into_iter().map(|(name, _)| name).collect();
    assert_eq!(rows, ["Backing Filesystem", "Supports d_type", "Native Overlay Diff"], "MOB-8");
    driver.cleanup().unwrap();
    let about = home.join("base").metadata().unwrap();
    assert_eq!((about.uid(), about.gid()), (0, 0));
}

#[test]
fn a_home_may_be_a_file_system_of_its_own() {
    // MOB-3, MOB-4
    let store = TestStore::new();
    let home = store.graph.join("overlay2");
    fs::create_dir_all(&home).unwrap();
    let tmpfs = rustix::mount::MountFlags::empty();
    rustix::mount::mount("home", &home, "tmpfs", tmpfs, None).unwrap();
    let driver = image(&store);
    let rows = driver.status();
    assert_eq!(rows[0], ("Backing Filesystem".to_owned(), "tmpfs".to_owned()));
    let merged = driver.get(&id("box"), &MountOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("etc/mid")).unwrap(), "mid");
    // MOB-21, DEF-23: what is in use stays.
    driver.cleanup().unwrap();
    assert!(mounted_at(&merged).is_some());
    driver.put(&id("box")).unwrap();
    assert!(mounted_at(&home).is_some(), "the home's own mount is not the driver's");
    assert_eq!(names(&home), ["base", "box", "l", "mid"]);
}

#[test]
fn the_words_of_a_mount_are_the_callers() {
    // MOB-17; MOB-26: what the kernel notes in an upper by them is read truly, without a comparison (DEF-2)
    let store = TestStore::new();
    let driver = image(&store);
    let options = MountOptions {
        options: ["nodev", "redirect_dir=on"].map(str::to_owned).into(),
        ..MountOptions::default()
    };
    let merged = driver.get(&id("box"), &options).unwrap();
    assert!(mounted_at(&merged).unwrap().options.split(',').any(|w| w == "nodev"));
    fs::rename(merged.join("etc"), merged.join("moved")).unwrap();
    driver.put(&id("box")).unwrap();
    let mut tar = Vec::new();
    driver.diff(&id("box"), Some(&id("mid")), &DiffOptions::default(), &mut tar).unwrap();
    let members: Vec<String> = tar_members(&tar).into_iter().map(|m| m.0).collect();
    assert_eq!(members, [".wh.etc", "moved/", "moved/.wh..wh..opq", "moved/base", "moved/mid"]);
}

#[test]
fn the_work_directory_is_roots_of_the_container() {
    // MOB-18
    let store = TestStore::new();
    let driver = docker(&store, &[]).unwrap();
    let map = vec![crate::IdMap { container_id: 0, host_id: 100_000, size: 65_536 }];
    let created =
        CreateOptions { uid_map: map.clone(), gid_map: map.clone(), ..CreateOptions::default() };
    driver.create(&id("base"), None, &created).unwrap();
    driver.create_read_write(&id("box"), Some(&id("base")), &created).unwrap();
    let mapped = MountOptions { uid_map: map.clone(), gid_map: map, ..MountOptions::default() };
    driver.get(&id("box"), &mapped).unwrap();
    let owner = |path: &str| {
        let about = driver.home().join(path).metadata().unwrap();
        (about.uid(), about.gid())
    };
    for path in ["box/work/work", "box/work", "box/diff", "box/merged"] {
        assert_eq!(owner(path), (100_000, 100_000), "{path}");
    }
    assert_eq!(owner("box"), (0, 0), "the layer's directory is the daemon's");
    driver.put(&id("box")).unwrap();
    let maps = crate::IdMaps::new(&created.uid_map, &created.gid_map);
    let e = driver.update_id_maps(&id("box"), &maps, &crate::IdMaps::default(), "").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotSupported);
    assert!(!driver.supports_shifting(&maps).unwrap());
}

#[test]
fn a_mount_that_somebody_else_ended_is_made_again() {
    // MOB-30
    let store = TestStore::new();
    let driver = image(&store);
    let merged = driver.get(&id("box"), &MountOptions::default()).unwrap();
    crate::sys::mount::detach(&merged).unwrap();
    let again = driver.get(&id("box"), &MountOptions::default()).unwrap();
    assert!(mounted_at(&again).is_some());
    driver.put(&id("box")).unwrap();
    assert!(mounted_at(&again).is_none() && !again.exists());
}
