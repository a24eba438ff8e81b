//! `load`, `save` and `commit`.

use std::path::Path;

use crate::sandbox::{Sandbox, docker_archive};

fn id_of(sandbox: &Sandbox, name: &str) -> String {
    let text = sandbox.ok(&format!("image {name}"));
    text.lines().find_map(|line| line.strip_prefix("ID: ")).unwrap().to_owned()
}

#[test]
fn an_image_goes_all_the_way_round() {
    let sandbox = Sandbox::vfs();
    let archive = docker_archive(&sandbox);
    let name = "localhost/first:1";
    let run = sandbox.run(&format!("load -i {archive}"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert_eq!(run.stdout, format!("Loaded image: {name}\n"));
    let bytes = std::fs::read(&archive).unwrap();
    assert_eq!(sandbox.ok_with("load", &bytes), run.stdout);
    assert_eq!(sandbox.ok("images -q").lines().count(), 1);

    sandbox.ok(&format!("create-container -i ctr {name}"));
    let at = sandbox.ok("mount ctr");
    std::fs::write(Path::new(at.trim_end()).join("etc/motd"), b"changed").unwrap();
    let id = sandbox.ok("commit -a me -m why -c CMD=[\"/bin/sh\"] ctr second:1");
    let id = id.trim_end();
    assert_eq!(id_of(&sandbox, "localhost/second:1"), id);
    sandbox.ok("unmount ctr");

    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let file = sandbox.path().join(format).display().to_string();
        assert_eq!(sandbox.ok(&format!("save --format {format} -o {file} localhost/second:1")), "");
        let other = Sandbox::vfs();
        assert_eq!(other.ok(&format!("load -q -i {file}")), "Loaded image: localhost/second:1\n");
        let loaded = id_of(&other, "localhost/second:1");
        assert_eq!(loaded, id, "{format}");
    }
    let stream = sandbox.output("save localhost/second:1", b"").stdout;
    let file = std::fs::read(sandbox.path().join("docker-archive")).unwrap();
    assert_eq!(stream, file);
}

#[test]
fn commits_of_one_epoch_are_the_same() {
    let sandbox = Sandbox::vfs().with_env("SOURCE_DATE_EPOCH", "86400");
    let archive = docker_archive(&sandbox);
    sandbox.ok(&format!("load -i {archive}"));
    sandbox.ok("create-container -i ctr localhost/first:1");
    assert_eq!(sandbox.ok("commit ctr one"), sandbox.ok("commit ctr two"));
    assert_eq!(id_of(&sandbox, "localhost/one:latest"), id_of(&sandbox, "localhost/two:latest"));
    let sandbox = sandbox.with_env("SOURCE_DATE_EPOCH", "noon");
    sandbox.fails("commit ctr three", "SOURCE_DATE_EPOCH");
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let sandbox = Sandbox::vfs();
    let archive = docker_archive(&sandbox);
    let run = sandbox.run_with("load", b"this is no archive");
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
    sandbox.fails("load -i /nonexistent", "/nonexistent");
    sandbox.fails(&format!("load --platform linux -i {archive}"), "platform");
    sandbox.fails("save nosuch", "image not known");
    sandbox.fails("commit nosuch name", "container not known");
    assert_eq!(sandbox.ok("images -j"), "null\n");
    assert_eq!(sandbox.ok("layers -j"), "null\n");
    sandbox.ok(&format!("load -i {archive}"));
    sandbox.fails("save --format oci-dir localhost/first:1", "cannot be written to a stream");
}
