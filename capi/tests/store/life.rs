//! The whole life of an image: loaded, listed, run, committed, saved, exported, deleted.

use std::fs;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use orlop_capi::*;
use serde_json::Value;

use crate::fixtures::{DOCKER, Fixture, OCI, docker, drivers, file, tar};
use crate::support::{NO_STRINGS, Strings, c};

fn load(f: &Fixture, bytes: &[u8]) -> Value {
    let given = options!(orlop_load_options { platform: c"linux/amd64".as_ptr() });
    let archive = file(bytes);
    json!(orlop_load(f.store, std::ptr::null(), archive.as_raw_fd(), &given, std::ptr::null()))
        .unwrap()
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from(String::from_utf8(bytes).unwrap()))
}

#[test]
fn an_image_lives_on_each_driver() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        let loaded = load(&f, &docker("hold:1", &tar(&[("etc/note", b"below\n")])));
        assert_eq!(loaded[0]["names"], serde_json::json!(["localhost/hold:1"]));
        let id = c(loaded[0]["id"].as_str().unwrap());

        let images = json!(orlop_images(f.store)).unwrap();
        let image = json!(orlop_image(f.store, c"localhost/hold:1".as_ptr())).unwrap();
        assert_eq!((images.as_array().unwrap().len(), &images[0]), (1, &image));
        let layers = json!(orlop_layers(f.store)).unwrap();
        assert_eq!(image["layer"], layers[0]["id"]);
        let found = json!(orlop_lookup(f.store, id.as_ptr())).unwrap();
        assert_eq!((&found["kind"], &found["record"]), (&"image".into(), &image));

        let names = Strings::new(&["crew"]);
        let new = options!(orlop_new_container { names: names.list(), image: id.as_ptr() });
        let container = json!(orlop_create_container(f.store, &new)).unwrap();
        assert_eq!(container["image"], image["id"]);
        let crew = c"crew".as_ptr();
        let root = path(bytes!(orlop_mount(f.store, crew, std::ptr::null())).unwrap());
        assert_eq!(fs::read_to_string(root.join("etc/note")).unwrap(), "below\n");
        fs::write(root.join("log"), "day 1\n").unwrap();
        fs::remove_file(root.join("etc/note")).unwrap();
        let mut count = 0;
        call!(orlop_mounted(f.store, crew, &mut count)).unwrap();
        assert_eq!(count, 1);
        let listed = json!(orlop_layer(f.store, c(container["layer"].as_str().unwrap()).as_ptr()));
        let listed = listed.unwrap();
        assert_eq!(listed["mountpoint"], root.to_str().unwrap());
        assert_eq!(listed["mount-count"], 1);
        assert_eq!(call!(orlop_unmount(f.store, crew, 0)).unwrap(), 0);

        let changes = bytes!(orlop_changes(f.store, crew, std::ptr::null())).unwrap();
        assert_eq!(changes, b"C/etc\0D/etc/note\0A/log\0");
        let (mut changed, mut whole) = (0, 0);
        call!(orlop_diff_size(f.store, crew, std::ptr::null(), &mut changed)).unwrap();
        call!(orlop_container_size(f.store, crew, &mut whole)).unwrap();
        assert!(changed >= 6 && whole >= 6, "{changed} {whole}");

        let changes = Strings::new(&["CMD [\"/bin/log\"]"]);
        let given = options!(orlop_commit_options {
            author: c"bosun".as_ptr(),
            created: c"2024-05-06T07:08:09Z".as_ptr(),
            changes: changes.list(),
        });
        let name = c"logged".as_ptr();
        let new = text!(orlop_commit(f.store, crew, name, &given, std::ptr::null())).unwrap();
        let committed = json!(orlop_image(f.store, c(new.clone()).as_ptr())).unwrap();
        assert_eq!(committed["names"], serde_json::json!(["localhost/logged:latest"]));
        assert_eq!(committed["created"], "2024-05-06T07:08:09Z");

        saved_and_loaded_elsewhere(&f, &new);
        exported(&f, committed["layer"].as_str().unwrap());

        call!(orlop_delete_container(f.store, crew)).unwrap();
        let tested = json!(orlop_delete_image(f.store, c(new.clone()).as_ptr(), 1)).unwrap();
        let gone = json!(orlop_delete_image(f.store, c(new).as_ptr(), 0)).unwrap();
        assert_eq!((&tested, &gone[0]), (&gone, &committed["layer"]));
        json!(orlop_delete_image(f.store, id.as_ptr(), 0)).unwrap();
        assert_eq!(text!(orlop_layers(f.store)).unwrap(), "[]");
    }
}

fn saved_and_loaded_elsewhere(f: &Fixture, id: &str) {
    let names = Strings::new(&["localhost/logged:latest"]);
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let (format, other) = (c(format), Fixture::on(f.driver));
        let given = options!(orlop_save_options { format: format.as_ptr() });
        let path = c(f.path(format.to_str().unwrap()).as_os_str().as_bytes());
        call!(orlop_save(f.store, names.list(), path.as_ptr(), -1, &given, std::ptr::null()))
            .unwrap();
        let given = options!(orlop_load_options { platform: c"linux/amd64".as_ptr() });
        let loaded = json!(orlop_load(other.store, path.as_ptr(), -1, &given, std::ptr::null()));
        let loaded = loaded.unwrap();
        assert_eq!((&loaded[0]["id"], loaded.as_array().unwrap().len()), (&id.into(), 1));
        assert_eq!(loaded[0]["names"], serde_json::json!(["localhost/logged:latest"]));
    }
    // To a descriptor: the very same archive.
    let mut out = file(b"");
    let fd = out.as_raw_fd();
    let (no, none) = (std::ptr::null(), std::ptr::null());
    call!(orlop_save(f.store, names.list(), std::ptr::null(), fd, no, none)).unwrap();
    let mut streamed = Vec::new();
    out.rewind().unwrap();
    out.read_to_end(&mut streamed).unwrap();
    assert_eq!(streamed, fs::read(f.path("docker-archive")).unwrap());
}

fn exported(f: &Fixture, layer: &str) {
    let record = json!(orlop_layer(f.store, c(layer).as_ptr())).unwrap();
    for compression in [
        ORLOP_COMPRESSION_AS_IT_CAME,
        ORLOP_COMPRESSION_NONE,
        ORLOP_COMPRESSION_GZIP,
        ORLOP_COMPRESSION_ZSTD,
    ] {
        let (mut out, mut plain, layer) = (file(b""), 0, c(layer));
        let (fd, no) = (out.as_raw_fd(), std::ptr::null());
        let none = std::ptr::null();
        call!(orlop_export(f.store, layer.as_ptr(), no, compression, fd, none, &mut plain))
            .unwrap();
        assert_eq!(plain, record["diff-size"].as_u64().unwrap());
        let mut bytes = Vec::new();
        out.rewind().unwrap();
        out.read_to_end(&mut bytes).unwrap();
        let magic: &[u8] = match compression {
            ORLOP_COMPRESSION_GZIP => &[0x1f, 0x8b],
            ORLOP_COMPRESSION_ZSTD => &[0x28, 0xb5, 0x2f, 0xfd],
            _ => {
                assert_eq!(record["diff-digest"], orlop::Digest::sha256(&bytes).as_str());
                &[]
            }
        };
        assert!(bytes.starts_with(magic));
    }
}

#[test]
fn what_other_tools_have_saved_is_loaded() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        let docker = load(&f, DOCKER);
        assert_eq!(
            (docker.as_array().unwrap().len(), docker[0]["names"].as_array().unwrap().len()),
            (1, 2)
        );
        assert_eq!(load(&f, OCI).as_array().unwrap().len(), 2);
        let mut size = 0;
        let id = c(docker[0]["id"].as_str().unwrap());
        call!(orlop_image_size(f.store, id.as_ptr(), &mut size)).unwrap();
        assert!(size > 0);
        let mounted =
            path(bytes!(orlop_mount_image(f.store, id.as_ptr(), std::ptr::null())).unwrap());
        assert!(fs::read_dir(mounted).unwrap().count() > 0);
        assert_eq!(call!(orlop_unmount_image(f.store, id.as_ptr(), 0)).unwrap(), 0);
        call!(orlop_wipe(f.store)).unwrap();
        assert_eq!(text!(orlop_images(f.store)).unwrap(), "[]");
    }
}

#[test]
fn a_layer_is_exported_as_it_came() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        let came = tar(&[("b", b"second name first"), ("a", &[7; 70_000])]);
        let stream = file(&came);
        let layer = options!(orlop_new_layer { id: c"base".as_ptr() });
        let fd = stream.as_raw_fd();
        let none = std::ptr::null();
        json!(orlop_import_layer(f.store, &layer, fd, none)).unwrap();
        let (mut out, base) = (file(b""), c"base".as_ptr());
        let (fd, no) = (out.as_raw_fd(), std::ptr::null());
        let mut plain = 0;
        call!(orlop_export(f.store, base, no, -1, fd, none, &mut plain)).unwrap();
        let mut bytes = Vec::new();
        out.rewind().unwrap();
        out.read_to_end(&mut bytes).unwrap();
        assert!(bytes == came && plain == came.len() as u64);
        // The descriptor stays open, and is read from where it stands.
        let more = file(&[b"xxxx".as_slice(), &tar(&[("c", b"more")])].concat());
        let mut skipped = &more;
        skipped.read_exact(&mut [0; 4]).unwrap();
        call!(orlop_apply_diff(f.store, base, skipped.as_raw_fd(), none, &mut plain)).unwrap();
        assert_eq!(plain, 4);
        let seen = bytes!(orlop_changes(f.store, base, no)).unwrap();
        assert_eq!(seen, b"A/a\0A/b\0A/c\0");
    }
}

#[test]
fn names_metadata_data_and_directories() {
    let f = Fixture::new();
    f.import("base", "", &[("f", b"x")]).unwrap();
    f.image("pic", "base", &["one"]).unwrap();
    f.container("crew", "pic").unwrap();
    let names = |id: &str| json!(orlop_image(f.store, c(id).as_ptr())).unwrap()["names"].clone();
    let pic = c"pic".as_ptr();
    call!(orlop_add_names(f.store, pic, Strings::new(&["two"]).list())).unwrap();
    assert_eq!(names("pic"), serde_json::json!(["two", "one"]));
    call!(orlop_remove_names(f.store, pic, Strings::new(&["one"]).list())).unwrap();
    assert_eq!(names("pic"), serde_json::json!(["two"]));
    call!(orlop_set_names(f.store, pic, NO_STRINGS)).unwrap();
    assert_eq!(names("pic"), Value::Null);
    for id in [c"base", c"pic", c"crew"] {
        call!(orlop_set_metadata(f.store, id.as_ptr(), c"{\"a\":1}".as_ptr())).unwrap();
        let found = json!(orlop_lookup(f.store, id.as_ptr())).unwrap();
        assert_eq!(found["record"]["metadata"], "{\"a\":1}");
    }

    let (key, content) = (c"manifest".as_ptr(), b"\0{}");
    let (data, len) = (content.as_ptr(), content.len());
    call!(orlop_set_image_data(f.store, pic, key, data, len, std::ptr::null())).unwrap();
    assert_eq!(bytes!(orlop_image_data(f.store, pic, key)).unwrap(), content);
    let crew = c"crew".as_ptr();
    call!(orlop_set_container_data(f.store, crew, key, data, len)).unwrap();
    assert_eq!(bytes!(orlop_container_data(f.store, crew, key)).unwrap(), content);
    let (from, mut to, base) = (file(content), file(b""), c"base".as_ptr());
    call!(orlop_set_layer_data(f.store, base, key, from.as_raw_fd(), std::ptr::null())).unwrap();
    call!(orlop_layer_data(f.store, base, key, to.as_raw_fd(), std::ptr::null())).unwrap();
    let mut back = Vec::new();
    to.rewind().unwrap();
    to.read_to_end(&mut back).unwrap();
    assert_eq!(back, content);

    let digest = c(orlop::Digest::sha256(content).to_string());
    let by = |text: Value| text.as_array().unwrap().len();
    assert_eq!(by(json!(orlop_images_by_digest(f.store, digest.as_ptr())).unwrap()), 1);
    assert_eq!(by(json!(orlop_images_by_top_layer(f.store, base)).unwrap()), 1);
    let layer = json!(orlop_layer(f.store, base)).unwrap();
    let digest = |key: &str| c(layer[key].as_str().unwrap());
    let (diff, blob) = (digest("diff-digest"), digest("compressed-diff-digest"));
    assert_eq!(by(json!(orlop_layers_by_diff_digest(f.store, diff.as_ptr())).unwrap()), 1);
    assert_eq!(by(json!(orlop_layers_by_compressed_digest(f.store, blob.as_ptr())).unwrap()), 1);

    let dirs = [
        bytes!(orlop_image_dir(f.store, pic)),
        bytes!(orlop_image_run_dir(f.store, pic)),
        bytes!(orlop_container_dir(f.store, crew)),
        bytes!(orlop_container_run_dir(f.store, crew)),
    ];
    for dir in dirs {
        assert!(path(dir.unwrap()).ends_with("userdata"));
    }
    let config = json!(orlop_store_config(f.store)).unwrap();
    assert_eq!(config["driver"], f.driver);
    assert!(json!(orlop_store_status(f.store)).unwrap().is_array());
    call!(orlop_delete(f.store, crew)).unwrap();
    json!(orlop_delete_image(f.store, pic, 0)).unwrap();
    assert_eq!(text!(orlop_layers(f.store)).unwrap(), "[]");
}
