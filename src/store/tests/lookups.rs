use std::sync::Arc;

use super::*;

/// A layer of that id and name, an image of it, and a container of that.
fn fill(store: &Store) -> [String; 4] {
    let id = |n: usize| format!("{n:x}").repeat(64);
    let new = |n, name| NewLayer { id: Some(id(n)), ..named(name) };
    store.import_layer(new(1, "base"), &mut tar_of(&[("a", "b")]).as_slice()).unwrap();
    let near = NewLayer { id: Some(format!("{}2", &id(1)[1..])), ..named("near") };
    store.create_layer(near).unwrap();
    let image = NewImage {
        id: Some(id(3)),
        names: vec!["image".into()],
        layer: Some(id(1)),
        ..NewImage::default()
    };
    store.create_image(image).unwrap();
    let container = NewContainer {
        id: Some(id(4)),
        names: vec!["container".into()],
        image: Some(id(3)),
        ..NewContainer::default()
    };
    let container = store.create_container(container).unwrap();
    [id(1), id(3), id(4), container.layer.clone()]
}

/// store-format.md 11
#[test]
fn what_exists_is_what_a_lookup_finds() {
    let fixture = Fixture::new();
    let store = fixture.store();
    assert!(!store.exists("base").unwrap());
    let ids = fill(&store);
    let names = ["base", "near", "image", "container"].map(str::to_owned);
    let mut keys: Vec<String> = ids.iter().chain(&names).cloned().collect();
    keys.extend(
        ids.iter().flat_map(|id| [id[..5].to_owned(), id[..63].to_owned(), format!("{id}0")]),
    );
    keys.extend(["", "nobody", "ba", "1", "5", "imag", "\0", "../x"].map(str::to_owned));
    for key in &keys {
        assert_eq!(store.exists(key).unwrap(), store.lookup(key).is_ok(), "{key:?}");
    }
    for key in ids.iter().chain(&names) {
        assert!(store.exists(key).unwrap(), "{key:?}");
    }
    assert!(!store.exists("").unwrap() && !store.exists("imag").unwrap());
    assert!(!store.exists(&"1".repeat(5)).unwrap(), "two layers begin so");
    assert!(store.exists("33").unwrap() && store.exists("44").unwrap());
}

#[test]
fn what_exists_is_told_without_reading_again() {
    // DEF-33
    let fixture = Fixture::new();
    let (store, other) = (fixture.store(), fixture.store());
    fill(&store);
    assert!(store.exists("container").unwrap());
    let lists = store.containers_now().unwrap();
    for key in ["base", "image", "container", "nobody"] {
        store.exists(key).unwrap();
    }
    assert!(Arc::ptr_eq(&lists, &store.containers_now().unwrap()), "what was read is used again");
    // What another handle does is seen.
    other.delete_container("container").unwrap();
    assert!(!store.exists("container").unwrap());
    import(&other, "new", None, &[]);
    assert!(store.exists("new").unwrap());
    let layers = fixture.path("graph").join(format!("{0}-layers/layers.json", fixture.driver));
    std::fs::write(&layers, "[{").unwrap();
    assert!(store.exists("base").is_err());
}

/// The Go library's `Exists`, as its command's `exists` calls it.
#[test]
fn what_exists_is_what_the_go_library_says() {
    let go = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/reference/containers-storage");
    if !go.exists() || !rustix::process::geteuid().is_root() {
        println!("skipped: needs root and {go:?}, which `make reference` builds");
        return;
    }
    let fixture = Fixture::new();
    let store = fixture.store();
    let ids = fill(&store);
    let mut keys =
        ["base", "near", "image", "container", "nobody", "imag"].map(str::to_owned).to_vec();
    keys.extend(ids.iter().flat_map(|id| [id.clone(), id[..5].to_owned(), format!("{id}0")]));
    for key in keys {
        let status = std::process::Command::new(&go)
            .arg("--graph")
            .arg(fixture.path("graph"))
            .arg("--run")
            .arg(fixture.path("run"))
            .args(["--storage-driver", fixture.driver, "exists", &key])
            .output()
            .unwrap();
        assert_eq!(store.exists(&key).unwrap(), status.status.success(), "{key}: {status:?}");
    }
}
