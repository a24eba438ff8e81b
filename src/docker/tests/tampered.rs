//! Layers whose files are no longer what docker has unpacked: one test for each kind of change. All of them have every byte of content.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};

use rustix::fs::{FileType, Mode, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::hostile::refused_of;
use super::*;
use crate::sys::refused::{self, Call};

/// A tar with every kind of member, the parents of some without one.
pub(super) fn rich() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: EntryType, mode: u32, target: &str, content: &str| {
        if name == "attributes" {
            let records: [(&str, &[u8]); 2] = [
                ("SCHILY.xattr.user.key", b"value"),
                ("SCHILY.xattr.security.capability", &capability()),
            ];
            tar.append_pax_extensions(records).unwrap();
        }
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_600_000_000);
        header.set_size(content.len() as u64);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        match target {
            "" => tar.append_data(&mut header, name, content.as_bytes()).unwrap(),
            _ => tar.append_link(&mut header, name, target).unwrap(),
        }
    };
    add("./", EntryType::Directory, 0o751, "", "");
    add("dir/", EntryType::Directory, 0o1755, "", "");
    add("dir/file", EntryType::Regular, 0o644, "", "content");
    add("dir/same", EntryType::Regular, 0o644, "", "content");
    add("dir/empty", EntryType::Regular, 0o4755, "", "");
    add("dir/bare/", EntryType::Directory, 0o755, "", "");
    add("attributes", EntryType::Regular, 0o755, "", "x");
    add("link", EntryType::Symlink, 0o777, "dir/file", "");
    add("hard", EntryType::Link, 0o644, "dir/file", "");
    add("hollow", EntryType::Regular, 0o644, "", "");
    add("hollow-too", EntryType::Link, 0o644, "hollow", "");
    add("jump", EntryType::Symlink, 0o777, "dir/file", "");
    add("jump-too", EntryType::Link, 0o777, "jump", "");
    add("zero", EntryType::Char, 0o666, "", "");
    add("zero-too", EntryType::Link, 0o666, "zero", "");
    add("null", EntryType::Char, 0o666, "", "");
    add("pipe", EntryType::Fifo, 0o600, "", "");
    add("implied/parents/file", EntryType::Regular, 0o600, "", "y");
    add("opaque/.wh..wh..opq", EntryType::Regular, 0o644, "", "");
    add("gone/.wh.file", EntryType::Regular, 0o644, "", "");
    tar.into_inner().unwrap()
}

/// `cap_net_raw+ep`, as it lies on the disk.
fn capability() -> Vec<u8> {
    let mut value = 0x0200_0001u32.to_le_bytes().to_vec();
    value.extend((1u32 << 13).to_le_bytes());
    value.extend([0; 12]);
    value
}

/// A change of the top layer is found, and called by its name.
fn found(what: &str, why: &str, change: impl FnOnce(&Path)) {
    refused_of(what, why, &[base(), rich()], |f, chain, _| {
        let layer = f.diff(&chain[1]);
        let times: Vec<_> = ["", "dir", "gone", "opaque"]
            .iter()
            .map(|name| (layer.join(name), layer.join(name).metadata().unwrap()))
            .collect();
        change(&layer);
        // What is changed behind somebody's back is so without a trace.
        for (path, meta) in times {
            set_time(&path, meta.mtime());
        }
    });
}

pub(super) fn set_time(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
}

pub(super) fn set_mode(path: PathBuf, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mark(path: PathBuf, key: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, key, value, XattrFlags::empty()).unwrap();
}

fn node(path: PathBuf, kind: FileType, major: u32, minor: u32) {
    let dev = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::RUSR, dev).unwrap();
}

fn replace(path: PathBuf, make: impl FnOnce(&Path)) {
    std::fs::remove_file(&path).unwrap();
    make(&path);
    lchown(&path, Some(7), Some(8)).unwrap();
    set_time(&path, 1_600_000_000);
}

#[test]
fn modes_and_owners() {
    if !needs_root() {
        return;
    }
    found("a file made setuid", "its mode is 4755, in the tar 0755", |at| {
        set_mode(at.join("attributes"), 0o4755);
    });
    found("a file with several names", "its mode is 0666, in the tar 0644", |at| {
        set_mode(at.join("hard"), 0o666);
    });
    found("a directory for all", "its mode is 1777, in the tar 1755", |at| {
        set_mode(at.join("dir"), 0o1777);
    });
    found("a root for all", "its mode is 0777, in the tar 0751", |at| {
        set_mode(at.to_path_buf(), 0o777);
    });
    found("another owner", "its owner is 1000:8, in the tar 7:8", |at| {
        chown(at.join("dir/same"), Some(1000), None).unwrap();
    });
    found("another group of a link", "its owner is 7:0, in the tar 7:8", |at| {
        lchown(at.join("link"), None, Some(0)).unwrap();
    });
    found("another owner of what no member names", "its owner is 1000:0", |at| {
        chown(at.join("implied/parents"), Some(1000), None).unwrap();
    });
}

/// The member of a further name tells nothing of what the file holds or leads to.
#[test]
fn what_several_names_share() {
    if !needs_root() {
        return;
    }
    let both = |at: &Path, name: &str, make: &dyn Fn(&Path)| {
        let (one, two) = (at.join(name), at.join(format!("{name}-too")));
        std::fs::remove_file(&two).unwrap();
        replace(one.clone(), |path| make(path));
        std::fs::hard_link(one, two).unwrap();
    };
    found("content of an empty file", "it has 4 bytes, in the tar 0", |at| {
        std::fs::write(at.join("hollow-too"), "evil").unwrap();
        set_time(&at.join("hollow"), 1_600_000_000);
    });
    found("another target", "elsewhere", |at| {
        both(at, "jump", &|path| symlink("elsewhere", path).unwrap());
    });
    found("another device", "it is the device 1:5, in the tar 1:3", |at| {
        both(at, "zero", &|path| {
            node(path.to_path_buf(), FileType::CharacterDevice, 1, 5);
            set_mode(path.to_path_buf(), 0o666);
        });
    });
}

#[test]
fn times() {
    if !needs_root() {
        return;
    }
    let later = |name: &'static str| move |at: &Path| set_time(&at.join(name), 1_700_000_000);
    for name in ["dir/empty", "dir/bare", "link", "null"] {
        let why = "its time is 1700000000.000000000, in the tar 1600000000.000000000";
        found(name, why, later(name));
    }
}

#[test]
fn entries_beside_the_tars() {
    if !needs_root() {
        return;
    }
    found(
        "one more file",
        r#""dir/more" with the layer's tar: damaged store: it is a file, in the tar nothing"#,
        |at| {
            std::fs::write(at.join("dir/more"), "").unwrap();
        },
    );
    found("one more link", "it is a symbolic link, in the tar nothing", |at| {
        symlink("/etc/shadow", at.join("implied/parents/more")).unwrap();
    });
    found("one more name of a file", "it is a file, in the tar nothing", |at| {
        std::fs::hard_link(at.join("dir/file"), at.join("more")).unwrap();
    });
    found(
        "one more directory",
        r#""dir/more/below" with the layer's tar: damaged store: it is a directory"#,
        |at| {
            std::fs::create_dir_all(at.join("dir/more/below")).unwrap();
        },
    );
    found("one more device", "it is a block device, in the tar nothing", |at| {
        node(at.join("more"), FileType::BlockDevice, 8, 0);
    });
    found("one more whiteout", "it is a character device, in the tar nothing", |at| {
        node(at.join("more"), FileType::CharacterDevice, 0, 0);
    });
}

#[test]
fn entries_that_are_gone_or_others() {
    if !needs_root() {
        return;
    }
    found(
        "an empty file less",
        r#""dir/empty" with the layer's tar: damaged store: it is missing"#,
        |at| {
            std::fs::remove_file(at.join("dir/empty")).unwrap();
        },
    );
    found(
        "an empty directory less",
        r#""dir/bare" with the layer's tar: damaged store: it is missing"#,
        |at| {
            std::fs::remove_dir(at.join("dir/bare")).unwrap();
        },
    );
    found(
        "a whiteout less",
        r#""gone/file" with the layer's tar: damaged store: it is missing"#,
        |at| {
            std::fs::remove_file(at.join("gone/file")).unwrap();
        },
    );
    found("a file for a whiteout", "it is a file, in the tar a whiteout", |at| {
        replace(at.join("gone/file"), |path| std::fs::write(path, "").unwrap());
    });
    found("a link for a file", "it is a symbolic link, in the tar a file", |at| {
        replace(at.join("dir/empty"), |path| symlink("/bin/sh", path).unwrap());
    });
    found("a link for a directory", "it is a symbolic link, in the tar a directory", |at| {
        std::fs::remove_dir(at.join("dir/bare")).unwrap();
        symlink("/etc", at.join("dir/bare")).unwrap();
    });
    found("a link elsewhere", r#"it leads to "/etc/shadow", in the tar to "dir/file""#, |at| {
        replace(at.join("link"), |path| symlink("/etc/shadow", path).unwrap());
    });
    found("a file for a device", "it is a file, in the tar a character device", |at| {
        replace(at.join("null"), |path| std::fs::write(path, "").unwrap());
    });
    found("another device", "it is the device 1:1, in the tar 1:3", |at| {
        replace(at.join("null"), |path| node(path.into(), FileType::CharacterDevice, 1, 1));
        set_mode(at.join("null"), 0o666);
        set_time(&at.join("null"), 1_600_000_000);
    });
}

#[test]
fn names_of_files() {
    if !needs_root() {
        return;
    }
    found("a name less", r#"it is a file of its own, in the tar the same as "dir/file""#, |at| {
        replace(at.join("hard"), |path| std::fs::write(path, "content").unwrap());
        set_mode(at.join("hard"), 0o644);
    });
    found("two files made one", "it is the same file as another member's", |at| {
        std::fs::remove_file(at.join("dir/same")).unwrap();
        std::fs::hard_link(at.join("dir/file"), at.join("dir/same")).unwrap();
    });
}

#[test]
fn attributes_and_marks() {
    if !needs_root() {
        return;
    }
    found(
        "a capability",
        r#"it has the attribute "security.capability", in the tar it has not"#,
        |at| {
            mark(at.join("dir/same"), "security.capability", &capability());
        },
    );
    found("another capability", r#"its attribute "security.capability" is another"#, |at| {
        let mut value = capability();
        value[4] = 0xff;
        mark(at.join("attributes"), "security.capability", &value);
    });
    found("another attribute", r#"its attribute "user.key" is another"#, |at| {
        mark(at.join("attributes"), "user.key", b"other");
    });
    found("an attribute less", r#"it lacks the attribute "user.key""#, |at| {
        rustix::fs::removexattr(at.join("attributes"), "user.key").unwrap();
    });
    found("an access list", r#"it has the attribute "user.more""#, |at| {
        mark(at.join("implied"), "user.more", b"");
    });
    found(
        "one more opaque directory",
        r#""dir" with the layer's tar: damaged store: it is opaque, in the tar"#,
        |at| {
            mark(at.join("dir"), "trusted.overlay.opaque", b"y");
        },
    );
    found(
        "an opaque root",
        r#""." with the layer's tar: damaged store: it is opaque, in the tar"#,
        |at| {
            mark(at.to_path_buf(), "trusted.overlay.opaque", b"y");
        },
    );
    found(
        "an opaque directory less",
        r#""opaque" with the layer's tar: damaged store: it is not opaque"#,
        |at| {
            rustix::fs::removexattr(at.join("opaque"), "trusted.overlay.opaque").unwrap();
        },
    );
    found("a whiteout by attribute", r#"it has the attribute "trusted.overlay.whiteout""#, |at| {
        mark(at.join("dir/empty"), "trusted.overlay.whiteout", b"y");
    });
}

#[test]
fn what_docker_changes_on_purpose_is_no_difference() {
    // UNP-7, UNP-16
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base(), rich()], None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    let at = f.diff(&chain[1]);
    // Modes of parents that no member names, owners of whiteouts, what overlay notes, the rest of a second, sockets.
    set_mode(at.join("implied"), 0o700);
    set_mode(at.join("implied/parents"), 0o777);
    chown(at.join("gone/file"), Some(5), Some(5)).unwrap();
    for note in ["origin", "impure", "nlink", "uuid"] {
        mark(at.join("dir"), &format!("trusted.overlay.{note}"), b"y");
    }
    let time = rustix::fs::Timespec { tv_sec: 1_600_000_000, tv_nsec: 5 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(
        rustix::fs::CWD,
        at.join("dir/empty"),
        &times,
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    let before = at.metadata().unwrap().mtime();
    node(at.join("socket"), FileType::Socket, 0, 0);
    set_time(&at, before);
    assert!(at.join("socket").metadata().unwrap().file_type().is_socket());
    for transfer in [Transfer::Copy, Transfer::Move] {
        let options = MigrateOptions { transfer, ..MigrateOptions::default() };
        let report = take(&f, &[], options).unwrap();
        assert!(report.is_whole(), "{transfer:?}: {report:?}");
    }
}

#[test]
fn a_changed_layer_comes_over_when_asked_to() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[rich()], None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    set_mode(f.diff(&chain[0]).join("dir/same"), 0o4755);
    let report = take(&f, &[], MigrateOptions::default()).unwrap();
    let said = report.images[0].error.clone().unwrap();
    for part in ["taking over the layer sha256:", "dir/same", "4755", "0644", "--no-verify"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let report = take(&f, &[], MigrateOptions { verify: false, ..MigrateOptions::default() });
    let report = report.unwrap();
    assert!(report.is_whole(), "{report:?}");
    let file = content(&f, &report.images[0].layers[0].id).join("dir/same");
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o4755);
}

#[test]
fn a_member_that_a_later_one_replaces_needs_not_be_there() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: EntryType, content: &str| {
        let mut header = tar::Header::new_ustar();
        // The library would clean the name.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_bytes()).unwrap();
    };
    add("dir/", EntryType::Directory, "");
    add("dir/below", EntryType::Regular, "");
    add(".wh.back", EntryType::Regular, "");
    add("back", EntryType::Regular, "is there");
    // To tar-split another name than the directory's.
    add("/dir", EntryType::Regular, "");
    f.image(&["a:1"], &[tar.into_inner().unwrap()], None);
    let report = take(&f, &[], MigrateOptions::default()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let at = content(&f, &report.images[0].layers[0].id);
    assert!(at.join("dir").is_file() && at.join("back").is_file());
}

#[test]
fn a_machine_without_threads_is_not_the_layers_fault() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base(), rich()], None);
    let report = refused::with(&[(Call::Clone, Errno::AGAIN)], || {
        take(&f, &["a:1"], MigrateOptions::default()).unwrap()
    });
    let said = report.images[0].error.clone().unwrap();
    assert!(said.contains("ulimit -u") && !said.contains("pull the image anew"), "{said}");
    let report = take(&f, &["a:1"], MigrateOptions::default()).unwrap();
    assert_eq!((report.images[0].id.as_str(), &report.images[0].error), (id.hex(), &None));
}
