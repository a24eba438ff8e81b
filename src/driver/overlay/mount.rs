//! One overlay mount, planned as data and then made in tiers (GET-19 to GET-22, MNT-1 to MNT-5).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::escape::{escape, needs_escape};
use super::label;
use super::layout::{MAX_LOWERS, open_dir};
use super::words::{self, Words};
use crate::sys::mount::{
    FSCONFIG_STRING_MAX, NewOverlay, attach, in_directory, kernel_before, mount_overlay, page_size,
};
use crate::{Error, ErrorKind, Result};

/// A lower directory under its two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lower {
    /// As N writes it in the option string.
    pub(super) absolute: PathBuf,
    /// As short as it can be, seen from the home.
    pub(super) short: PathBuf,
}

/// The writable side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upper {
    pub(super) diff: Lower,
    pub(super) work: Lower,
}

/// Everything that the kernel is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The driver's home, from which short names are seen.
    pub(super) home: PathBuf,
    /// Where to mount.
    pub(super) target: PathBuf,
    /// Uppermost first; of a read-only mount, the layer's own content is the first.
    pub(super) lowers: Vec<Lower>,
    /// Where the files lie that composefs layers among the lowers name, uppermost first; none of it is seen itself (GET-40).
    pub(super) data: Vec<Lower>,
    /// `None` for a read-only mount.
    pub(super) upper: Option<Upper>,
    /// All words, in order, flags included.
    pub(super) words: Vec<String>,
    /// SELinux label, or empty.
    pub(super) label: String,
}

impl Plan {
    /// Makes the mount.
    ///
    /// # Errors
    /// [`ErrorKind::MaxDepth`] for more than 500 lower directories, before the kernel is asked (MNT-5).
    pub(super) fn mount(&self) -> Result<()> {
        let words = self.check()?;
        let page = page_size();
        let length: usize = self.layers().map(|layer| layer.absolute.as_os_str().len()).sum();
        let plain = || !self.layers().any(|layer| needs_escape(&layer.absolute));
        if length < page && plain() && self.data(&self.words).len() < page {
            return self.mount_by_string(&words);
        }
        let by_parts = match kernel_before(6, 7) {
            // Known beforehand: each try would leave a line in the kernel's log.
            true => Err(Refusal::NoParts(Errno::NOSYS.into())),
            false => self.mount_by_parts(&words),
        };
        match by_parts {
            // Kernels before 6.7 do not know lowerdir+, those before 5.2 no fsopen at all.
            Err(Refusal::NoParts(_) | Refusal::LongLabel)
                if self.data(&words.data).len() < page =>
            {
                self.mount_by_string(&words)
            }
            Err(Refusal::NoParts(_) | Refusal::LongLabel) => self.mount_by_numbers(&words),
            Err(Refusal::Kernel(e, said)) => Err(self.refused(e, said)),
            Err(Refusal::Other(e)) => Err(e),
            Ok(()) => Ok(()),
        }
    }

    /// Makes the mount, without a place in the tree.
    ///
    /// # Errors
    /// As for [`Plan::mount`]; [`ErrorKind::NotSupported`] before Linux 6.7; [`ErrorKind::InvalidArgument`] for a label that no
    /// parameter carries.
    pub(super) fn mount_detached(&self) -> Result<OwnedFd> {
        let words = self.check()?;
        // The right to mount may be missing as well, and that is nothing that another kernel gives.
        let lacks = |e: &io::Error| {
            e.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) || kernel_before(6, 7)
        };
        self.create_by_parts(&words).map_err(|refusal| match refusal {
            Refusal::NoParts(e) if lacks(&e) => {
                Error::new(ErrorKind::NotSupported, "making a mount without a place in the tree")
                    .detail("this kernel takes no layers one by one (lowerdir+)")
                    .hint("Linux 6.7 does; mount the layer at its own place instead")
                    .caused_by(e)
            }
            Refusal::NoParts(e) => self.refused(e, None),
            Refusal::LongLabel => label::too_long(&self.label, &self.target, FSCONFIG_STRING_MAX),
            Refusal::Kernel(e, said) => self.refused(e, said),
            Refusal::Other(e) => e,
        })
    }

    /// What can be told without the kernel; the words, taken apart.
    pub(super) fn check(&self) -> Result<Words> {
        let count = self.lowers.len() + self.data.len();
        if count > MAX_LOWERS {
            return Err(Error::new(ErrorKind::MaxDepth, format!("mounting {:?}", self.target))
                .path(&self.target)
                .detail(format!("{count} lower directories, where the kernel takes {MAX_LOWERS}"))
                .hint("squash the image to fewer layers"));
        }
        if self.label.contains(['"', '\0']) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("mounting {:?}", self.target),
            )
            .detail(format!("the label {:?} holds a quote or NUL", self.label)));
        }
        Words::parse(&self.words)
    }

    /// Tier a: `mount(2)` with everything in one string.
    fn mount_by_string(&self, words: &Words) -> Result<()> {
        mount_overlay(&self.target, words.flags, &self.data(&words.data))
            .map_err(|e| self.refused(e, None))
    }

    /// Tier d: `mount(2)` with the layers as numbers of open descriptors, from a thread that stands in `/proc/self/fd` (GET-27);
    /// the writable side keeps its names, which the mount table shows, if there is room for them.
    fn mount_by_numbers(&self, words: &Words) -> Result<()> {
        let opened: HashMap<&Path, OwnedFd> = self
            .layers()
            .map(|l| {
                // A layer of an additional layer store is a link there, which was looked at before.
                let real = l.absolute.canonicalize();
                let real = real.map_err(|e| Error::io("examining", &l.absolute, e))?;
                Ok((l.absolute.as_path(), open_dir(&real)?))
            })
            .collect::<Result<_>>()?;
        let number = |layer: &Lower, out: &mut Vec<u8>| {
            if let Some(fd) = opened.get(layer.absolute.as_path()) {
                out.extend_from_slice(fd.as_raw_fd().to_string().as_bytes());
            }
        };
        let is_upper = |layer: &Lower| {
            let sides = self.upper.iter().flat_map(|u| [&u.diff, &u.work]);
            sides.into_iter().any(|side| std::ptr::eq(side, layer))
        };
        let named = |layer: &Lower, out: &mut Vec<u8>| match is_upper(layer) {
            true => escape(&layer.absolute, out),
            false => number(layer, out),
        };
        let page = page_size();
        let mut data = self.labelled(self.joined(named, &words.data));
        if data.len() >= page {
            data = self.labelled(self.joined(number, &words.data));
        }
        if data.len() >= page {
            let room = page.saturating_sub(1 + data.len() - self.label.len());
            if let Some(e) = label::refuse_longer(&self.label, &self.target, room) {
                return Err(e);
            }
            let full = io::Error::from_raw_os_error(libc::E2BIG);
            return Err(self
                .refused(full, None)
                .hint("this kernel takes one page of mount options; Linux 6.7 takes more"));
        }
        // The descriptors are the whole process's, and stay open until the mount is made.
        let target = std::path::absolute(&self.target)
            .map_err(|e| Error::io("finding the place of the mount", &self.target, e))?;
        in_directory(Path::new("/proc/self/fd"), || mount_overlay(&target, words.flags, &data))?
            .map_err(|e| self.refused(e, None))
    }

    /// All directories of the mount.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Lower> {
        let upper = self.upper.iter().flat_map(|u| [&u.diff, &u.work]);
        self.lowers.iter().chain(&self.data).chain(upper)
    }

    /// The layers, as `write` writes them, and the words in one string, in N's order.
    pub(super) fn joined(&self, write: impl Fn(&Lower, &mut Vec<u8>), words: &[String]) -> Vec<u8> {
        let mut data = b"lowerdir=".to_vec();
        for (n, lower) in self.lowers.iter().enumerate() {
            if n > 0 {
                data.push(b':');
            }
            write(lower, &mut data);
        }
        for lower in &self.data {
            data.extend_from_slice(b"::");
            write(lower, &mut data);
        }
        if let Some(upper) = &self.upper {
            data.extend_from_slice(b",upperdir=");
            write(&upper.diff, &mut data);
            data.extend_from_slice(b",workdir=");
            write(&upper.work, &mut data);
        }
        for word in words {
            data.push(b',');
            data.extend_from_slice(word.as_bytes());
        }
        data
    }

    /// The option string of `mount(2)`.
    fn data(&self, words: &[String]) -> Vec<u8> {
        self.labelled(self.joined(|layer, out| escape(&layer.absolute, out), words))
    }

    fn labelled(&self, mut data: Vec<u8>) -> Vec<u8> {
        if !self.label.is_empty() {
            data.extend_from_slice(format!(",context=\"{}\"", self.label).as_bytes());
        }
        data
    }

    /// Tier b, and c for what no string can carry: one parameter for each layer, from a thread that stands in the home.
    fn mount_by_parts(&self, words: &Words) -> Result<(), Refusal> {
        let made = self.create_by_parts(words)?;
        attach(&made, &self.target).map_err(|e| Refusal::Kernel(e, None))
    }

    fn create_by_parts(&self, words: &Words) -> Result<OwnedFd, Refusal> {
        let outcome = in_directory(&self.home, || -> Result<OwnedFd, Refusal> {
            let overlay = NewOverlay::begin().map_err(|e| match e.raw_os_error() {
                Some(libc::ENOSYS | libc::EPERM) => Refusal::NoParts(e),
                _ => Refusal::Kernel(e, None),
            })?;
            self.configure(&overlay, words).map_err(|e| match e {
                Refusal::Kernel(e, None) => Refusal::Kernel(e, overlay.message()),
                other => other,
            })?;
            overlay.create(words.attributes()).map_err(|e| {
                // Before overlay spoke the new interface itself, unknown parameters were only noticed here.
                let invalid = e.raw_os_error() == Some(Errno::INVAL.raw_os_error());
                if invalid && kernel_before(6, 7) {
                    Refusal::NoParts(e)
                } else {
                    Refusal::Kernel(e, overlay.message())
                }
            })
        });
        outcome.map_err(Refusal::Other)?
    }

    fn configure(&self, overlay: &NewOverlay, words: &Words) -> Result<(), Refusal> {
        // Until overlay spoke the new interface itself, all parameters were gathered unseen, up to a page.
        let gathered = kernel_before(6, 7);
        let is_invalid = |e: &io::Error| {
            // Of descriptors, a file system that only knows strings says the second.
            matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
        };
        let kernel = |e: io::Error| match gathered && is_invalid(&e) {
            true => Refusal::NoParts(e),
            false => Refusal::Kernel(e, None),
        };
        // Before Linux 6.13 no layer is taken by its descriptor.
        let give = |key: &str, name: &Path, writable: bool| {
            layer(overlay, key, name, writable).map_err(|e| match !fits(name) && is_invalid(&e) {
                true => Refusal::NoParts(e),
                false => kernel(e),
            })
        };
        overlay.string("source", b"overlay").map_err(kernel)?;
        for (n, lower) in self.lowers.iter().enumerate() {
            give("lowerdir+", &lower.short, false).map_err(|refusal| match refusal {
                // What the kernel does not know it refuses at the first; later ones fail for reasons of their own.
                Refusal::Kernel(e, None) if n == 0 && is_invalid(&e) => match overlay.message() {
                    Some(said) if !said.contains("nknown parameter") => {
                        Refusal::Kernel(e, Some(said))
                    }
                    _ => Refusal::NoParts(e),
                },
                other => other,
            })?;
        }
        for lower in &self.data {
            layer(overlay, "datadir+", &lower.short, false).map_err(kernel)?;
        }
        if let Some(upper) = &self.upper {
            give("upperdir", &upper.diff.short, true)?;
            give("workdir", &upper.work.short, true)?;
        }
        for flag in words.superblock_flags() {
            overlay.flag(flag).map_err(kernel)?;
        }
        for word in &words.data {
            words::configure(overlay, word).map_err(kernel)?;
        }
        if !self.label.is_empty() {
            // The kernel would not say what is wrong with it; one that gathers has no way for any label.
            if self.label.len() > FSCONFIG_STRING_MAX && !gathered {
                return Err(Refusal::LongLabel);
            }
            overlay.string("context", self.label.as_bytes()).map_err(kernel)?;
        }
        Ok(())
    }

    fn refused(&self, cause: io::Error, said: Option<String>) -> Error {
        let data = self.data(&self.words);
        let shown = data.get(..400).map_or_else(
            || String::from_utf8_lossy(&data).into_owned(),
            |start| format!("{}…", String::from_utf8_lossy(start)),
        );
        let said = said.filter(|s| !s.is_empty()).map(|s| format!("; the kernel says: {s}"));
        let labelled = !self.label.is_empty();
        let advice = labelled.then(|| label::advice(&self.label, &cause)).flatten();
        let error = Error::io(
            format!("mounting an overlay of {} lower directories at", self.lowers.len()),
            &self.target,
            cause,
        )
        .detail(format!("{shown:?}{}", said.unwrap_or_default()));
        match advice {
            Some(advice) => error.hint(advice),
            None => error,
        }
    }
}

/// Why a mount by parts did not come about.
enum Refusal {
    /// The kernel lacks the interface.
    NoParts(io::Error),
    /// The label is longer than a parameter can be.
    LongLabel,
    /// The kernel refuses this mount.
    Kernel(io::Error, Option<String>),
    /// Something else.
    Other(Error),
}

/// Gives one layer to the kernel: its name if that fits, else its descriptor (Linux 6.13).
fn layer(overlay: &NewOverlay, key: &str, path: &Path, writable: bool) -> io::Result<()> {
    let mut name = path.as_os_str().as_bytes().to_vec();
    if writable {
        // Only these two are still searched for backslashes.
        name = name
            .into_iter()
            .flat_map(|b| (b == b'\\').then_some(b).into_iter().chain([b]))
            .collect();
    }
    if fits(Path::new(OsStr::from_bytes(&name))) {
        return overlay.string(key, &name);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    overlay.descriptor(key, &rustix::fs::open(path, flags, Mode::empty())?)
}

/// Whether a name is short enough for a parameter.
fn fits(name: &Path) -> bool {
    name.as_os_str().len() <= FSCONFIG_STRING_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let lower = |n: u32| Lower {
            absolute: format!("/g/overlay/{n}/diff").into(),
            short: format!("l/{n}").into(),
        };
        Plan {
            home: "/g/overlay".into(),
            target: "/g/overlay/9/merged".into(),
            lowers: vec![lower(2), lower(1)],
            data: Vec::new(),
            upper: Some(Upper {
                diff: lower(9),
                work: Lower { absolute: "/g/overlay/9/work".into(), short: "9/work".into() },
            }),
            words: vec!["nodev".into(), "index=off".into()],
            label: String::new(),
        }
    }

    #[test]
    fn data_strings_are_in_current_order() {
        // GET-19, GET-21
        let mut plan = plan();
        assert_eq!(
            String::from_utf8(plan.data(&plan.words)).unwrap(),
            "lowerdir=/g/overlay/2/diff:/g/overlay/1/diff,upperdir=/g/overlay/9/diff,workdir=/g/overlay/9/work,nodev,index=off"
        );
        plan.upper = None;
        plan.label = "system_u:object_r:container_file_t:s0:c1,c2".into();
        assert_eq!(
            String::from_utf8(plan.data(&[])).unwrap(),
            "lowerdir=/g/overlay/2/diff:/g/overlay/1/diff,context=\"system_u:object_r:container_file_t:s0:c1,c2\""
        );
    }

    #[test]
    fn all_ways_make_the_same_mount() {
        // DEF-10, MNT-1, MNT-2, MNT-4, GET-27
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let home = root.path().join("a,b:c\\d e");
        let dir = |name: &str| {
            let absolute = home.join(name);
            std::fs::create_dir_all(&absolute).unwrap();
            Lower { absolute, short: name.into() }
        };
        let plan = Plan {
            home: home.clone(),
            target: dir("merged").absolute,
            lowers: vec![dir("l2"), dir("l1")],
            data: Vec::new(),
            upper: Some(Upper { diff: dir("up\\per"), work: dir("work") }),
            words: ["nosuid", "index=off", "noatime", "redirect_dir=nofollow"]
                .map(str::to_owned)
                .into(),
            label: String::new(),
        };
        std::fs::write(home.join("l1/f"), "x").unwrap();
        let words = Words::parse(&plan.words).unwrap();
        // Way by way: by a string, by numbers, by parts where this kernel has them.
        let ways: [&dyn Fn() -> bool; 3] = [
            &|| plan.mount_by_string(&words).is_ok(),
            &|| plan.mount_by_numbers(&words).is_ok(),
            &|| match plan.mount_by_parts(&words) {
                Err(Refusal::NoParts(_)) => kernel_before(6, 7) && plan.mount().is_ok(),
                made => made.is_ok(),
            },
        ];
        for (n, mount) in ways.iter().enumerate() {
            assert!(mount(), "way {n}");
            let entry = crate::driver::tests::mounted_at(&plan.target).unwrap();
            let read = std::fs::read_to_string(plan.target.join("f"));
            let written = std::fs::write(plan.target.join(format!("new{n}")), "");
            crate::sys::mount::detach(&plan.target).unwrap();
            assert_eq!(read.unwrap(), "x", "way {n}");
            written.unwrap();
            assert!(home.join(format!("up\\per/new{n}")).exists(), "way {n}");
            assert_eq!(entry.options, "rw,nosuid,noatime");
            let told = String::from_utf8(entry.super_options).unwrap();
            assert!(told.contains("redirect_dir=nofollow"), "{told}");
        }
    }

    #[test]
    fn without_the_right_to_mount_no_other_kernel_is_asked_for() {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let plan = Plan { home: home.path().into(), ..plan() };
        let refused = std::thread::spawn(move || {
            // The rights of this thread alone.
            let mut held = capabilities(None).unwrap();
            held.effective.remove(CapabilitySet::SYS_ADMIN);
            set_capabilities(None, held).unwrap();
            plan.mount_detached().unwrap_err()
        });
        let e = refused.join().unwrap();
        assert_eq!((e.kind(), e.raw_os_error()), (ErrorKind::Io, Some(libc::EPERM)), "{e}");
    }

    #[test]
    fn too_many_lowers_never_reach_the_kernel() {
        // MNT-5, GET-14
        let mut plan = plan();
        let one = plan.lowers.remove(0);
        plan.lowers = vec![one; 501];
        assert_eq!(plan.mount().unwrap_err().kind(), ErrorKind::MaxDepth);
    }

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut plan = plan();
        plan.label = "x\",upperdir=/etc,\"".into();
        assert_eq!(plan.mount().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
