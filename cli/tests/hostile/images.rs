//! Images that are made to wear the loader out: too many layers, circles, and texts without end.

use std::fs;

use crate::ground::{Ground, docker_archive};
use crate::tar::{self, Tar};

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#;

fn docker(manifest: &str, config: &str) -> Tar {
    Tar::default().file("manifest.json", manifest).file("c.json", config)
}

const ONE: &str = r#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l.tar"]}]"#;

#[test]
fn layers_that_are_links_in_circles_are_refused() {
    let Some(ground) = Ground::new() else { return };
    ground.ok("layers");
    ground.seed();
    let circles = [
        docker(ONE, CONFIG).link("l.tar", b'2', "l.tar"),
        docker(ONE, CONFIG).link("l.tar", b'2', "m").link("m", b'2', "./x/../l.tar"),
        docker(ONE, CONFIG).link("l.tar", b'1', "m").link("m", b'1', "l.tar"),
        // Out of the archive there is nothing.
        docker(ONE, CONFIG).link("l.tar", b'2', "/etc/passwd"),
        docker(ONE, CONFIG).link("l.tar", b'2', "../../../../../../etc/passwd"),
        docker(ONE, CONFIG).dir("l.tar"),
        docker(ONE, CONFIG).link("l.tar", b'3', ""),
    ];
    for circle in circles {
        let file = ground.file("circle.tar", &circle.end());
        ground.refuses(&format!("load -q -i {file}"), &["l.tar"]);
    }
}

#[test]
fn an_index_of_itself_ends() {
    let Some(ground) = Ground::new() else { return };
    ground.seed();
    // No digest can be in what it is of: the nearest thing is a layout whose index lies about its own.
    let zero = "0".repeat(64);
    let entry = format!(
        r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{zero}","size":1}}"#
    );
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
    let layout = ground.path("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(layout.join("index.json"), &index).unwrap();
    std::os::unix::fs::symlink("../../index.json", layout.join("blobs/sha256").join(&zero))
        .unwrap();
    ground.refuses(
        "load -q -i {layout}".replace("{layout}", layout.to_str().unwrap()).as_str(),
        &[&zero],
    );
    // The honest way to go on without end: an index of an index, deeper than anybody makes them.
    let mut bytes = index;
    for _ in 0..40 {
        let digest = crate::ground::sha256(bytes.as_bytes());
        fs::write(layout.join("blobs/sha256").join(&digest), &bytes).unwrap();
        bytes = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{digest}","size":{}}}]}}"#,
            bytes.len()
        );
    }
    fs::write(layout.join("index.json"), &bytes).unwrap();
    ground.refuses(
        "load -q -i {layout}".replace("{layout}", layout.to_str().unwrap()).as_str(),
        &["nested more than"],
    );
}

#[test]
fn ten_thousand_layers_are_refused() {
    let Some(ground) = Ground::new() else { return };
    ground.seed();
    let layers: Vec<Vec<u8>> = vec![Tar::default().end(); 10_000];
    let one = docker_archive(&ground, "x:1", &layers[..1]);
    ground.ok(&format!("load -q -i {one}"));
    let diff = crate::ground::sha256(&layers[0]);
    let list = |item: &str| vec![format!("\"{item}\""); 10_000].join(",");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        list(&format!("sha256:{diff}"))
    );
    let manifest =
        format!(r#"[{{"Config":"c.json","RepoTags":["x:2"],"Layers":[{}]}}]"#, list("l.tar"));
    let tar = docker(&manifest, &config).add("l.tar", b'0', "", &layers[0]).end();
    let file = ground.file("many.tar", &tar);
    ground.refuses(&format!("load -q -i {file}"), &["more than", "layers"]);
}

#[test]
fn texts_of_hundreds_of_megabytes_are_refused() {
    let Some(ground) = Ground::new() else { return };
    ground.seed();
    // Holes, which cost nothing here and nothing there.
    let size = 300u64 << 20;
    for name in ["manifest.json", "index.json"] {
        let tar = Tar::default().raw(name, b'0', "", &format!("{size:011o}"), b"").0;
        let path = ground.file("text.tar", &tar);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(512 + size + 1024).unwrap();
        let (kib, run) = ground.measured(&format!("load -q -i {path}"));
        run.check_refusal(&[name, "larger than"]).unwrap();
        assert!(kib < 64 << 10, "{kib} KiB for {name}");
        fs::remove_file(path).unwrap();
    }
    let nested = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let tar = Tar::default().file("manifest.json", &nested).end();
    let file = ground.file("nested.tar", &tar);
    ground.refuses(&format!("load -q -i {file}"), &["manifest.json"]);
}

#[test]
fn many_layers_need_few_descriptors() {
    let Some(mut ground) = Ground::new() else { return };
    ground.seed();
    let layers: Vec<_> =
        (0..100).map(|n| tar::files(&[(&format!("f{n}"), b"in a layer of its own")])).collect();
    let archive = docker_archive(&ground, "many:1", &layers);
    let line = format!("load -q -i {archive}");
    for limit in [14, 20, 24, 28, 32, 40, 52, 64] {
        ground.limit_files(Some(limit));
        let run = ground.run(&line);
        ground.limit_files(None);
        if run.code == 0 {
            ground.ok("delete-image localhost/many:1");
        } else {
            let told = format!("may have {limit} files open");
            let words = ["Too many open files", &told];
            run.check_refusal(&words).unwrap_or_else(|why| panic!("{limit}: {why}"));
        }
        assert_eq!(ground.ok("layers -q").lines().count(), 1, "{limit}");
    }
    ground.limit_files(Some(256));
    ground.ok(&line);
    assert_eq!(ground.ok("layers -q").lines().count(), 101);
}
