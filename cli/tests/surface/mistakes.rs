//! The likely mistakes: each is told in one line that names the object and says what to do about it.

use crate::sandbox::{ORLOP, Sandbox, docker_archive, tar};

fn with_image() -> Sandbox {
    let sandbox = Sandbox::vfs();
    sandbox.ok_with("import-layer -i lay", &tar(&[("file", b"content")]));
    sandbox.ok("create-image -i img -n web:1 lay");
    sandbox.ok("create-container -i box img");
    sandbox
}

#[test]
fn what_is_mounted_is_no_image() {
    let sandbox = with_image();
    sandbox.fails("mount web:1", "it is an image: mount it with --read-only");
    sandbox.fails("mount nosuch", "`orlop containers` and `orlop layers` list");
    sandbox.fails("unmount nosuch", "`orlop containers` and `orlop layers` list");
    let told = sandbox.ok("mount -r web:1");
    assert!(told.starts_with('/'), "{told:?}");
    sandbox.ok("unmount web:1");
}

#[test]
fn files_that_are_no_archives_are_named() {
    let sandbox = with_image();
    let junk = sandbox.file("junk", &[b'x'; 2048]);
    let empty = sandbox.file("empty", b"");
    sandbox.fails(&format!("load -i {junk}"), "it is no tar archive");
    sandbox.fails(&format!("load -i {empty}"), "it is empty");
    sandbox.fails(&format!("import-layer -f {junk}"), &format!("importing \"{junk}\""));
    sandbox.fails(&format!("applydiff -f {junk} lay"), &format!("applying \"{junk}\""));
    let run = sandbox.run_with("import-layer", &[b'x'; 2048]);
    assert!(run.stderr.starts_with("importing standard input: "), "{run:?}");
}

#[test]
fn unknown_parts_are_named_by_their_role() {
    let sandbox = with_image();
    sandbox.fails("create-layer nosuch", "looking up the parent layer \"nosuch\"");
    sandbox.fails("create-image nosuch", "looking up the image's layer \"nosuch\"");
}

#[test]
fn dedup_takes_three_methods() {
    let sandbox = with_image();
    for method in ["", "--hash-method crc", "--hash-method=size", "--hash-method sha256"] {
        let line = format!("dedup {method}");
        assert_eq!(sandbox.ok(line.trim()), "Deduplicated 0 bytes\n", "{method}");
    }
    assert_eq!(sandbox.ok("dedup -j"), "{\"Deduped\":0}\n");
    sandbox.fails("dedup --hash-method md5", "invalid hash method: md5");
}

#[test]
fn what_is_in_use_names_its_user() {
    let sandbox = with_image();
    let run = sandbox.fails("delete-image img", "delete that container first");
    assert!(run.stderr.contains("image used by box"), "{run:?}");
    let run = sandbox.fails("delete-layer lay", "delete that layer first");
    assert!(run.stderr.contains("used by layer "), "{run:?}");
}

#[test]
fn an_image_without_a_manifest_cannot_be_saved() {
    let sandbox = with_image();
    sandbox.fails("save web:1", "create-image makes none");
    sandbox.fails("commit box more:1", "create-image makes none");
}

#[test]
fn a_full_disk_is_named() {
    let sandbox = with_image();
    let run = sandbox.fails("diff -f /dev/full lay", "free some space in that file system");
    assert!(run.stderr.starts_with("writing \"/dev/full\": "), "{run:?}");
    sandbox.ok(&format!("load -i {}", docker_archive(&sandbox)));
    let run = sandbox.fails("save -o /dev/full localhost/first:1", "free some space");
    assert!(run.stderr.contains("/dev/full"), "{run:?}");
}

#[test]
fn limits_hinder_writing_alone_where_there_are_no_quotas() {
    let sandbox = Sandbox::new(ORLOP, "overlay");
    for (option, key) in [("size=10G", "size"), ("overlay.inodes=5", "inodes")] {
        assert_eq!(sandbox.ok(&format!("images --storage-opt {option}")), "", "{option}");
        let run = sandbox.fails(&format!("create-layer --storage-opt {option}"), "project quotas");
        assert!(run.stderr.contains(&format!("{key:?}")), "{run:?}");
        assert!(run.stderr.contains(&format!("remove {key} from storage.conf")), "{run:?}");
    }
}

#[test]
fn driver_options_that_are_not_there_lead_to_the_manual() {
    let sandbox = with_image();
    let run = sandbox.run("images --storage-opt nosuch=1");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("unknown option \"nosuch\""), "{run:?}");
    assert!(run.stdout.contains("storage.conf(5)"), "{run:?}");
}
