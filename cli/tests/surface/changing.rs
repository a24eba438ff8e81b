//! Commands that change a store.

use std::process::{Command, Stdio};

use crate::sandbox::{ORLOP, Sandbox, tar};

fn with_image() -> Sandbox {
    let sandbox = Sandbox::vfs();
    sandbox.ok("create-layer -i base");
    sandbox.ok_with("import-layer -i top base", &tar(&[("file", b"content")]));
    sandbox.ok("create-image -i img -n a:1 top");
    sandbox
}

#[test]
fn ids_are_random_unless_given() {
    let sandbox = Sandbox::vfs();
    let id = sandbox.ok("create-layer");
    assert_eq!(id.trim_end().len(), 64, "{id:?}");
    assert!(id.trim_end().bytes().all(|b| b.is_ascii_hexdigit()), "{id:?}");
    assert_ne!(sandbox.ok("createlayer"), id);
}

#[test]
fn ids_and_names_are_given_once() {
    let sandbox = with_image();
    sandbox.fails("create-layer -i base", "that ID is already in use");
    sandbox.fails("create-image -i img", "that ID is already in use");
    sandbox.ok("create-layer -i other -n n");
    sandbox.fails("create-layer -n n", "that name is already in use");
    sandbox.fails("create-layer nosuch", "not known");
    sandbox.fails("create-image nosuch", "layer not known");
    sandbox.fails("create-container nosuch", "image not known");
    sandbox.fails("create-layer -i a/b", "a/b");
    assert_eq!(sandbox.ok("layers -q"), "base\ntop\nother\n");
}

#[test]
fn junk_leaves_no_layer() {
    let sandbox = with_image();
    let run = sandbox.run_with("import-layer -i junk", &[b'x'; 2048]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    sandbox.fails("import-layer -i junk -f /nonexistent", "/nonexistent");
    assert_eq!(sandbox.ok("layers -q"), "base\ntop\n");
}

#[test]
fn a_stream_comes_out_as_it_came_in() {
    let sandbox = Sandbox::vfs();
    let stream = tar(&[("d/", b""), ("d/a", b"1"), ("d/b", b"22")]);
    let file = sandbox.file("in.tar", &stream);
    sandbox.ok(&format!("import-layer -i lay -f {file}"));
    assert_eq!(sandbox.output("diff lay", b"").stdout, stream);
    let out = sandbox.path().join("out.tar");
    assert_eq!(sandbox.ok(&format!("diff -u -f {} lay", out.display())), "");
    assert_eq!(std::fs::read(&out).unwrap(), stream);
    let gzip = sandbox.output("diff -c lay", b"").stdout;
    assert_eq!(gzip.get(..2), Some(&[0x1f, 0x8b][..]));
    sandbox.fails("diff -b lay", "unsupported compression format tar.bz2");
    sandbox.fails("diff --xz lay", "unsupported compression format tar.xz");
    sandbox.fails("diff nosuch", "layer not known");
    let size: u64 = sandbox.ok("diff-size lay").trim().parse().unwrap();
    assert!(size >= 3, "{size}");
}

#[test]
fn changes_are_listed() {
    let sandbox = with_image();
    sandbox.ok_with("applydiff base", &tar(&[("old", b"1"), ("sp ace\"", b"1")]));
    sandbox.ok_with("import-layer -i next base", &tar(&[("old", b"22"), ("new", b"")]));
    assert_eq!(sandbox.ok("changes next base"), "Add \"/new\"\nModify \"/old\"\n");
    assert_eq!(
        sandbox.ok("changes -j base"),
        "[{\"Path\":\"/old\",\"Kind\":1},{\"Path\":\"/sp ace\\\"\",\"Kind\":1}]\n"
    );
    sandbox.ok("create-layer -i same base");
    assert_eq!(sandbox.ok("changes -j same"), "null\n");
}

#[test]
fn names_move_and_come_back_as_json() {
    let sandbox = with_image();
    assert_eq!(sandbox.ok("get-names a:1"), "a:1\n");
    assert_eq!(sandbox.ok("add-names -n b:1 img"), "");
    assert_eq!(sandbox.ok("add-names -j -n c:1 img ignored"), "[\"c:1\",\"b:1\",\"a:1\"]\n");
    assert_eq!(sandbox.ok("remove-names -j -n a:1 a:1"), "[\"c:1\",\"b:1\"]\n");
    sandbox.ok("create-image -i img2");
    assert_eq!(sandbox.ok("set-names -j -n b:1 img2"), "[\"b:1\"]\n");
    assert_eq!(sandbox.ok("get-names -j img"), "[\"c:1\"]\n");
    assert_eq!(sandbox.ok("setnames -j img"), "null\n");
    assert_eq!(sandbox.ok("getnames -j img"), "[]\n");
    sandbox.fails("add-names -n x nosuch", "layer not known");
}

#[test]
fn metadata_is_set_from_text_or_file() {
    let sandbox = with_image();
    sandbox.fails("set-metadata img", "no new metadata provided");
    sandbox.fails("set-metadata -m '' img", "no new metadata provided");
    sandbox.ok("set-metadata -m text img");
    assert_eq!(sandbox.ok("metadata img"), "img: text\n");
    let file = sandbox.file("meta", b"from a file\n");
    sandbox.ok(&format!("set-metadata -m text -f {file} base"));
    assert_eq!(sandbox.ok("metadata base"), "base: from a file\n");
}

#[test]
fn data_items_of_all_three() {
    let sandbox = with_image();
    sandbox.ok("create-container -i ctr img");
    for (kind, id) in [("layer", "base"), ("image", "img"), ("container", "ctr")] {
        assert_eq!(sandbox.ok(&format!("list-{kind}-data -j {id}")), "null\n");
        sandbox.ok_with(&format!("set-{kind}-data {id} k/ey"), b"abc");
        assert_eq!(sandbox.ok(&format!("list-{kind}-data {id}")), "k/ey\n");
        assert_eq!(sandbox.ok(&format!("list{kind}data -j {id}")), "[\"k/ey\"]\n");
        assert_eq!(sandbox.ok(&format!("get-{kind}-data {id} k/ey")), "abc");
        let out = sandbox.path().join("item");
        sandbox.ok(&format!("get-{kind}-data -f {} {id} k/ey", out.display()));
        assert_eq!(std::fs::read(&out).unwrap(), b"abc");
        sandbox.fails(&format!("get-{kind}-data {id} none"), "file does not exist");
        sandbox.fails(&format!("get-{kind}-data none k/ey"), &format!("{kind} not known"));
    }
    let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    for (kind, id) in [("image", "img"), ("container", "ctr")] {
        assert_eq!(sandbox.ok(&format!("get-{kind}-data-size {id} k/ey")), "3\n");
        assert_eq!(sandbox.ok(&format!("get-{kind}-data-digest {id} k/ey")), digest);
        sandbox.fails(&format!("get-{kind}-data-size {id} none"), "size is not known");
        let root = sandbox.path().display();
        let dir = format!("{root}/g/vfs-{kind}s/{id}/userdata\n");
        assert_eq!(sandbox.ok(&format!("get-{kind}-dir {id}")), dir);
        let dir = format!("{root}/r/vfs-{kind}s/{id}/userdata\n");
        assert_eq!(sandbox.ok(&format!("get-{kind}-run-dir {id}")), dir);
    }
}

#[test]
fn deleting_with_and_without_checks() {
    let sandbox = with_image();
    sandbox.ok("create-container -i ctr img");
    sandbox.fails("delete-layer base", "layer has children");
    sandbox.fails("delete-image img", "image is in use by a container");
    let run = sandbox.run("delete-container -j ctr nosuch");
    assert_eq!(run.code, 1);
    assert!(run.stdout.starts_with("{\"ctr\":\"\",\"nosuch\":\""), "{run:?}");
    let test = sandbox.run("delete-image -t -j img");
    let expected = "{\"img\":{\"deleted-layers\":[\"top\",\"base\"]}}\n";
    assert_eq!((test.code, test.stdout.as_str()), (0, expected));
    let run = sandbox.run("delete-image img");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(run.stderr, "img: top\nimg: base\n");
    assert_eq!(sandbox.ok("layers -j"), "null\n");
    assert_eq!(sandbox.run("delete nosuch").code, 1);
}

#[test]
fn mounting_counts() {
    let sandbox = with_image();
    sandbox.ok("create-container -i ctr -n c img");
    let at = sandbox.ok("mount ctr");
    let file = std::path::Path::new(at.trim_end()).join("file");
    assert_eq!(std::fs::read(&file).unwrap(), b"content");
    assert_eq!(sandbox.ok("mount c"), at);
    assert_eq!(sandbox.ok("mounted ctr"), "ctr mounted\n");
    assert!(sandbox.ok("layers -t").contains(&format!("mount: {at}")));
    assert_eq!(sandbox.ok("unmount ctr"), "");
    assert_eq!(
        sandbox.ok("umount -j ctr"),
        "ctr mountpoint unmounted\n[{\"id\":\"ctr\",\"error\":\"\"}]\n"
    );
    assert_eq!(sandbox.ok("mounted ctr"), "");
    assert_eq!(sandbox.ok("unmount ctr"), "ctr mountpoint unmounted\n");
    assert_eq!(sandbox.fails("mount nosuch", "while mounting nosuch").stdout, "\n");
    let run = sandbox.run("mount -j nosuch");
    assert!(
        run.stdout.starts_with("[{\"id\":\"nosuch\",\"mountpoint\":\"\",\"error\":\""),
        "{run:?}"
    );
    assert_eq!(run.code, 1);
    sandbox.fails("unmount nosuch", "while unmounting nosuch");
    sandbox.fails("mounted nosuch", "checking if nosuch is mounted");
}

#[test]
fn shutdown_and_wipe() {
    let sandbox = with_image();
    assert_eq!(sandbox.ok("shutdown"), "");
    assert_eq!(sandbox.ok("shutdown -j"), "\"\"\n");
    sandbox.ok("mount top");
    sandbox.fails("shutdown", "layer is in use by a container");
    assert_eq!(sandbox.run("shutdown -j").stdout, "{}\n");
    assert_eq!(sandbox.run("shutdown -f").code, 1);
    assert_eq!(sandbox.ok("shutdown -f"), "");
    assert_eq!(sandbox.ok("wipe -j"), "\"\"\n");
    assert_eq!(sandbox.ok("layers -j"), "null\n");
    assert_eq!(sandbox.ok("images -j"), "null\n");
}

#[test]
fn contradicting_id_maps_are_refused() {
    let sandbox = with_image();
    sandbox.fails("create-layer --hostuidmap --uidmap 0:1:1", "host uid map specified along");
    sandbox.fails("create-layer --uidmap 0:1000", "uid setting is malformed");
    sandbox.ok("create-layer --hostuidmap --hostgidmap -i plain");
}

#[test]
fn diffs_come_in_the_form_of_the_version_asked_for() {
    // TAR-4, TAR-5: kinds in the modes, and names; the bytes are held against that version in the library's tests
    let sandbox = Sandbox::vfs();
    sandbox.ok("create-layer -i plain");
    std::fs::write(sandbox.path().join("g/vfs/dir/plain/f"), "text").unwrap();
    let now = sandbox.ok("diff -u plain");
    assert_eq!(sandbox.ok("diff -u --compat current plain"), now);
    let then = sandbox.ok("diff -u plain --compat 1.24");
    let (now, then) = (now.as_bytes(), then.as_bytes());
    assert_eq!((&now[100..107], &then[100..107]), (&b"0000644"[..], &b"0100644"[..]));
    assert_eq!((&now[265..269], &then[265..269]), (&[0; 4][..], &b"root"[..]));
    let wrong = sandbox.run("diff -u plain --compat 1.25");
    assert!(wrong.code != 0 && wrong.stderr.contains("there is 1.24, and current"), "{wrong:?}");
}

#[test]
fn a_reader_that_leaves_is_no_news() {
    let sandbox = Sandbox::vfs();
    let stream = tar(&[("big", &vec![7; 4 << 20])]);
    sandbox.ok_with("import-layer -i big", &stream);
    let root = sandbox.path();
    let mut child = Command::new(ORLOP)
        .arg("-g")
        .arg(root.join("g"))
        .arg("-R")
        .arg(root.join("r"))
        .args(["-s", "vfs", "diff", "big"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_disk_is_told() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(ORLOP).args(["version", "-j"]).stdout(full).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("writing to standard output: No space left"), "{text}");
}

#[test]
fn debug_logs_on_standard_error() {
    let sandbox = with_image();
    let run = sandbox.run("layers -q -D");
    assert_eq!(run.stdout, "base\ntop\n");
    assert!(run.stderr.starts_with("time=\""), "{run:?}");
    assert!(run.stderr.contains("level=debug msg=\"Driver Name: vfs\""), "{run:?}");
    assert_eq!(sandbox.run("layers -q").stderr, "");
}
