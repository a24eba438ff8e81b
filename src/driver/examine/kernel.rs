//! What the kernel says of overlay when parameters are set on one that is never created (fsconfig(2)); nothing is written.

use std::io;
use std::os::fd::OwnedFd;

use super::super::overlay::Overlay;
use super::{Answer, Area, Finding};
use crate::sys::mount::{NewOverlay, kernel_before};

/// A parameter of overlay's: finding, key, value, what it is for, since when it is there, what is missed without.
struct Parameter {
    name: &'static str,
    key: &'static str,
    value: Option<&'static str>,
    serves: &'static str,
    since: (u32, u32),
}

const PARAMETERS: [Parameter; 6] = [
    Parameter {
        name: "layers-one-by-one",
        key: "lowerdir+",
        value: Some("/"),
        serves: "chains whose paths are longer than a page together are mounted without a detour",
        since: (6, 7),
    },
    Parameter {
        name: "metacopy-option",
        key: "metacopy",
        value: Some("on"),
        serves: "changing an owner or a mode need not copy the file's data",
        since: (4, 19),
    },
    Parameter {
        name: "redirect-dir-option",
        key: "redirect_dir",
        value: Some("on"),
        serves: "renaming a directory of a lower layer need not copy it",
        since: (4, 10),
    },
    Parameter {
        name: "volatile",
        key: "volatile",
        value: None,
        serves: "containers that need not survive a crash are written without waiting for the disk",
        since: (5, 10),
    },
    Parameter {
        name: "userxattr",
        key: "userxattr",
        value: None,
        serves: "overlays can be mounted in user namespaces",
        since: (5, 11),
    },
    Parameter {
        name: "data-only-layers",
        key: "datadir+",
        value: Some("/"),
        serves: "composefs layers share their files' data",
        since: (6, 8),
    },
];

/// The findings on the kernel.
pub(super) fn findings(overlay: Option<&Overlay>) -> Vec<Finding> {
    let mut findings = vec![version()];
    let began = NewOverlay::begin();
    findings.push(overlay_there(began.as_ref().err(), overlay.is_some()));
    findings.extend(PARAMETERS.iter().map(|p| parameter(p, began.is_ok())));
    findings.push(descriptors(began.is_ok()));
    findings.extend(["metacopy", "redirect_dir"].map(default_of));
    findings
}

fn release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// Whether the kernel is new enough for all that can be used.
fn version() -> Finding {
    let recent = Answer::from(!kernel_before(6, 13));
    Finding::new(Area::Kernel, "kernel-recent", recent, format!("Linux {}", release()))
        .unless_yes("6.13 and later serve everything; 6.7 has long chains, 5.19 id-mapped layers, 5.10 volatile")
}

fn overlay_there(refusal: Option<&io::Error>, wanted: bool) -> Finding {
    let listed = std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.split_whitespace().any(|word| word == "overlay"));
    let (answer, why, change) = match refusal.map(io::Error::raw_os_error) {
        None => (Answer::Yes, "the kernel begins one".to_owned(), None),
        Some(Some(libc::ENODEV)) => (
            Answer::No,
            "the kernel has no overlay file system".to_owned(),
            Some("load the module: modprobe overlay"),
        ),
        Some(Some(libc::EPERM)) if listed => (
            Answer::Yes,
            "/proc/filesystems has it; this process may not mount".to_owned(),
            Some("run as root, or with CAP_SYS_ADMIN, to mount"),
        ),
        Some(Some(libc::ENOSYS)) if listed => (
            Answer::Yes,
            "/proc/filesystems has it; the mount calls of Linux 5.2 are missing or hidden"
                .to_owned(),
            Some("allow fsopen(2), fsconfig(2) and fsmount(2) in the seccomp profile"),
        ),
        _ => (
            Answer::Unknown,
            refusal.map(ToString::to_string).unwrap_or_default(),
            Some("run as root, or with CAP_SYS_ADMIN, to ask the kernel"),
        ),
    };
    let finding = Finding::new(Area::Kernel, "overlay", answer, why);
    let finding = if wanted { finding.needed() } else { finding };
    match change {
        Some(change) => finding.change(change),
        None => finding,
    }
}

fn parameter(asked: &Parameter, may_ask: bool) -> Finding {
    let (major, minor) = asked.since;
    let finding = |answer, why: String| {
        Finding::new(Area::Kernel, asked.name, answer, format!("{why}: {}", asked.serves))
            .unless_yes(&format!("Linux {major}.{minor} and later have it"))
    };
    if !may_ask {
        return match kernel_before(major, minor) {
            true => finding(Answer::No, format!("Linux {} is too old", release())),
            false => finding(Answer::Unknown, "this process may not ask the kernel".to_owned()),
        };
    }
    let told = NewOverlay::begin().and_then(|overlay| match asked.value {
        Some(value) => overlay.string(asked.key, value.as_bytes()),
        None => overlay.flag(asked.key),
    });
    match told {
        Ok(()) => finding(Answer::Yes, format!("the kernel takes {:?}", asked.key)),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            finding(Answer::No, format!("the kernel refuses {:?}", asked.key))
        }
        Err(e) => finding(Answer::Unknown, e.to_string()),
    }
}

/// Layers given as open directories.
fn descriptors(may_ask: bool) -> Finding {
    let finding = |answer, why: &str| {
        let why = format!("{why}: layers whose paths no option can carry are mounted");
        Finding::new(Area::Kernel, "layers-by-descriptor", answer, why)
            .unless_yes("Linux 6.13 and later have it")
    };
    if !may_ask {
        return match kernel_before(6, 13) {
            true => finding(Answer::No, "the kernel is too old"),
            false => finding(Answer::Unknown, "this process may not ask the kernel"),
        };
    }
    let told = NewOverlay::begin().and_then(|overlay| {
        let root = OwnedFd::from(std::fs::File::open("/")?);
        overlay.descriptor("lowerdir+", &root)
    });
    match told {
        Ok(()) => finding(Answer::Yes, "the kernel takes an open directory"),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            finding(Answer::No, "the kernel refuses an open directory")
        }
        Err(e) => finding(Answer::Unknown, &e.to_string()),
    }
}

/// Whether the kernel has the feature on for mounts that do not name it (`/sys/module/overlay/parameters`).
fn default_of(word: &'static str) -> Finding {
    let name = if word == "metacopy" { "metacopy-default" } else { "redirect-dir-default" };
    let path = format!("/sys/module/overlay/parameters/{word}");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim() == "Y" => {
            Finding::new(Area::Kernel, name, Answer::Yes, format!("{path} is Y")).change(format!(
                "changes are then found by comparing trees, which is slower: {word}=off in mountopt, or `options overlay {word}=off` \
                 in /etc/modprobe.d"
            ))
        }
        Ok(text) => Finding::new(Area::Kernel, name, Answer::No, format!("{path} is {}", text.trim())),
        Err(e) => Finding::new(Area::Kernel, name, Answer::Unknown, format!("{path}: {e}")),
    }
}
