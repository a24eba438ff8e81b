//! What the fields of the structs of options do that the other tests leave at zero.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use crate::fixtures::{Fixture, OCI, docker, drivers, file, tar};
use crate::support::{Outcome, Strings, c};

const LABEL: &std::ffi::CStr = c"system_u:object_r:container_file_t:s0:c1,c2";

#[track_caller]
fn fails<T: std::fmt::Debug>(name: &str, said: &str, outcome: Outcome<T>) {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.name(), format!("ORLOP_ERR_{name}"), "{}", failure.message);
    assert!(failure.message.contains(said), "{}", failure.message);
}

#[test]
fn a_new_layer_is_recorded_with_all_that_was_said_of_it() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.import("base", "", &[]).unwrap();
        let names = Strings::new(&["first", "second", "first"]);
        let content = tar(&[("f", b"x")]);
        let diff = orlop::Digest::sha256(&content).to_string();
        let blob = orlop::Digest::sha256(b"as it came").to_string();
        let (expected, original) = (c(diff.clone()), c(blob.clone()));
        let layer = options!(orlop_new_layer {
            id: c"new".as_ptr(),
            parent: c"base".as_ptr(),
            names: names.list(),
            mount_label: LABEL.as_ptr(),
            read_only: 1,
            metadata: c"any <text>".as_ptr(),
            flags: c"{\"mine\":[1,\"two\"]}".as_ptr(),
            expected_diff_digest: expected.as_ptr(),
            expected_compressed_digest: expected.as_ptr(),
            original_digest: original.as_ptr(),
            original_size: 1234,
        });
        let stream = file(&content);
        let (fd, none) = (stream.as_raw_fd(), std::ptr::null());
        let record = json!(orlop_import_layer(f.store, &layer, fd, none)).unwrap();
        for (field, value) in [
            ("id", "new".into()),
            ("parent", "base".into()),
            ("names", serde_json::json!(["first", "second"])),
            ("mountlabel", LABEL.to_str().unwrap().into()),
            ("metadata", "any <text>".into()),
            ("diff-digest", diff.into()),
            ("compressed-diff-digest", blob.clone().into()),
            ("compressed-size", 1234.into()),
        ] {
            assert_eq!(record[field], value, "{field}: {record}");
        }
        assert_eq!(record["flags"]["mine"], serde_json::json!([1, "two"]));
        // The record on disk is the same, and found by what was given.
        assert_eq!(json!(orlop_layer(f.store, c"second".as_ptr())).unwrap(), record);
        let found = json!(orlop_layers_by_compressed_digest(f.store, original.as_ptr())).unwrap();
        assert_eq!(found[0]["id"], "new");
    }
}

#[test]
fn storage_options_are_for_drivers_that_have_them() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.image("pic", "", &[]).unwrap();
        for (option, read_only, name) in [
            ("size=1G", 0, "NOT_SUPPORTED"),
            ("size=1G", 1, "INVALID_ARGUMENT"),
            ("colour=blue", 0, "INVALID_ARGUMENT"),
        ] {
            // vfs has none at all.
            let name = if driver == "vfs" { "NOT_SUPPORTED" } else { name };
            let list = Strings::new(&[option]);
            let key = option.split('=').next().unwrap();
            let layer =
                options!(orlop_new_layer { storage_opt: list.list(), read_only: read_only });
            fails(name, key, text!(orlop_create_layer(f.store, &layer)));
            if read_only == 0 {
                let container = options!(orlop_new_container {
                    image: c"pic".as_ptr(),
                    storage_opt: list.list()
                });
                fails(name, key, text!(orlop_create_container(f.store, &container)));
            }
        }
        let list = Strings::new(&["size"]);
        let layer = options!(orlop_new_layer { storage_opt: list.list() });
        fails("INVALID_ARGUMENT", "size", text!(orlop_create_layer(f.store, &layer)));
        assert_eq!(text!(orlop_layers(f.store)).unwrap(), "[]");
        assert_eq!(text!(orlop_containers(f.store)).unwrap(), "[]");
    }
}

#[test]
fn a_containers_labels_and_options_are_in_its_flags() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.import("base", "", &[]).unwrap();
        f.image("pic", "base", &[]).unwrap();
        let mounts = Strings::new(&["metacopy=on"]);
        let new = options!(orlop_new_container {
            image: c"pic".as_ptr(),
            mount_label: LABEL.as_ptr(),
            process_label: c"system_u:system_r:container_t:s0:c1,c2".as_ptr(),
            mount_options: mounts.list(),
            metadata: c"mine".as_ptr(),
            is_volatile: 1,
        });
        let record = json!(orlop_create_container(f.store, &new)).unwrap();
        assert_eq!(record["metadata"], "mine");
        assert_eq!(record["flags"]["MountLabel"], LABEL.to_str().unwrap());
        assert_eq!(record["flags"]["ProcessLabel"], "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(record["flags"]["MountOpts"], serde_json::json!(["metacopy=on"]));
        let layer = c(record["layer"].as_str().unwrap());
        let layer = json!(orlop_layer(f.store, layer.as_ptr())).unwrap();
        assert_eq!(layer["mountlabel"], LABEL.to_str().unwrap());
    }
}

#[test]
fn a_load_takes_other_names_and_another_place_for_its_files() {
    let f = Fixture::new();
    let names = Strings::new(&["mine", "example.org/other:2"]);
    let place = f.path("temporary");
    let temp_dir = c(place.as_os_str().as_bytes());
    let given = options!(orlop_load_options {
        accept_anything: 1,
        platform: c"linux/amd64".as_ptr(),
        names: names.list(),
        temp_dir: temp_dir.as_ptr(),
    });
    let load = |bytes: &[u8]| {
        // A pipe has to be copied to a file before anything of it can be looked up.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let bytes = bytes.to_vec();
        let writing = std::thread::spawn(move || {
            drop(std::io::Write::write_all(&mut writer, &bytes));
        });
        let (no, fd, none) = (std::ptr::null(), reader.as_raw_fd(), std::ptr::null());
        let loaded = json!(orlop_load(f.store, no, fd, &given, none));
        drop(reader);
        writing.join().unwrap();
        loaded
    };
    let archive = docker("theirs:1", &tar(&[("f", b"x")]));
    fails("IO", place.to_str().unwrap(), load(&archive));
    fs::create_dir(&place).unwrap();
    let loaded = load(&archive).unwrap();
    let wanted = serde_json::json!(["localhost/mine:latest", "example.org/other:2"]);
    assert_eq!(loaded[0]["names"], wanted);
    let record = json!(orlop_image(f.store, c"mine".as_ptr()));
    assert!(record.is_err(), "a name is as it was completed: {record:?}");
    let record = json!(orlop_image(f.store, c"localhost/mine:latest".as_ptr())).unwrap();
    // Each was put in front of those before, as by podman.
    assert_eq!(
        record["names"],
        serde_json::json!(["example.org/other:2", "localhost/mine:latest"])
    );
    assert!(json!(orlop_image(f.store, c"localhost/theirs:1".as_ptr())).is_err());
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "nothing is left there");
    // Which of two images would have them?
    fails("INVALID_ARGUMENT", "2 images", load(OCI));
    let bad = Strings::new(&["UPPER"]);
    let given = options!(orlop_load_options { accept_anything: 1, names: bad.list() });
    let stream = file(&archive);
    let (no, fd, none) = (std::ptr::null(), stream.as_raw_fd(), std::ptr::null());
    fails("INVALID_ARGUMENT", "UPPER", text!(orlop_load(f.store, no, fd, &given, none)));
    assert_eq!(json!(orlop_images(f.store)).unwrap().as_array().unwrap().len(), 1);
}
