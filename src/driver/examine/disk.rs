//! The file system of the graph root: what it can do, and how much room there is. It is asked, not tried, except for shared data on file
//! systems that do not tell.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType};

use super::scratch::Scratch;
use super::{Answer, Area, Finding, nearest};
use crate::driver::file_systems::NETWORK;
use crate::sys::fs_features::{has_verity, xfs_has_reflink};
use crate::sys::mount::{MountEntry, fs_magic, mount_table};
use crate::{Error, Result};

/// Those on which overlay has no upper layer.
const STACKED: [(u64, &str); 3] =
    [(0x794c_7630, "overlay"), (0x6175_6673, "aufs"), (0xf15f, "ecryptfs")];

const EXT4: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
const BCACHEFS: u64 = 0xca45_1a4e;
const TMPFS: u64 = 0x0102_1994;

/// Below these, in percent and in bytes, room is called scarce.
const SCARCE_PERCENT: u64 = 5;
const SCARCE_BYTES: u64 = 1 << 30;

/// Whether the graph root can be read, and written to: without write access the store can still be listed.
pub(super) fn reachable(graph_root: &Path) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Store, "graph-root", answer, why);
    let there = nearest(graph_root);
    if !there.is_dir() {
        return finding(Answer::No, format!("{there:?} is not a directory"))
            .change("give graphroot in storage.conf a directory")
            .needed();
    }
    let written =
        rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    match (written, there == graph_root) {
        (Ok(()), true) => finding(Answer::Yes, format!("{graph_root:?} can be written to")),
        (Ok(()), false) => finding(Answer::Yes, format!("{graph_root:?} will be made below {there:?}")),
        (Err(rustix::io::Errno::ROFS), true) => {
            finding(Answer::Unknown, format!("{graph_root:?} is on a read-only medium"))
                .change("a store there can be listed and saved from, not changed: name it in additionalimagestores of another one")
        }
        (Err(e), _) => finding(Answer::No, format!("{there:?} cannot be written to: {e}"))
            .change("run as the store's owner, or give graphroot another directory")
            .needed(),
    }
}

/// The findings on the file system.
pub(super) fn findings(graph_root: &Path, scratch: &[PathBuf]) -> Vec<Finding> {
    let there = nearest(graph_root);
    let magic = fs_magic(there).unwrap_or_default();
    let mount = mount_of(there);
    let mut findings = vec![
        suitable(magic, mount.as_ref()),
        types(there),
        reflink(graph_root, magic, scratch),
        verity(there),
        project_quota(magic, mount.as_ref()),
    ];
    findings.extend(room(there));
    findings
}

/// The line of the mount table that `path` lies on: the last one mounted over the longest part of it.
fn mount_of(path: &Path) -> Option<MountEntry> {
    let real = path.canonicalize().ok()?;
    let table = mount_table().ok()?;
    table
        .into_iter()
        .filter(|m| real.starts_with(&m.target))
        .max_by_key(|m| m.target.components().count())
}

fn suitable(magic: u64, mount: Option<&MountEntry>) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Disk, "file-system", answer, why);
    let name = mount.map_or("unknown", |m| m.fs_type.as_str());
    let named =
        |list: &[(u64, &'static str)]| list.iter().find(|(m, _)| *m == magic).map(|(_, n)| *n);
    if let Some(name) = named(&NETWORK) {
        return finding(Answer::No, format!("{name} is a network file system: overlay has no upper layers there, and locks may not hold"))
            .change("put the graph root on a local disk; share images by additionalimagestores");
    }
    if let Some(name) = named(&STACKED) {
        return finding(Answer::No, format!("{name} cannot hold overlay's upper layers"))
            .change("put the graph root on ext4, xfs or btrfs: in a container, on a volume");
    }
    if magic == TMPFS {
        return finding(Answer::Yes, "tmpfs: all is lost with the next boot".to_owned());
    }
    finding(Answer::Yes, name.to_owned())
}

/// Whether directories tell their entries' types, without which overlay does not work (xfs with ftype=0).
fn types(there: &Path) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Disk, "entry-types", answer, why);
    match tells_types(there) {
        Ok(true) => {
            finding(Answer::Yes, "directories tell their entries' types (d_type)".to_owned())
        }
        Ok(false) => {
            finding(Answer::No, "directories do not tell their entries' types (d_type)".to_owned())
                .change("make the file system anew: mkfs.xfs -n ftype=1")
                .needed()
        }
        Err(e) => finding(Answer::Unknown, e.to_string()),
    }
}

fn tells_types(there: &Path) -> Result<bool> {
    let failed = |e: rustix::io::Errno| Error::io("listing", there, e);
    let dir = File::open(there).map_err(|e| Error::io("opening", there, e))?;
    for entry in Dir::read_from(&dir).map_err(failed)?.take(64) {
        if entry.map_err(failed)?.file_type() == FileType::Unknown {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether files can share data (FICLONE), with which vfs layers and copies cost next to nothing.
fn reflink(graph_root: &Path, magic: u64, scratch: &[PathBuf]) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Disk, "shared-data", answer, why);
    let what = "copies of files that share their data (FICLONE)";
    let known = match magic {
        BTRFS | BCACHEFS => Some(Answer::Yes),
        EXT4 | TMPFS => Some(Answer::No),
        XFS => File::open(nearest(graph_root)).and_then(xfs_has_reflink).ok().map(Answer::from),
        _ => None,
    };
    let answer = match known {
        Some(answer) => Ok(answer),
        None if scratch.is_empty() => Ok(Answer::Unknown),
        None => Scratch::beside(graph_root, scratch)
            .and_then(|dir| clones(dir.path()))
            .map(Answer::from),
    };
    match answer {
        Ok(Answer::Yes) => finding(Answer::Yes, format!("the file system has {what}")),
        Ok(Answer::No) => finding(Answer::No, format!("the file system has no {what}"))
            .change("only the driver vfs and deduplication gain by it: btrfs, or xfs made with -m reflink=1"),
        Ok(Answer::Unknown) => finding(Answer::Unknown, format!("the file system does not tell of {what}"))
            .change("examine with probing (orlop doctor --probe)"),
        Err(e) => finding(Answer::Unknown, e.to_string()),
    }
}

fn clones(dir: &Path) -> Result<bool> {
    let (from, to) = (dir.join("from"), dir.join("to"));
    std::fs::write(&from, [0xff; 4096]).map_err(|e| Error::io("writing", &from, e))?;
    let opened = |path: &Path, e| Error::io("opening", path, e);
    let source = File::open(&from).map_err(|e| opened(&from, e))?;
    let copy = File::create(&to).map_err(|e| opened(&to, e))?;
    Ok(rustix::fs::ioctl_ficlone(copy.as_fd(), source.as_fd()).is_ok())
}

fn verity(there: &Path) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Disk, "fs-verity", answer, why);
    match File::open(there).and_then(has_verity) {
        Ok(true) => finding(Answer::Yes, "files can be sealed with their digest".to_owned()),
        Ok(false) => finding(Answer::No, "files cannot be sealed with their digest".to_owned())
            .change("only composefs layers gain by it: on ext4 tune2fs -O verity DEVICE, on btrfs Linux 5.15"),
        Err(e) => finding(Answer::Unknown, e.to_string()),
    }
}

/// Whether the limits `size` and `inodes` can be set for each layer.
fn project_quota(magic: u64, mount: Option<&MountEntry>) -> Finding {
    let finding = |answer, why: &str| Finding::new(Area::Disk, "project-quota", answer, why);
    let Some(mount) = mount else {
        return finding(Answer::Unknown, "the mount table does not show the file system");
    };
    let options = String::from_utf8_lossy(&mount.super_options).into_owned();
    let on = options.split(',').find(|word| matches!(*word, "prjquota" | "pquota"));
    match (on, magic) {
        (Some(word), _) => finding(Answer::Yes, &format!("{} is mounted with {word}", mount.target.display())),
        (None, XFS) => finding(Answer::No, "the file system is mounted without it").change(
            "only the options size and inodes need it: mount with pquota (of the root file system: rootflags=pquota)",
        ),
        (None, EXT4) => finding(Answer::No, "the file system is mounted without it").change(
            "only the options size and inodes need it: tune2fs -O project,quota DEVICE, then mount with prjquota",
        ),
        (None, _) => finding(Answer::No, "this file system has none that is served")
            .change("only the options size and inodes need it: xfs or ext4"),
    }
}

/// Free space and free inodes for this user.
fn room(there: &Path) -> Vec<Finding> {
    let stat = match rustix::fs::statvfs(there) {
        Ok(stat) => stat,
        Err(e) => {
            return vec![Finding::new(Area::Disk, "free-space", Answer::Unknown, e.to_string())];
        }
    };
    let percent = |part: u64, of: u64| part.saturating_mul(100).checked_div(of).unwrap_or(100);
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let space = percent(stat.f_bavail, stat.f_blocks);
    let plenty = free >= SCARCE_BYTES && space >= SCARCE_PERCENT;
    let why = format!("{} MiB are free, {space} %", free >> 20);
    let mut findings = vec![
        Finding::new(Area::Disk, "free-space", plenty.into(), why)
            .unless_yes("delete images that no container uses, or make the file system larger"),
    ];
    // btrfs and others make inodes as they are needed, and say that there are none.
    let (plenty, why) = match stat.f_files {
        0 => (true, "they are made as they are needed".to_owned()),
        all => {
            let left = percent(stat.f_favail, all);
            (left >= SCARCE_PERCENT, format!("{} are free, {left} %", stat.f_favail))
        }
    };
    findings.push(
        Finding::new(Area::Disk, "free-inodes", plenty.into(), why).unless_yes(
            "delete images that no container uses; ext4 is given more of them by mkfs -i",
        ),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_stacked_file_systems_are_told() {
        for (magic, name) in [(0x6969, "nfs"), (0xff53_4d42, "cifs"), (0x794c_7630, "overlay")] {
            let finding = suitable(magic, None);
            assert_eq!(finding.answer, Answer::No, "{name}");
            assert!(finding.why.contains(name) && finding.change.is_some(), "{finding:?}");
        }
        assert_eq!(suitable(XFS, None).answer, Answer::Yes);
    }

    #[test]
    fn quota_is_read_from_the_mount() {
        let mount = |options: &[u8]| MountEntry {
            root: "/".into(),
            target: "/g".into(),
            options: "rw".to_owned(),
            fs_type: "xfs".to_owned(),
            super_options: options.to_vec(),
        };
        let answer = |options| project_quota(XFS, Some(&mount(options))).answer;
        assert_eq!(answer(b"rw,attr2,prjquota,inode64"), Answer::Yes);
        assert_eq!(answer(b"rw,noquota"), Answer::No);
        assert!(project_quota(EXT4, Some(&mount(b"rw"))).change.unwrap().contains("tune2fs"));
    }
}
