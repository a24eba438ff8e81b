//! `thin make`, and thin images from the archive to the mounted container (`overlay-driver.md` 18), with a real server of the S3 protocol
//! and a stand-in for the client of CernVM-FS that really mounts.

// The helpers around the tests fail as the tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "the tests of orlop-s3 use more of it")]
#[path = "../../../s3/tests/upload/relay.rs"]
mod relay;
#[allow(dead_code, reason = "the tests of the surface use more of it")]
#[path = "../surface/sandbox.rs"]
mod sandbox;
#[path = "../../../s3/tests/upload/server.rs"]
mod server;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::relay::{Relay, Turn};
use self::server::Server;
use crate::sandbox::{ORLOP, Sandbox, docker_archive};

const REPOSITORY: &str = "r.cern.ch";

/// A store, where its layers go, and the repository that they appear in.
struct Site {
    sandbox: Sandbox,
    server: Server,
    relay: Relay,
    /// Who says of what was sent that it is published.
    _publisher: Relay,
    config: String,
}

impl Site {
    /// `None`, having said why, where a part is not to be had.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: mounting thin images: needs root");
            return None;
        }
        let server = Server::start()?;
        let dir = Sandbox::new(ORLOP, "overlay");
        let bin = dir.path().join("bin");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let sandbox = dir.with_env("PATH", path.leak());
        std::fs::create_dir(&bin).unwrap();
        let relay = Relay::start(&server.socket(), &[]);
        let publisher = Relay::start(&server.bucket(), &[Turn::Tell; 99]);
        let config = sandbox.file(
            "upload.json",
            format!(
                r#"{{"AccessKey":"{}","AccessSecret":"{}","Host":"{}","CvmfsRepo":"other.cern.ch","SSL":false,"PublishStatusURL":"http://{}"}}"#,
                server::KEY,
                server::SECRET,
                relay.address(),
                publisher.address()
            )
            .as_bytes(),
        );
        let site = Self { sandbox, server, relay, _publisher: publisher, config };
        std::fs::create_dir_all(site.published()).unwrap();
        let calls = site.sandbox.path().join("calls").display().to_string();
        let mounts = format!(
            "echo \"$@\" >>'{calls}'; exec mount --bind '{}' \"$4\"",
            site.published().display()
        );
        site.program("cvmfs2", &mounts);
        site.program("cvmfs_talk", &format!("echo talk \"$@\" >>'{calls}'"));
        Some(site)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.sandbox.path().join("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn published(&self) -> PathBuf {
        self.sandbox.path().join("published").join(REPOSITORY)
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.sandbox.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What a publisher does: unpacks what is in the bucket, deletions as the kernel's overlay wants them. Returns how many there are.
    fn publish(&self) -> usize {
        let entries = std::fs::read_dir(self.server.bucket()).unwrap();
        // The server has a directory of its own beside them.
        let layers: Vec<_> = entries.map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
        for layer in &layers {
            let to = self.published().join("layers").join(layer.file_name().unwrap());
            if to.exists() {
                continue;
            }
            std::fs::create_dir_all(&to).unwrap();
            let script =
                "tar -xzf \"$1\" -C \"$2\" && find \"$2\" -name '.wh.*' | while read -r mark; do
                rm \"$mark\" && mknod \"${mark%/*}/${mark##*/.wh.}\" c 0 0 || exit 1
            done";
            let run = Command::new("sh").args(["-c", script, "sh"]).arg(layer).arg(&to).status();
            assert!(run.unwrap().success());
        }
        layers.len()
    }

    fn make(&self, image: &str, name: &str) -> String {
        let config = &self.config;
        format!(
            "--dialect cvmfs thin make -q --repo {REPOSITORY} --name {name} --upload-config {config} {image}"
        )
    }

    fn repository(&self) -> PathBuf {
        self.sandbox.path().join("r/overlay/cvmfs").join(REPOSITORY)
    }

    fn is_mounted(&self, path: &Path) -> bool {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4) == path.to_str())
    }

    fn mount(&self, container: &str) -> PathBuf {
        self.sandbox.ok(&format!("mount {container}")).trim_end().into()
    }
}

#[test]
fn an_image_becomes_thin_and_its_containers_live_from_the_repository() {
    // CVM-4, CVM-8, CVM-11, CVM-15, CVM-17, CVM-18, CVM-20, CVM-22, CVM-23, ADD-11
    let Some(site) = Site::new() else { return };
    let sandbox = &site.sandbox;
    let archive = docker_archive(sandbox);
    sandbox.ok(&format!("load -q -i {archive}"));
    sandbox.ok("create-container -i first localhost/first:1");
    let root = site.mount("first");
    std::fs::remove_file(root.join("etc/motd")).unwrap();
    std::fs::write(root.join("etc/second"), "2").unwrap();
    sandbox.ok("commit -q first second:1");
    sandbox.ok("delete-container first");

    sandbox.fails(
        &site.make("localhost/second:1", "thin:1").replace("--dialect cvmfs ", ""),
        "--dialect cvmfs",
    );
    sandbox.ok(&site.make("localhost/second:1", "thin:1"));
    assert_eq!(site.publish(), 2, "one for each layer");
    assert_eq!(site.relay.requests().len(), 2);

    // From here on the store tells by itself what it is. Each command is a process of its own.
    sandbox.ok("create-container -i box localhost/thin:1");
    let root = site.mount("box");
    let names = |root: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(root.join("etc"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&root), ["second"], "what the second layer deletes is gone");
    assert!(site.is_mounted(&site.repository()));
    assert_eq!(
        site.calls(),
        [format!(
            "-o rw,fsname=cvmfs2,allow_other,grab_mountpoint,cvmfs_suid {REPOSITORY} {}",
            site.repository().display()
        )]
    );

    // The repository goes while the container is mounted: that keeps what it has, and the next one gets it anew.
    let gone = Command::new("umount").arg("-l").arg(site.repository()).status();
    assert!(gone.unwrap().success());
    assert_eq!(std::fs::read_to_string(root.join("etc/second")).unwrap(), "2");
    std::fs::write(root.join("etc/third"), "3").unwrap();
    sandbox.ok("create-container -i other localhost/thin:1");
    assert_eq!(names(&site.mount("other")), ["second"]);
    assert_eq!(site.calls().len(), 2);
    sandbox.ok("unmount other");
    let changes = sandbox.ok("changes box");
    assert_eq!(changes.lines().count(), 2, "{changes}");
    assert!(changes.contains("/etc/third"), "{changes}");
    sandbox.ok("unmount box");
    assert!(!site.is_mounted(&site.repository()), "nobody uses it");

    // A container on it is committed, saved, loaded elsewhere, and made thin in its turn.
    sandbox.ok("commit -q box third:1");
    let saved = sandbox.path().join("third.tar").display().to_string();
    sandbox.ok(&format!("save -q --format oci-archive -o {saved} localhost/third:1"));
    sandbox.ok("delete-container box");
    sandbox.ok("delete-container other");
    for image in ["third:1", "thin:1", "second:1", "first:1"] {
        sandbox.ok(&format!("delete-image localhost/{image}"));
    }
    sandbox.ok(&format!("load -q -i {saved}"));
    sandbox.ok(&site.make("localhost/third:1", "thin:3"));
    assert_eq!(site.publish(), 3, "only the container's layer is new");
    sandbox.ok("create-container -i last localhost/thin:3");
    let root = site.mount("last");
    assert_eq!(names(&root), ["second", "third"]);
    assert_eq!(
        sandbox.ok("layers -q").lines().count(),
        4,
        "two of third, one of thin, one of last"
    );
    // Whoever publishes meanwhile: the client is told to look. Nothing is sent a second time.
    let sent = site.relay.requests().len();
    sandbox.ok(&site.make("localhost/third:1", "thin:4"));
    assert_eq!(site.relay.requests().len(), sent);
    assert_eq!(site.calls().last().unwrap(), &format!("talk -i {REPOSITORY} remount sync"));
    sandbox.ok("unmount last");
}

#[test]
fn a_failure_leaves_the_store_as_it_was() {
    // CVM-19, CVM-20, 18.3
    let Some(site) = Site::new() else { return };
    let sandbox = &site.sandbox;
    let archive = docker_archive(sandbox);
    sandbox.ok(&format!("load -q -i {archive}"));
    let records = || (sandbox.ok("images -j"), sandbox.ok("layers -j"));
    let before = records();
    let make = site.make("localhost/first:1", "thin:1");
    let text = std::fs::read_to_string(&site.config).unwrap();
    std::fs::write(&site.config, text.replace(server::SECRET, "wrong")).unwrap();
    let run = sandbox.fails(&make, "SignatureDoesNotMatch");
    assert!(!run.stderr.contains("wrong"), "{run:?}");
    std::fs::write(&site.config, "{}").unwrap();
    sandbox.fails(&make, "upload.json");
    std::fs::remove_file(&site.config).unwrap();
    sandbox.fails(&make, "upload.json");
    sandbox.fails(&make.replace(REPOSITORY, "../etc"), "../etc");
    assert_eq!(records(), before);
    assert_eq!(site.publish(), 0);
    std::fs::write(&site.config, text).unwrap();
    sandbox.ok(&make);
    // A container that cannot be mounted says why, and is not.
    sandbox.ok("create-container -i box localhost/thin:1");
    sandbox.fails("mount box", "looking for the layer cvmfs://r.cern.ch/layers/");
    assert!(!site.is_mounted(&site.repository()));
    site.program("cvmfs2", "echo no proxy answers >&2; exit 3");
    sandbox.fails("mount box", "no proxy answers (exit code 3)");
    std::fs::remove_file(sandbox.path().join("bin/cvmfs2")).unwrap();
    sandbox.fails("mount box", "cvmfs2 is not installed");
}
