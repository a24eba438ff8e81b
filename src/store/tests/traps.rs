//! Traps of `store-format.md` 16, each by its number.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use super::*;
use crate::ErrorKind;

/// A handle to a store whose home is no mount, so that parts of it can be moved.
fn open(fixture: &Fixture) -> Store {
    let mut options = fixture.options();
    if fixture.driver == "overlay" {
        options.driver_options = vec!["overlay.skip_mount_home=true".to_owned()];
    }
    Store::open(options).unwrap()
}

/// A layer, an image of it and a container of that, called `layer`, `image` and `container`.
fn filled() -> (Fixture, Store) {
    let fixture = Fixture::new();
    let store = open(&fixture);
    import(&store, "layer", None, &[("f", "x")]);
    store.set_layer_big_data("layer", "note", &mut &b"a note"[..]).unwrap();
    let image = NewImage {
        names: vec!["image".into()],
        layer: Some("layer".into()),
        big_data: vec![item("manifest", "{}")],
        ..NewImage::default()
    };
    store.create_image(image).unwrap();
    let container = NewContainer {
        names: vec!["container".into()],
        image: Some("image".into()),
        ..NewContainer::default()
    };
    store.create_container(container).unwrap();
    (fixture, store)
}

fn is_known(store: &Store, which: &str, name: &str) -> bool {
    match which {
        "layers" => store.layer(name).is_ok(),
        "images" => store.image(name).is_ok(),
        _ => store.container(name).is_ok(),
    }
}

// store-format.md 16.7
#[test]
fn a_change_without_a_new_last_writer_record_is_seen() {
    for (which, name) in [("layers", "layer"), ("images", "image"), ("containers", "container")] {
        let (fixture, store) = filled();
        let dir = fixture.path("graph").join(format!("{}-{which}", fixture.driver));
        let (file, lock) = (dir.join(format!("{which}.json")), dir.join(format!("{which}.lock")));
        assert!(is_known(&store, which, name));
        let token = fs::read(&lock).unwrap();
        let renamed = |from: &str, to: &str| {
            fixture.records(which).replace(&format!("[\"{from}\"]"), &format!("[\"{to}\"]"))
        };
        // Written into, as with an editor: the same file with another time.
        let old_time = fs::metadata(&file).unwrap().modified().unwrap();
        let text = renamed(name, "edited");
        fs::write(&file, text).unwrap();
        assert!(is_known(&store, which, "edited") && !is_known(&store, which, name), "{which}");
        // Put in its place with the time of the one before, as from a backup: another file.
        let set_time = |path: &Path, time: SystemTime| {
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        set_time(&file, old_time);
        assert!(is_known(&store, which, "edited"));
        let text = renamed("edited", "put-back");
        let aside = dir.join("aside");
        fs::write(&aside, text).unwrap();
        set_time(&aside, old_time);
        fs::rename(&aside, &file).unwrap();
        assert!(is_known(&store, which, "put-back") && !is_known(&store, which, "edited"));
        assert_eq!(fs::read(&lock).unwrap(), token, "{which}: the record says nothing of it");
    }
}

// store-format.md 16.33
#[test]
fn an_id_that_leads_out_of_the_store_is_no_path() {
    let (fixture, store) = filled();
    let outside = fixture.path("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["canary", "note", "manifest"] {
        fs::write(outside.join(name), "untouched").unwrap();
    }
    let before = fixture.listing("outside");
    let absolute = outside.to_str().unwrap();
    for odd in ["../../outside", "../outside", absolute, "..", "."] {
        for which in ["layers", "images", "containers"] {
            let layer = if which == "containers" { odd } else { "" };
            let head = format!(
                r#"[{{"id":"{odd}","image":"","layer":"{layer}","big-data-names":["note","manifest"],"created":"2026-11-21T07:02:46Z"}},"#
            );
            let text = fixture.records(which);
            fixture.write_records(which, &text.replacen('[', &head, 1));
        }
        let store = fixture.store();
        // All that is sound is listed and used.
        assert!(store.layers().unwrap().iter().any(|l| l.names == ["layer"]), "{odd}");
        assert!(store.images().unwrap().iter().any(|i| i.names == ["image"]), "{odd}");
        assert!(store.containers().unwrap().iter().any(|c| c.names == ["container"]), "{odd}");
        let mut diff = Vec::new();
        store.diff("layer", None, None, &mut diff).unwrap();
        assert!(store.layer_big_data(odd, "note").is_err(), "{odd}");
        assert!(store.image_big_data(odd, "manifest").is_err(), "{odd}");
        assert!(store.container_big_data(odd, "note").is_err(), "{odd}");
        assert!(store.mount(odd, &MountRequest::default()).is_err(), "{odd}");
        // Each call takes one of the three records away, or refuses.
        for _ in 0..4 {
            let _ = store.delete(odd);
        }
        assert_eq!(fixture.listing("outside"), before, "{odd}");
        for which in ["layers", "images", "containers"] {
            assert!(
                !fixture.records(which).contains(&format!("\"id\":\"{odd}\"")),
                "{odd} {which}"
            );
        }
    }
    let new = NewImage { id: Some("../outside".into()), ..NewImage::default() };
    assert_eq!(kind(store.create_image(new)), ErrorKind::InvalidArgument);
    let new = NewLayer { id: Some("../outside".into()), ..NewLayer::default() };
    assert_eq!(kind(store.create_layer(new)), ErrorKind::InvalidArgument);
}

// store-format.md 16.35
#[test]
fn links_in_the_place_of_files_are_not_followed() {
    let (fixture, store) = filled();
    let layer = store.layer("layer").unwrap().id.clone();
    let image = store.image("image").unwrap().id.clone();
    let top = store.container("container").unwrap().layer;
    let driver = fixture.driver;
    let mut files = Vec::new();
    for which in ["layers", "images", "containers"] {
        for kind in ["json", "lock"] {
            files.push(format!("{driver}-{which}/{which}.{kind}"));
        }
    }
    files.push("storage.lock".to_owned());
    files.push(format!("{driver}-layers/{layer}.tar-split.gz"));
    files.push(format!("{driver}-layers/{layer}"));
    files.push(format!("{driver}-layers/{layer}/note"));
    files.push(format!("{driver}-images/{image}"));
    files.push(format!("{driver}-images/{image}/manifest"));
    if driver == "overlay" {
        files.push("overlay/l".to_owned());
        files.extend(["merged", "work"].map(|dir| format!("overlay/{top}/{dir}")));
    }
    let outside = fixture.path("outside");
    fs::create_dir(&outside).unwrap();
    drop(store);
    for file in files {
        let (path, moved) = (fixture.path("graph").join(&file), outside.join("moved"));
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        let bytes = fs::read(&moved).ok();
        let before = fixture.listing("outside");
        // Everything that could read or write it.
        let store = open(&fixture);
        let mut refusals = Vec::new();
        let mut note = |outcome: crate::Result<()>| {
            refusals.extend(outcome.err().map(|e| e.to_string()));
        };
        note(store.layers().map(drop));
        note(store.images().map(drop));
        note(store.containers().map(drop));
        note(store.diff("layer", None, None, &mut Vec::new()).map(drop));
        note(store.layer_big_data("layer", "note").map(drop));
        note(store.set_layer_big_data("layer", "note", &mut &b"a note"[..]));
        note(store.image_big_data("image", "manifest").map(drop));
        note(store.set_image_big_data("image", item("manifest", "{}")));
        note(store.create_layer(named("fresh")).map(drop));
        note(store.set_names("image", &["image".to_owned()]));
        note(store.mount("container", &MountRequest::default()).map(drop));
        let _ = store.unmount("container", true);
        let told = refusals.iter().any(|why| why.contains("symbolic link") && why.contains(&file));
        assert!(told, "{file}: {refusals:?}");
        assert_eq!((fs::read(&moved).ok(), fixture.listing("outside")), (bytes, before), "{file}");
        drop(store);
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
            fs::rename(&moved, &path).unwrap();
        } else {
            // Written anew beside what the link led to.
            fs::remove_dir_all(&moved).or_else(|_| fs::remove_file(&moved)).unwrap();
        }
        let _ = open(&fixture).delete_layer("fresh");
    }
}

// store-format.md 16.35
#[test]
fn the_roots_may_be_links_of_the_administrators() {
    let fixture = Fixture::new();
    let elsewhere = fixture.path("elsewhere");
    for dir in ["root", "run", "home", "layers", "images", "containers"] {
        fs::create_dir_all(elsewhere.join(dir)).unwrap();
    }
    symlink(elsewhere.join("root"), fixture.path("graph")).unwrap();
    symlink(elsewhere.join("run"), fixture.path("run")).unwrap();
    symlink(elsewhere.join("home"), fixture.path("graph").join(fixture.driver)).unwrap();
    for which in ["layers", "images", "containers"] {
        let link = fixture.path("graph").join(format!("{}-{which}", fixture.driver));
        symlink(elsewhere.join(which), link).unwrap();
    }
    let store = fixture.store();
    import(&store, "layer", None, &[("f", "x")]);
    let new = NewImage { layer: Some("layer".into()), ..NewImage::default() };
    store.create_image(new).unwrap();
    assert!(elsewhere.join("layers/layers.json").is_file());
    assert!(elsewhere.join("images/images.json").is_file());
    let id = store.layer("layer").unwrap().id.clone();
    assert!(fs::read_dir(elsewhere.join("home")).unwrap().count() > 0);
    let merged = store.mount(&id, &MountRequest::default()).unwrap();
    assert_eq!(fs::read_to_string(merged.join("f")).unwrap(), "x");
    store.unmount(&id, true).unwrap();
}
