//! What only a mount can tell: remembered in the run root from earlier attempts, or tried out in a scratch directory.

use std::path::{Path, PathBuf};

use super::super::overlay::{Feature, Known, Overlay};
use super::scratch::Scratch;
use super::{Answer, Area, Finding};
use crate::config::StoreOptions;
use crate::sys::mount::{fs_magic, kernel_before};
use crate::{Dialect, Error, Result};

const PROBE: &str = "examine with probing (orlop doctor --probe)";

/// The findings that rest on attempts.
pub(super) fn findings(
    options: &StoreOptions,
    overlay: Option<&Overlay>,
    scratch: &[PathBuf],
) -> Vec<Finding> {
    let Some(overlay) = overlay else { return Vec::new() };
    let trial = if scratch.is_empty() { None } else { Some(Trial::begin(options, scratch)) };
    let ask = |feature: Feature| match &trial {
        Some(Ok(trial)) => {
            trial.overlay.try_out(feature).unwrap_or_else(|e| Known::No(e.to_string()))
        }
        Some(Err(e)) => Known::Not(e.to_string()),
        None => overlay.known(feature),
    };
    vec![
        mounts(ask(Feature::Mounts)),
        metacopy(ask(Feature::Metacopy)),
        native_diff(ask(Feature::NativeDiff)),
        id_mapped(&options.graph_root, overlay, ask(Feature::IdMapped)),
    ]
}

/// A driver whose roots are in a directory that is gone when this is.
struct Trial {
    overlay: Overlay,
    // Dropped after the driver that works in it.
    _scratch: Scratch,
}

impl Trial {
    fn begin(options: &StoreOptions, scratch: &[PathBuf]) -> Result<Self> {
        let scratch = Scratch::beside(&options.graph_root, scratch)?;
        let (graph, run) = (scratch.path().join("graph"), scratch.path().join("run"));
        for path in [&graph, &run] {
            std::fs::create_dir_all(path)
                .map_err(|e| Error::io("creating a directory to try features out", path, e))?;
        }
        // Without the self-mount of the home, which would stay.
        let mut words = options.driver_options.clone();
        words.push("overlay.skip_mount_home=true".to_owned());
        let overlay =
            Overlay::open("overlay", &graph, &run, None, &words, Some(Dialect::Containers))?;
        overlay.make_home()?;
        Ok(Self { overlay, _scratch: scratch })
    }
}

fn mounts(known: Known) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Disk, "overlay-mounts", answer, why);
    match known {
        Known::Yes => finding(Answer::Yes, "an overlay of two layers was mounted here".to_owned()),
        Known::No(why) => {
            finding(Answer::No, why).change("put the graph root on ext4, xfs or btrfs").needed()
        }
        Known::Not(why) => finding(Answer::Unknown, why).change(PROBE),
    }
}

fn metacopy(known: Known) -> Finding {
    let finding = |answer, why: &str| Finding::new(Area::Disk, "metacopy", answer, why);
    match known {
        Known::Yes => {
            finding(Answer::Yes, "with the configured mountopt, a new mode copies no data")
        }
        Known::No(why) => finding(Answer::No, if why.is_empty() { "it is not on" } else { &why }),
        Known::Not(why) => finding(Answer::Unknown, &why).change(PROBE),
    }
}

fn native_diff(known: Known) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Disk, "native-diff", answer, why);
    match known {
        Known::Yes => {
            finding(Answer::Yes, "a layer's own directory tells its changes".to_owned())
        }
        Known::No(why) => finding(Answer::No, why).change(
            "leave metacopy=on and redirect_dir=on out of mountopt, and off in /sys/module/overlay/parameters, if other programs than \
             orlop build images here: they compare two trees",
        ),
        Known::Not(why) => finding(Answer::Unknown, why).change(PROBE),
    }
}

/// File systems that can be mounted with mapped ids, and since when (mount_setattr(2), and the kernel's history of `FS_ALLOW_IDMAP`).
const ID_MAPPED: [(u64, &str, (u32, u32)); 7] = [
    (0xef53, "ext4", (5, 12)),
    (0x5846_5342, "xfs", (5, 12)),
    (0x9123_683e, "btrfs", (5, 15)),
    (0xf2f5_2010, "f2fs", (5, 18)),
    (0xe0f5_e1e2, "erofs", (5, 19)),
    (0x0102_1994, "tmpfs", (6, 3)),
    (0x7371_7368, "squashfs", (6, 2)),
];

/// Overlay takes id-mapped lower layers since Linux 5.19.
fn id_mapped(graph_root: &Path, overlay: &Overlay, known: Known) -> Finding {
    let finding = |answer, why: String| {
        Finding::new(Area::Disk, "id-mapped-layers", answer, why)
            .unless_yes("without it, each user namespace gets a copy of the image's layers")
    };
    if let Some((maps, why)) = overlay.settled_mapping() {
        return finding(maps.into(), why);
    }
    match known {
        Known::Yes => return finding(Answer::Yes, "they were mounted here".to_owned()),
        Known::No(why) if why.is_empty() => {
            return finding(Answer::No, "mounting them here failed before".to_owned());
        }
        Known::No(why) => return finding(Answer::No, why),
        Known::Not(_) if overlay.is_of_a_user() => {
            let why = "the owners in a file system that root has mounted are not a user's to map";
            return finding(Answer::No, why.to_owned());
        }
        Known::Not(_) => {}
    }
    let magic = fs_magic(super::nearest(graph_root)).unwrap_or_default();
    let Some((_, name, (major, minor))) = ID_MAPPED.iter().find(|(m, ..)| *m == magic) else {
        return finding(Answer::Unknown, "it is not known of this file system".to_owned());
    };
    let since = std::cmp::max((*major, *minor), (5, 19));
    let there = !kernel_before(since.0, since.1);
    finding(there.into(), format!("on {name} since Linux {}.{}", since.0, since.1))
}
