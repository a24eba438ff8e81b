//! Where we differ from the Go library (v1.64.2) on purpose.

use rustix::fs::FileType;
use tar_split_rs::{Member, MemberKind};

use super::generate::HARMLESS;
use super::snapshot::{Node, Tree};
use super::{Accepted, Case, NO_ANSWER};
use crate::archive::names::{clean, split};
use crate::archive::pack::Header;
use crate::archive::tests::{Tar, header};

/// One difference, why it is there, and where that is written.
pub(super) struct Deviation {
    pub(super) name: &'static str,
    pub(super) spec: &'static str,
    pub(super) reason: &'static str,
    /// Says whether the case shows this deviation, and takes it out of the case: what it explains is then the same on both sides.
    pub(super) explain: fn(&mut Case) -> bool,
    /// An archive that shows it.
    pub(super) example: fn() -> Vec<u8>,
    /// Whether that is one whose whiteouts are carried out.
    pub(super) execute: bool,
}

/// The name of the one that could explain too much; the test sees to it.
pub(super) const GLOBAL_NAMES: &str = "names of global headers";

/// The list. One that is not met is a failure too.
pub(super) const DEVIATIONS: &[Deviation] = &[
    Deviation {
        name: "overlay attributes",
        spec: "ARC-1",
        reason: "attributes of the overlay file system are dropped; Go sets them, or fails where they cannot be",
        explain: |case| {
            let forged = |key: &[u8]| {
                key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.")
            };
            let keys: Vec<_> = attributes(case).filter(|key| forged(key)).collect();
            if keys.is_empty() {
                return false;
            }
            let dropped = nodes(case, |_, ours, theirs| {
                let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
                for key in keys.iter().filter_map(|key| std::str::from_utf8(key).ok()) {
                    theirs.xattrs.remove(key);
                    theirs.xattrs.extend(
                        ours.xattrs.get_key_value(key).map(|(k, v)| (k.clone(), v.clone())),
                    );
                }
            });
            dropped || refusal(case, |why| why.contains("lsetxattr "))
        },
        example: || {
            let xattrs = vec![(b"user.overlay.opaque".to_vec(), b"y".to_vec())];
            Tar::default().add(Header { xattrs, ..header("d/", b'5') }, b"").end()
        },
        execute: false,
    },
    Deviation {
        name: "member types",
        spec: "UNP-11, DEF-9",
        reason: "contiguous files and GNU's old sparse ones are unpacked; Go refuses them",
        explain: |case| {
            refusal(case, |why| {
                why.contains("unhandled tar header type 55")
                    || why.contains("unhandled tar header type 83")
            })
        },
        example: || Tar::default().add(header("f", b'7'), b"abc").end(),
        execute: false,
    },
    Deviation {
        name: GLOBAL_NAMES,
        spec: "UNP-11",
        reason: "a global header has no place in the tree; Go makes its parents, removes what has its name, or makes it a whiteout",
        explain: |case| {
            let harmful =
                |m: &Member| m.kind == MemberKind::Global && !m.name.starts_with(HARMLESS);
            if !case.members.iter().any(harmful) {
                return false;
            }
            take_their_tree(case) || refusal(case, |_| true)
        },
        example: || Tar::default().add(header("d/.wh.a", b'g'), b"").end(),
        execute: false,
    },
    Deviation {
        name: "folder of AUFS's links",
        spec: "overlay-driver.md 11.3",
        reason: "no folder of AUFS's own files is left; Go makes their parents",
        explain: |case| {
            let aufs: Vec<_> = names(case).filter(|name| name.starts_with(b".wh..wh.")).collect();
            case.execute
                && nodes(case, |path, ours, theirs| {
                    let above = |name: &[u8]| {
                        name.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"))
                    };
                    if is_directory(theirs) && aufs.iter().any(|name| above(name)) {
                        ours.clone_from(theirs);
                    }
                })
        },
        example: || Tar::default().file(".wh..wh.plnk/1.2", "linked").end(),
        execute: true,
    },
    Deviation {
        name: "absolute names of AUFS's files",
        spec: "UNP-5",
        reason: "a name is taken from the root, whether it begins with a slash or not; Go knows AUFS's own names without one only",
        explain: |case| {
            let absolute = |m: &Member| {
                (m.name.starts_with(b"/") || m.name.starts_with(b"../"))
                    && clean(&m.name).starts_with(b".wh..wh.")
            };
            if !case.execute || !case.members.iter().any(absolute) {
                return false;
            }
            let theirs = nodes(case, |path, ours, theirs| {
                if path.starts_with(b".wh..wh.") {
                    ours.clone_from(theirs);
                }
            });
            theirs || refusal(case, |_| true)
        },
        example: || Tar::default().link("/.wh..wh.plnk/ln", b'2', "x").end(),
        execute: true,
    },
    Deviation {
        name: "whiteouts where nothing is",
        spec: "overlay-driver.md 11.3",
        reason: "a whiteout in a directory that is not there has nothing to do; Go makes the directory, and fails, or waits for ever, where a file is in its place",
        explain: |case| {
            if !case.execute || !names(case).any(|name| split(&name).1.starts_with(b".wh.")) {
                return false;
            }
            // A directory that Go made so, and we for a later entry, may inherit other bits.
            let implicit = |node: &Option<Node>| is_directory(node) && mtime(node).is_none();
            let made = nodes(case, |_, ours, theirs| {
                if implicit(theirs) && (ours.is_none() || implicit(ours)) {
                    ours.clone_from(theirs);
                }
            });
            let reasons =
                ["not a directory", "no such device or address", "file name too long", NO_ANSWER];
            made || refusal(case, |why| reasons.iter().any(|reason| why.contains(reason)))
        },
        example: || Tar::default().file("gone/d/.wh.a", "").end(),
        execute: true,
    },
    Deviation {
        name: "directories that later entries remove",
        spec: "UNP-18",
        reason: "what has no directory any more gets no times; Go fails, though it passes over what became another kind of file",
        explain: |case| {
            let Ok(ours) = &case.ours else { return false };
            let gone: Vec<_> = directories(case).filter(|name| is_gone(&ours.tree, name)).collect();
            let tree = ours.tree.clone();
            refusal(case, |why| gone.iter().any(|name| is_about(why, name, &tree)))
        },
        example: || Tar::default().dir("d/").file(".wh.d", "").end(),
        execute: true,
    },
    Deviation {
        name: "opaque markers in what is no directory",
        spec: "overlay-driver.md 11.3",
        reason: "only a directory can be opaque; Go marks a file, where that may have the attribute",
        explain: |case| {
            if case.execute || !names(case).any(|name| split(&name).1 == b".wh..wh..opq") {
                return false;
            }
            our_refusal(case, "Not a directory")
        },
        example: || Tar::default().file("f", "").file("f/.wh..wh..opq", "").end(),
        execute: false,
    },
    Deviation {
        name: "whiteouts where one is already",
        spec: "overlay-driver.md 11.3",
        reason: "a diff that a killed process applied in part can be applied again; Go refuses the second whiteout of a name",
        explain: |case| {
            !case.execute
                && names(case).any(|name| split(&name).1.starts_with(b".wh."))
                && refusal(case, |why| why.contains("mknod ") && why.contains("file exists"))
        },
        example: || Tar::default().file(".wh.a", "").file("../.wh.a", "").end(),
        execute: false,
    },
    Deviation {
        name: "owners that do not exist",
        spec: "UNP-10",
        reason: "refused, whatever they would own; Go gives the kernel the low 32 bits, and does not look where whiteouts are carried out",
        explain: |case| our_refusal(case, "no such owner"),
        example: || Tar::default().add(Header { uid: u32::MAX, ..header("f", b'0') }, b"").end(),
        execute: false,
    },
    Deviation {
        name: "implicit directories beside an opaque marker",
        spec: "overlay-driver.md 11.3",
        reason: "an opaque marker spares what the archive has just made; Go removes it where the directory above it has no entry of its own",
        explain: |case| {
            let opaque: Vec<_> = names(case)
                .filter(|name| split(name).1 == b".wh..wh..opq")
                .map(|name| split(&name).0.to_vec())
                .collect();
            if !case.execute || opaque.is_empty() {
                return false;
            }
            // Through a link a marker may stand anywhere.
            let links = case.members.iter().any(|m| m.kind == MemberKind::Symlink);
            let spared = nodes(case, |path, ours, theirs| {
                if theirs.is_none() && (links || opaque.iter().any(|dir| is_below(path, dir))) {
                    *ours = None;
                }
            });
            // Go then misses the directory that it has removed.
            let made: Vec<_> = directories(case).collect();
            let implicit = |name: &[u8]| above(name).any(|dir| !made.iter().any(|m| m == dir));
            let missed: Vec<_> = made
                .iter()
                .filter(|name| implicit(name) && opaque.iter().any(|dir| is_below(name, dir)))
                .collect();
            let missed = |why: &str| {
                looked_for(why).is_some_and(|p| missed.iter().any(|name| *name == p.as_bytes()))
            };
            // A file that is spared may be where a later entry wants a directory.
            spared || our_refusal(case, "Not a directory") || refusal(case, missed)
        },
        example: || Tar::default().file("d/f", "made").file(".wh..wh..opq", "").end(),
        execute: true,
    },
    Deviation {
        name: "temporary folder in the layer",
        spec: "UNP-8",
        reason: "Go's folder for AUFS's links stands in the layer: it changes the root's time, and an opaque marker removes it",
        explain: |case| {
            let touched = case.execute
                && nodes(case, |path, ours, theirs| {
                    let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
                    if path.is_empty() && theirs.mtime.is_none() {
                        ours.mtime = None;
                    }
                });
            touched || refusal(case, |why| why.contains("/temp-storage-extract"))
        },
        example: || Tar::default().dir("./").end(),
        execute: true,
    },
];

fn names(case: &Case) -> impl Iterator<Item = Vec<u8>> + '_ {
    case.members.iter().map(|member| clean(&member.name))
}

/// The names of directories with an entry of their own.
fn directories(case: &Case) -> impl Iterator<Item = Vec<u8>> + '_ {
    case.members.iter().filter(|m| m.kind == MemberKind::Directory).map(|m| clean(&m.name))
}

/// The directories that a cleaned name lies in, but for the root.
fn above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    ends.map(|(end, _)| &name[..end])
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}

/// Whether there is no directory of that name in the tree in the end; by way of a link there may be one.
fn is_gone(tree: &Tree, name: &[u8]) -> bool {
    above(name).chain([name]).any(|path| !is_directory(&tree.get(path).cloned()))
}

/// The path at which Go found nothing in the end, where it wanted to set times.
fn looked_for(why: &str) -> Option<&str> {
    let (_, path) = why.split_once("\"lstat /")?;
    let reasons = [": no such file or directory\"", ": not a directory\""];
    reasons.iter().find_map(|reason| path.strip_suffix(reason))
}

/// Whether Go failed to look at the directory of that name, which is gone, to set its times.
fn is_about(why: &str, name: &[u8], tree: &Tree) -> bool {
    let links =
        above(name).any(|dir| tree.get(dir).is_some_and(|node| node.kind == FileType::Symlink));
    let Some(path) = looked_for(why) else {
        return links && why.contains("too many levels of symbolic links");
    };
    if path.contains('\\') {
        // In Go's quotes, which are not taken off.
        return true;
    }
    // Go has followed the links that lead to it.
    let named = path.as_bytes() == name || links && split(path.as_bytes()).1 == split(name).1;
    named && !is_directory(&tree.get(path.as_bytes()).cloned())
}

fn attributes(case: &Case) -> impl Iterator<Item = Vec<u8>> + '_ {
    case.members.iter().flat_map(|member| &member.xattrs).map(|(key, _)| key.clone())
}

fn is_directory(node: &Option<Node>) -> bool {
    node.as_ref().is_some_and(|node| node.kind == FileType::Directory)
}

fn mtime(node: &Option<Node>) -> Option<(i64, i64)> {
    node.as_ref().and_then(|node| node.mtime)
}

/// Where only Go refuses, and for a reason like this, both do.
fn refusal(case: &mut Case, like_this: impl Fn(&str) -> bool) -> bool {
    match (&case.ours, &case.theirs) {
        (Ok(_), Err(why)) if like_this(why) => {
            case.ours = Err(why.clone());
            true
        }
        _ => false,
    }
}

/// The same where only we do.
fn our_refusal(case: &mut Case, reason: &str) -> bool {
    match (&case.ours, &case.theirs) {
        (Err(why), Ok(_)) if why.contains(reason) => {
            case.theirs = Err(why.clone());
            true
        }
        _ => false,
    }
}

/// Lets `change` make alike what differs: the path, our node and theirs. Says whether it did anything.
fn nodes(
    case: &mut Case,
    mut change: impl FnMut(&[u8], &mut Option<Node>, &mut Option<Node>),
) -> bool {
    let (Ok(Accepted { tree: ours, .. }), Ok(Accepted { tree: theirs, .. })) =
        (&mut case.ours, &mut case.theirs)
    else {
        return false;
    };
    let mut changed = false;
    let paths: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).cloned().collect();
    for path in paths {
        let before = (ours.remove(&path), theirs.remove(&path));
        let mut after = before.clone();
        if before.0 != before.1 {
            change(&path, &mut after.0, &mut after.1);
        }
        changed |= before != after;
        ours.extend(after.0.map(|node| (path.clone(), node)));
        theirs.extend(after.1.map(|node| (path, node)));
    }
    changed
}

fn take_their_tree(case: &mut Case) -> bool {
    nodes(case, |_, ours, theirs| ours.clone_from(theirs))
}
