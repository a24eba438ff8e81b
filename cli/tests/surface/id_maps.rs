//! Layers and containers with id maps, made by the same command lines with the Go command and with orlop: the same output, the same
//! records, and files of the same owners (`store-format.md` 3, 11).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::beside_go::go_command;
use crate::normal::normal;
use crate::sandbox::{ORLOP, Sandbox, tar};

/// With `< base.tar` or `< next.tar` as the standard input.
const LINES: &str = "
    import-layer -r -i base < base.tar
    import-layer -r -i top base < next.tar
    create-image -i img top
    import-layer -j -r -i mapped --uidmap 0:1000:100 --gidmap 0:2000:100 < base.tar
    import-layer -j -r -i inherits mapped < next.tar
    import-layer -j -r -i others --uidmap 0:5000:100 --gidmap 0:6000:100 mapped < next.tar
    create-layer -j -i host --hostuidmap --hostgidmap inherits
    create-layer -j -i empty --uidmap 0:9000:100 --gidmap 0:9000:100
    create-layer -i x --hostuidmap --uidmap 0:1:1
    create-container -i plain img
    create-container -j -i one --uidmap 0:1000:100 --gidmap 0:2000:100 img
    create-container -j -i two --uidmap 0:1000:100 --gidmap 0:2000:100 img
    create-container -j -i users --uidmap 0:1000:100 img
    create-container -j -i few --uidmap 0:7000:1 --gidmap 0:7000:2 img
    create-container -j -i none --hostuidmap --hostgidmap img
    create-container -j -i nothing --uidmap 0:1000:100 --gidmap 0:2000:100 ''
    layer-parent-owners mapped
    container-parent-owners one
    container-parent-owners -j none one
    layer-parent-owners -j base nosuch
    layer-parent-owners base
    container-parent-owners none nosuch
    mount one
    mount users
    mount none
    container-parent-owners one none
    container-parent-owners users
    container-parent-owners -j one users
    unmount one users none
    layer mapped
    layer -j mapped
    container -j one
    image img
    images -j
    layers -q
    diff -u -f OUT mapped
    diffsize others
";

/// Output, records and owners.
struct Told {
    said: Vec<String>,
    records: Vec<String>,
    owners: Vec<String>,
}

fn tell(program: impl AsRef<Path>, driver: &'static str, env: Option<&'static str>) -> Told {
    let mut at = Sandbox::new(program, driver);
    if let Some(name) = env {
        at = at.with_env(name, "yes");
    }
    let base = tar(&[("etc/", b""), ("etc/a", b"1"), ("etc/b", b"2"), ("t", b"t")]);
    let next = tar(&[("etc/", b""), ("etc/a", b"changed"), ("etc/.wh.b", b""), ("new", b"n")]);
    let (mut said, mut ids) = (Vec::new(), Vec::new());
    let out = at.path().join("out");
    for line in LINES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, stdin) = match line.split_once(" < ") {
            Some((line, "base.tar")) => (line, base.as_slice()),
            Some((line, _)) => (line, next.as_slice()),
            None => (line, &[][..]),
        };
        let run = at.run_with(&line.replace("OUT", out.to_str().unwrap()), stdin);
        let stdout = normal(&run.stdout, at.path(), &mut ids);
        said.push(format!("{line}: {} {stdout}", run.code));
    }
    assert_eq!(fs::read(&out).unwrap(), base, "as it came in");
    let home = at.path().join("g");
    let records = ["layers", "images", "containers"].map(|kind| {
        let path = home.join(format!("{driver}-{kind}/{kind}.json"));
        normal(&fs::read_to_string(path).unwrap(), at.path(), &mut ids)
    });
    let mut owners = Vec::new();
    let mut left = vec![home.join(driver)];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(&home).unwrap().to_str().unwrap();
            // Links of random names, and what a probe leaves.
            if name.starts_with("overlay/l/") || name.contains("/.") || name.contains("tempdirs") {
                continue;
            }
            // Where Go sees lower layers with other owners; orlop does so in a temp dir.
            if name.ends_with("/mapped") {
                continue;
            }
            if about.is_dir() {
                left.push(path.clone());
            }
            // Go leaves the root of what was moved aside, and of content staged on a parent of other maps, to whom it belonged.
            if env.is_some() && (name.ends_with("/diff1") || name == "overlay/others/diff") {
                continue;
            }
            let (uid, gid, mode) = (about.uid(), about.gid(), about.mode());
            let links = about.nlink() - u64::from(path.join("mapped").is_dir());
            let line = format!("{name} {uid}:{gid} {mode:o} {links}");
            owners.push(normal(&line, at.path(), &mut ids));
        }
    }
    Told { said, records: records.into(), owners }
}

fn compare(driver: &'static str, env: Option<&'static str>) {
    let Some(go) = go_command() else {
        println!("skipped: id maps beside Go: no Go command; `make reference` builds one");
        return;
    };
    if !is_root() {
        println!("skipped: id maps beside Go: only root gives files away");
        return;
    }
    let (theirs, ours) = (tell(go, driver, env), tell(ORLOP, driver, env));
    let differences = |theirs: &[String], ours: &[String]| -> Vec<String> {
        let lacks = theirs.iter().filter(|line| !ours.contains(line));
        let more = ours.iter().filter(|line| !theirs.contains(line));
        lacks.map(|l| format!("go    {l}")).chain(more.map(|l| format!("orlop {l}"))).collect()
    };
    let all = [
        differences(&theirs.said, &ours.said),
        differences(&theirs.records, &ours.records),
        differences(&theirs.owners, &ours.owners),
    ];
    assert!(all.iter().all(Vec::is_empty), "{driver}:\n{}", all.concat().join("\n"));
}

/// Whether this is root, by the owner of what it makes.
fn is_root() -> bool {
    tempfile::tempfile().is_ok_and(|file| file.metadata().is_ok_and(|about| about.uid() == 0))
}

#[test]
fn on_vfs() {
    compare("vfs", None);
}

#[test]
fn on_overlay() {
    compare("overlay", None);
}

#[test]
fn on_overlay_that_may_not_map_by_mounts() {
    compare("overlay", Some("_CONTAINERS_OVERLAY_DISABLE_IDMAP"));
}
