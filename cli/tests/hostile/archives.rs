//! Archives that are refused, through every command that takes one: by an error that names the entry, with nothing left behind
//! (`overlay-driver.md` 11, ARC-1 to ARC-5, ADD-2).

use std::fs;

use crate::ground::{Ground, assert_same, docker_archive, snapshot};
use crate::tar::{self, Tar};

/// What is wrong with an archive, the archive, and words of its refusal, the entry's name among them.
type Case = (&'static str, Vec<u8>, &'static [&'static str]);

fn cases() -> Vec<Case> {
    let good = || Tar::default().dir("etc/").file("etc/good", "unpacked before the bad one");
    let long = "n".repeat(300);
    let sparse = |map: &[u8]| {
        let keys: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.realsize", b"1000"),
        ];
        let mut content = map.to_vec();
        content.resize(1024, 0);
        good().pax(&keys).add("sparse", b'0', "", &content).end()
    };
    let owner = |key: &str, value: &[u8]| good().pax(&[(key, value)]).file("owned", "").end();
    let big = |size: &str| good().raw("sized", b'0', "", size, &[1; 1024]).0;
    let bytes = |bytes: &[u8]| -> String { bytes.iter().map(|b| char::from(*b)).collect() };
    let base_256 = bytes(&[0x7f, b'7', b'7', b'7', b'7', b'7', b'7', b'7', b'7', b'7', b'7', b'7']);
    vec![
        ("UNP-8 a root that is a file", good().file(".", "x").end(), &["\".\"", "no directory"]),
        ("UNP-8 a root that is a link", good().link("./", b'2', "/etc").end(), &["\"./\""]),
        ("UNP-11 an unknown kind", good().link("odd", b'V', "").end(), &["\"odd\"", "type 86"]),
        (
            "UNP-12 a link to nothing",
            good().link("hard", b'1', "nosuch").end(),
            &["\"hard\"", "nosuch"],
        ),
        (
            "UNP-12 a link to the lower layer's file",
            good().link("hard", b'1', "base").end(),
            &["\"hard\"", "base"],
        ),
        (
            "UNP-12 a link out",
            good().link("hard", b'1', "../../outside/canary").end(),
            &["\"hard\"", "canary"],
        ),
        (
            "UNP-12 a link through a link",
            good()
                .link("ln", b'2', "../../../../../../outside")
                .link("hard", b'1', "ln/canary")
                .end(),
            &["\"hard\""],
        ),
        (
            "UNP-12 a link to a directory",
            good().link("hard", b'1', "etc").end(),
            &["\"hard\"", "etc"],
        ),
        ("11.3 a whiteout of nothing", good().file("etc/.wh.", "").end(), &["\"etc/.wh.\""]),
        ("11.3 a whiteout of the parent", good().file("etc/.wh...", "").end(), &["\"etc/.wh...\""]),
        ("11.3 a whiteout of itself", good().file(".wh..", "").end(), &["\".wh..\""]),
        (
            "ARC-3 a name twice",
            good().file("./etc//good", "").end(),
            &["\"./etc//good\"", "duplicates"],
        ),
        (
            "a file for a directory",
            good().file("etc/good/below", "").end(),
            &["\"etc/good/below\""],
        ),
        (
            "a circle of links",
            good().link("a", b'2', "b").link("b", b'2', "a").file("a/x", "").end(),
            &["\"a/x\""],
        ),
        ("a name over 255 bytes", good().file(&long, "").end(), &["nnnnnnnn"]),
        ("a link without a target", good().link("soft", b'2', "").end(), &["\"soft\""]),
        (
            "a target over 4095 bytes",
            good().pax(&[("linkpath", &[b't'; 5000])]).link("soft", b'2', "x").end(),
            &["\"soft\""],
        ),
        ("UNP-10 an owner of 2^32-1", owner("uid", b"4294967295"), &["\"owned\"", "4294967295"]),
        (
            "UNP-10 an owner of 2^40",
            owner("gid", b"1099511627776"),
            &["\"owned\"", "1099511627776"],
        ),
        ("UNP-10 a negative owner", owner("uid", b"-1"), &["\"owned\""]),
        ("a size that is no number", big(&base_256), &["malformed", "byte"]),
        (
            "a negative size",
            good().pax(&[("size", b"-1")]).file("neg", "").end(),
            &["size is negative"],
        ),
        (
            "ARC-5 a size of 2^62",
            good().pax(&[("size", b"4611686018427387904")]).file("huge", "x").0,
            &["\"huge\"", "4611686018427387904"],
        ),
        ("a content that ends early", big("00000100000"), &["sized", "ends"]),
        ("extents that overlap", sparse(b"2\n0\n100\n50\n100\n"), &["overlap"]),
        ("extents out of order", sparse(b"2\n500\n10\n0\n10\n"), &["out of order"]),
        ("an extent beyond the end", sparse(b"1\n990\n100\n"), &["beyond the end"]),
        ("a negative extent", sparse(b"1\n-5\n5\n"), &["negative"]),
        ("an extent of 2^63", sparse(b"1\n1\n9223372036854775807\n"), &["sparse"]),
        ("a map without its end", sparse(b"1000\n0\n1\n"), &["sparse"]),
        (
            "UNP-17 an attribute that cannot be",
            good().pax(&[("SCHILY.xattr.user.x", &[b'v'; 70_000])]).file("tagged", "").end(),
            &["\"tagged\"", "user.x"],
        ),
        (
            "UNP-17 an attribute without a space of names",
            good()
                .pax(&[("SCHILY.xattr.system.posix_acl_access", b"bad")])
                .file("tagged", "")
                .end(),
            &["\"tagged\"", "posix_acl_access"],
        ),
        (
            "a PAX record that lies about its length",
            good().add("x", b'x', "", b"99 path=a\n").file("f", "").end(),
            &["PAX record", "byte"],
        ),
        (
            "a name with a NUL",
            good().add("x", b'x', "", b"18 path=a\0bcdefg\n\n").file("f", "").end(),
            &["PAX record"],
        ),
        ("a single block of zeros", [good().0, vec![0; 512], good().0].concat(), &["end marker"]),
        ("no tar at all", b"no tar at all, but long enough for a header".repeat(40), &["checksum"]),
    ]
}

fn ground() -> Option<Ground> {
    let ground = Ground::new()?;
    let base = ground.file("base.tar", &tar::files(&[("base", b"below")]));
    ground.ok(&format!("import-layer -i base -r -f {base}"));
    fs::create_dir(ground.path("g/outside")).unwrap();
    fs::write(ground.path("g/outside/canary"), "untouched").unwrap();
    Some(ground)
}

#[test]
fn refused_archives_leave_nothing() {
    let Some(ground) = ground() else { return };
    let cases = cases();
    for (what, archive, words) in &cases {
        println!("{what}");
        let file = ground.file("bad.tar", archive);
        ground.refuses(&format!("import-layer -i bad -f {file}"), words);
        ground.refuses(&format!("import-layer -i bad -f {file} base"), words);
        let image = docker_archive(&ground, "bad:1", std::slice::from_ref(archive));
        ground.refuses(&format!("load -q -i {image}"), words);
    }
    println!("archives: {} refused in three ways", cases.len());
}

/// What was unpacked over a layer's content stays there (UNP-19), but no record, tar-split or lock.
#[test]
fn a_refused_diff_changes_no_record() {
    let Some(ground) = ground() else { return };
    for (what, archive, words) in cases() {
        let file = ground.file("bad.tar", &archive);
        ground.ok("create-layer -i target base");
        let records = || {
            let mut all = snapshot(&ground.path("g"));
            all.retain(|path, _| !path.starts_with(ground.path("g/overlay/target/diff")));
            all
        };
        let before = records();
        let run = ground.run(&format!("applydiff -f {file} target"));
        run.check_refusal(words).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_same(&before, &records(), what);
        ground.ok("delete-layer target");
    }
}

/// ADD-2: a layer of an additional store is not changed, whoever asks.
#[test]
fn a_layer_of_another_store_is_not_changed() {
    let (Some(theirs), Some(ours)) = (ground(), ground()) else { return };
    let option = format!("--storage-opt overlay.imagestore={}", theirs.path("g").display());
    let other = theirs.file("other.tar", &tar::files(&[("theirs", b"x")]));
    theirs.ok(&format!("import-layer -i theirs -r -f {other}"));
    let before = snapshot(&theirs.path("g"));
    ours.ok(&format!("layers {option}"));
    for (line, words) in [
        (format!("{option} applydiff -f {other} theirs"), ["theirs", "layer"]),
        (format!("{option} delete-layer theirs"), ["theirs", "not a layer"]),
        (format!("{option} delete theirs"), ["theirs", "layer not known"]),
        (format!("{option} mount theirs"), ["theirs", "read-only"]),
        (format!("{option} set-layer-data -f {other} theirs note"), ["theirs", "layer"]),
    ] {
        ours.refuses(&line, &words);
    }
    // One of that id is made in our own home.
    ours.ok(&format!("{option} import-layer -i theirs -f {other}"));
    assert!(ours.path("g/overlay/theirs/diff/theirs").exists());
    ours.ok(&format!("{option} delete-layer theirs"));
    assert_same(&before, &snapshot(&theirs.path("g")), "all that");
}

/// store-format.md 16.30: what another's crash has left is no layer to stand on, though Go would take it.
#[test]
fn a_half_layer_of_another_store_is_no_parent() {
    let (Some(theirs), Some(ours)) = (ground(), ground()) else { return };
    let option = format!("--storage-opt overlay.imagestore={}", theirs.path("g").display());
    theirs.ok("create-layer -i half");
    ours.ok(&format!("{option} create-layer -i whole half"));
    ours.ok(&format!("{option} delete-layer whole"));
    let records = theirs.path("g/overlay-layers/layers.json");
    let (id, flagged) = (r#""id":"half""#, r#""id":"half","flags":{"incomplete":true}"#);
    let text = fs::read_to_string(&records).unwrap();
    assert!(text.contains(id), "{text}");
    fs::write(&records, text.replace(id, flagged)).unwrap();
    let before = snapshot(&theirs.path("g"));
    let run = ours.run(&format!("{option} create-layer -i child half"));
    run.check_refusal(&["half", "layer not known"]).unwrap();
    assert_same(&before, &snapshot(&theirs.path("g")), "the refusal");
}

/// UNP-5 to UNP-9 and ARC-1: what is not refused stays inside.
#[test]
fn what_climbs_stays_inside() {
    let Some(ground) = ground() else { return };
    let outside = ground.path("outside").to_str().unwrap().to_owned();
    let archive = Tar::default()
        .file("../../../../../../outside/canary", "1")
        .file(&format!("{outside}/new"), "2")
        .link("ln", b'2', &outside)
        .file("ln/through", "3")
        .link("up", b'2', "../../../../../..")
        .file("up/above", "4")
        .file("ln/.wh.canary", "")
        .file("ln/.wh..wh..opq", "")
        .link("a", b'2', &outside)
        .link("self", b'2', ".")
        .dir("self/a")
        .file("a/in-its-place", "5")
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/outside"),
            ("SCHILY.xattr.user.kept", b"1"),
        ])
        .dir("marked")
        .end();
    let file = ground.file("climbing.tar", &archive);
    let before = snapshot(&ground.path("outside"));
    let run = ground.run(&format!("import-layer -i climbing -f {file}"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("trusted.overlay.redirect"), "{run:?}");
    let merged = ground.ok("mount climbing");
    let at = |path: &str| format!("{merged}/{}", path.trim_start_matches('/'));
    for (path, content) in [
        ("outside/canary", "1"),
        (&format!("{outside}/new"), "2"),
        (&format!("{outside}/through"), "3"),
        ("above", "4"),
        ("a/in-its-place", "5"),
    ] {
        assert_eq!(fs::read_to_string(at(path)).unwrap(), content, "{path}");
    }
    ground.ok("unmount climbing");
    ground.ok("delete-layer climbing");
    assert_same(&before, &snapshot(&ground.path("outside")), "the archive");
}
