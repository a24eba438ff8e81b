//! What is printed of a store's content, in plain form and as JSON.

use crate::normal::normal;
use crate::sandbox::{Sandbox, tar};

/// base ← top, image `img` on it, container `ctr`.
fn furnished() -> Sandbox {
    let sandbox = Sandbox::vfs();
    assert_eq!(sandbox.ok("create-layer -i base -n bottom"), "base\n\tbottom\n");
    let stream = tar(&[("etc/", b""), ("etc/file", b"content")]);
    assert_eq!(sandbox.ok_with("import-layer -i top base", &stream), "top\n");
    assert_eq!(sandbox.ok("create-image -i img -n a:1 -m text top"), "img\n\ta:1\n");
    assert_eq!(sandbox.ok("create-container -i ctr -n c img"), "ctr\n\tc\n");
    sandbox
}

fn container_layer(sandbox: &Sandbox) -> String {
    let text = sandbox.ok("container ctr");
    text.lines().find_map(|line| line.strip_prefix("Layer: ")).unwrap().to_owned()
}

#[test]
fn an_empty_store() {
    let sandbox = Sandbox::vfs();
    for (line, expected) in [
        ("layers", ""),
        ("layers --tree", ""),
        ("layers -j", "null\n"),
        ("images", ""),
        ("images -j", "null\n"),
        ("containers", ""),
        ("containers -j", "[]\n"),
    ] {
        assert_eq!(sandbox.ok(line), expected, "{line}");
    }
}

#[test]
fn layers_and_what_uses_them() {
    let sandbox = furnished();
    let own = container_layer(&sandbox);
    let expected = format!(
        "base\n\tname: bottom\ntop\n\timage: img\n\t\tname: a:1\n{own}\n\tcontainer: ctr\n\t\tname: c\n"
    );
    assert_eq!(sandbox.ok("layers"), expected);
    assert_eq!(sandbox.ok("layers -q"), format!("base\ntop\n{own}\n"));
    let tree = format!(
        "(base)\n└─base\n  name: bottom\n  └─top\n    image: img\n    image name: a:1\n    └─{own}\n      \
         container: ctr\n      container name: c\n"
    );
    assert_eq!(sandbox.ok("layers -t"), tree);
    assert_eq!(sandbox.ok("layer bottom top"), "ID: base\nName: bottom\nID: top\nParent: base\n");
}

#[test]
fn records_as_json() {
    let sandbox = furnished();
    let json = |line: &str| normal(&sandbox.ok(line), sandbox.path(), &mut Vec::new());
    assert_eq!(
        json("layer -j base"),
        "[{\"id\":\"base\",\"names\":[\"bottom\"],\"created\":\"TIME\"}]\n"
    );
    let top = json("layer -j top");
    assert!(
        top.starts_with("[{\"id\":\"top\",\"parent\":\"base\",\"created\":\"TIME\",\"compressed-diff-digest\":\"sha256:ID0\""),
        "{top}"
    );
    assert_eq!(
        json("images -j"),
        "[{\"id\":\"img\",\"names\":[\"a:1\"],\"layer\":\"top\",\"metadata\":\"text\",\
         \"created\":\"TIME\"}]\n"
    );
    assert_eq!(
        json("container -j c"),
        "[{\"id\":\"ctr\",\"names\":[\"c\"],\"image\":\"img\",\"layer\":\"ID0\",\"created\":\"TIME\",\
         \"flags\":{\"MountLabel\":\"\",\"ProcessLabel\":\"\"}}]\n"
    );
}

#[test]
fn examining_an_image_and_a_container() {
    let sandbox = furnished();
    sandbox.ok_with("set-image-data img manifest", b"{}");
    sandbox.ok_with("set-image-data img sha256:x", b"abc");
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let text = sandbox.ok("image a:1");
    let start = format!(
        "ID: img\nName: a:1\nTop Layer: top\nDigest: {digest}\nData: manifest\nData: sha256:x\nSize: "
    );
    assert!(text.starts_with(&start), "{text}");
    let listed =
        format!("img\n\tname: a:1\n\tdigest: {digest}\n\tdata: manifest\n\tdata: sha256:x\n");
    assert_eq!(sandbox.ok("images"), listed);
    assert_eq!(sandbox.ok(&format!("images-by-digest {digest}")), listed);
    assert_eq!(sandbox.ok(&format!("images-by-digest -q {digest}")), "img\n");
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(sandbox.ok(&format!("images-by-digest {other}")), "");
    assert_eq!(sandbox.ok(&format!("images-by-digest -j {other}")), "[]\n");
    sandbox.fails("images-by-digest junk", "invalid checksum digest format");

    sandbox.ok_with("set-container-data c key", b"1");
    let own = container_layer(&sandbox);
    let text = sandbox.ok("container c");
    let start = "ID: ctr\nName: c\nImage: img\nImage name: a:1\nSize: ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with(&format!("\nLayer: {own}\nData: key\n")), "{text}");
    assert_eq!(sandbox.ok("containers"), "ctr\n\tname: c\n\tdata: key\n");
}

#[test]
fn what_is_not_there_is_left_out_and_told() {
    let sandbox = furnished();
    let run = sandbox.fails("layer nosuch base", "layer not known");
    assert_eq!(run.stdout, "ID: base\nName: bottom\n");
    assert_eq!(sandbox.fails("image -j nosuch", "image not known").stdout, "[]\n");
    assert_eq!(sandbox.fails("container -j nosuch", "container not known").stdout, "[]\n");
    let run = sandbox.run("metadata img nosuch");
    assert_eq!((run.code, run.stdout.as_str()), (1, "img: text\nnosuch: \n"));
    let run = sandbox.run("metadata -j img nosuch");
    assert_eq!((run.code, run.stdout.as_str()), (1, "{\"img\":\"text\"}\n"));
    assert_eq!(sandbox.ok("metadata -q img base"), "text\n\n");
}

#[test]
fn exists_prints_the_truth_and_ends_as_asked() {
    let sandbox = furnished();
    for (line, code, stdout) in [
        ("exists base a:1 c", 0, "base: true\na:1: true\nc: true\n"),
        ("exists nosuch base", 1, "nosuch: false\nbase: true\n"),
        ("exists -j nosuch base", 1, "{\"base\":true,\"nosuch\":false}\n"),
        ("exists -l img", 1, "img: true\n"),
        ("exists -i img", 0, "img: true\n"),
        ("exists -c -q c", 0, ""),
        ("exists -q nosuch", 1, ""),
    ] {
        let run = sandbox.run(line);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (code, stdout, ""),
            "{line}"
        );
    }
}

#[test]
fn status_is_json_or_on_standard_error() {
    let sandbox = furnished();
    let root = sandbox.path().display().to_string();
    let start = format!(
        "[[\"Root\",\"{root}/g\"],[\"Run Root\",\"{root}/r\"],[\"Driver Name\",\"vfs\"],[\"Driver Options\",\"[]\"]"
    );
    let json = sandbox.ok("status -j");
    assert!(json.starts_with(&start), "{json}");
    let run = sandbox.run("status");
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("\nDriver Name: vfs\n"), "{run:?}");
}

#[test]
fn config_prints_the_configuration() {
    let sandbox = Sandbox::vfs();
    sandbox.file(
        "storage.conf",
        b"[storage]\ndriver=\"vfs\"\nrunroot=\"/r&r\"\ngraphroot=\"/g\"\n[storage.options]\nadditionalimagestores=[\"/a\"]\n",
    );
    let expected = "{\"runroot\":\"/r\\u0026r\",\"root\":\"/g\",\"driver\":\"vfs\",\"driver-options\":[\"imagestore=/a\"],\"PullOptions\":null}\n";
    assert_eq!(sandbox.ok("config"), expected);
}
