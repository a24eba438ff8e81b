//! A program that mounts in place of the kernel, as fuse-overlayfs does: when there is one, and how it is called (6.5, PUT-3).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Overlay;
use super::escape::needs_escape;
use super::layout;
use super::mount::{Lower, Plan};
use super::words::Words;
use crate::config::Environment;
use crate::sys::mount::{is_overlay_mount, sync_mount};
use crate::sys::program::{self, Streams};
use crate::{Error, ErrorKind, IdMap, IdMaps, Result};

/// The program that is looked for where none is configured.
const USUAL: &str = "fuse-overlayfs";

/// The programs that end a mount of a file system in user space, in this order.
const UNMOUNTERS: [&str; 2] = ["fusermount3", "fusermount"];

/// The longest argument that the kernel takes, with its final NUL (execve(2), MAX_ARG_STRLEN).
const ARGUMENT_MAX: usize = 128 * 1024;

impl Overlay {
    /// The program that mounts this home's layers; `None` if the kernel does, or as long as nothing has made the home ready.
    pub(super) fn program(&self) -> Option<&Path> {
        self.mounter.get()?.as_deref()
    }

    /// The program that mounts by configuration, or because the layers were made for one (INI-2); `None` if the kernel may be tried.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] if the home wants a program and there is none.
    pub(super) fn wanted_program(&self) -> Result<Option<PathBuf>> {
        if let Some(program) = &self.options.mount_program {
            return Ok(Some(program.clone()));
        }
        match layout::read_mount_program_flag(&self.home)? {
            Some(true) => self.needed_program().map(Some),
            Some(false) | None => Ok(None),
        }
    }

    /// The usual program, for layers that only one like it can mount.
    pub(super) fn needed_program(&self) -> Result<PathBuf> {
        usual_program().ok_or_else(|| {
            let flag = self.home.join(layout::MOUNT_PROGRAM_FLAG);
            Error::new(ErrorKind::NotSupported, format!("using overlay at {:?}", self.home))
                .path(&flag)
                .detail("the layers belong to a mount program, and there is none")
                .hint(format!("install {USUAL}, or name the mount_program in storage.conf"))
        })
    }
}

/// The usual program, where it is installed and file systems in user space are to be had.
pub(super) fn usual_program() -> Option<PathBuf> {
    use rustix::fs::Access;
    rustix::fs::access("/dev/fuse", Access::READ_OK | Access::WRITE_OK).ok()?;
    Environment::of_process().find_program(USUAL)
}

/// What a program is told besides.
#[derive(Debug, Default)]
pub(super) struct More<'a> {
    /// How the layers' ids are shown (GET-30).
    pub(super) maps: Option<&'a IdMaps>,
    /// Modes and owners are kept in an xattr (GET-31).
    pub(super) modes_apart: bool,
}

impl Plan {
    /// Has `program` make the mount (GET-29).
    ///
    /// # Errors
    /// As [`Plan::mount`]; with what the program says when it fails.
    pub(super) fn mount_by(&self, program: &Path, more: &More<'_>) -> Result<()> {
        let words = self.check()?;
        let data = self.program_data(&words, more)?;
        let failed = |why: String| {
            Error::new(ErrorKind::Io, format!("mounting by {program:?} at {:?}", self.target))
                .path(&self.target)
                .detail(format!("{why}; it was given {}", shortened(&data)))
        };
        let arguments: [&OsStr; 3] = ["-o".as_ref(), &data, self.target.as_os_str()];
        let environment = Environment::of_process();
        let ended =
            program::run(program, &arguments, &self.home, &environment.vars, Streams::default())
                .map_err(|e| failed(format!("it cannot be run: {e}")).caused_by(e))?;
        if ended.code != 0 {
            let said = if ended.said.is_empty() { "<stderr empty>" } else { &ended.said };
            return Err(failed(format!("{said} (exit code {})", ended.code))
                .hint("try the same by hand; it needs /dev/fuse"));
        }
        if !is_overlay_mount(&self.target) {
            return Err(failed("it ended well, and nothing is mounted there".to_owned()));
        }
        Ok(())
    }

    /// The program's options: what the kernel would be told, without the flags, and what programs know besides. Names as seen from the
    /// home, where the program begins, stand in place of paths that would have to be escaped, or that are too many for one argument.
    fn program_data(&self, words: &Words, more: &More<'_>) -> Result<OsString> {
        let mut added = words.data.clone();
        let label = (!self.label.is_empty()).then(|| format!("context=\"{}\"", self.label));
        added.extend(label);
        added.extend(more.maps.into_iter().flat_map(shifting));
        added.extend(more.modes_apart.then(|| "xattr_permissions=2".to_owned()));
        let told = |name: fn(&Lower) -> &Path| {
            if self.layers().any(|layer| needs_escape(name(layer))) {
                return None;
            }
            let write =
                |layer: &Lower, out: &mut Vec<u8>| out.extend(name(layer).as_os_str().as_bytes());
            Some(self.joined(write, &added)).filter(|data| data.len() < ARGUMENT_MAX)
        };
        let data = told(|l| &l.absolute).or_else(|| told(|l| &l.short)).ok_or_else(|| {
            Error::new(ErrorKind::NotSupported, format!("mounting by a program at {:?}", self.target))
                .path(&self.target)
                .detail("no program can be told of so many layers, or of layers with ',', ':' or '\\' in their paths")
        })?;
        Ok(OsString::from_vec(data))
    }
}

/// The options by which fuse-overlayfs maps ids; groups come with users only (GET-30, DEF-35).
fn shifting(maps: &IdMaps) -> Vec<String> {
    let option = |kind: &str, maps: &[IdMap]| match maps {
        [only] if only.size == 1 => format!("squash_to_{kind}={}", only.host_id),
        _ => {
            let triple = |m: &IdMap| format!("{}:{}:{}", m.container_id, m.host_id, m.size);
            let triples: Vec<String> = maps.iter().map(triple).collect();
            format!("{kind}mapping={}", triples.join(":"))
        }
    };
    if maps.uids.is_empty() {
        return Vec::new();
    }
    let groups = (!maps.gids.is_empty()).then(|| option("gid", &maps.gids));
    std::iter::once(option("uid", &maps.uids)).chain(groups).collect()
}

/// Has a program end the mount at `merged`; tells whether one did. Else what is not written yet goes to the disk, since a mount that is
/// merely detached ends when nobody knows (PUT-3).
pub(super) fn unmount(merged: &Path) -> bool {
    let environment = Environment::of_process();
    for name in UNMOUNTERS {
        let Some(path) = environment.find_program(name) else { continue };
        let arguments = ["-u".as_ref(), merged.as_os_str()];
        match program::run(&path, &arguments, Path::new("/"), &environment.vars, Streams::default())
        {
            Ok(ended) if ended.code == 0 => return true,
            Ok(ended) => {
                tracing::debug!(program = name, ?merged, said = ended.said, "not unmounted")
            }
            Err(error) => tracing::debug!(program = name, %error, "not run"),
        }
    }
    if let Err(error) = sync_mount(merged) {
        tracing::debug!(?merged, %error, "not synced");
    }
    false
}

fn shortened(data: &OsStr) -> String {
    let text = data.to_string_lossy();
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{:?}…", text.get(..at).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::mount::Upper;
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMap {
        IdMap { container_id, host_id, size }
    }

    fn plan(home: &str) -> Plan {
        let at = |short: &str| Lower { absolute: Path::new(home).join(short), short: short.into() };
        Plan {
            home: home.into(),
            target: Path::new(home).join("9/merged"),
            lowers: vec![at("2/diff"), at("1/diff")],
            data: Vec::new(),
            upper: Some(Upper { diff: at("9/diff"), work: at("9/work") }),
            words: ["nodev", "volatile", "ro", "rw"].map(str::to_owned).into(),
            label: String::new(),
        }
    }

    fn data(plan: &Plan, more: &More<'_>) -> String {
        let words = Words::parse(&plan.words).unwrap();
        plan.program_data(&words, more).unwrap().into_string().unwrap()
    }

    #[test]
    fn ids_are_mapped_or_squashed() {
        // GET-30, DEF-35
        let maps = |uids: &[IdMap], gids: &[IdMap]| shifting(&IdMaps::new(uids, gids));
        assert_eq!(maps(&[], &[map(0, 1, 1)]), [""; 0]);
        assert_eq!(
            maps(&[map(0, 1000, 1), map(1, 2000, 9)], &[map(0, 5, 7)]),
            ["uidmapping=0:1000:1:1:2000:9", "gidmapping=0:5:7"]
        );
        assert_eq!(maps(&[map(0, 7, 1)], &[map(3, 8, 1)]), ["squash_to_uid=7", "squash_to_gid=8"]);
    }

    #[test]
    fn data_is_what_the_kernel_would_get_and_more() {
        // GET-22, GET-29, GET-31
        let maps = IdMaps::new(&[map(0, 7, 2)], &[map(0, 8, 2)]);
        let more = More { maps: Some(&maps), modes_apart: true };
        let told = data(&Plan { label: "a:b".into(), ..plan("/g") }, &more);
        assert_eq!(
            told,
            "lowerdir=/g/2/diff:/g/1/diff,upperdir=/g/9/diff,workdir=/g/9/work,volatile,context=\"a:b\",\
             uidmapping=0:7:2,gidmapping=0:8:2,xattr_permissions=2"
        );
    }

    #[test]
    fn names_are_short_where_paths_cannot_be_told() {
        // DEF-10, GET-28
        let short = "lowerdir=2/diff:1/diff,upperdir=9/diff,workdir=9/work,volatile";
        assert_eq!(data(&plan("/a,b:c"), &More::default()), short);
        let mut many = plan(
            "/a-home-whose-path-is-as-long-as-paths-of-homes-are-in-the-field/and/much/longer/if/need/be",
        );
        many.lowers = vec![many.lowers[0].clone(); 490];
        many.lowers.iter_mut().for_each(|l| l.absolute = l.absolute.join("x".repeat(250)));
        assert!(data(&many, &More::default()).starts_with("lowerdir=2/diff:2/diff:"));
        many.lowers.iter_mut().for_each(|l| l.short = "a:b".into());
        let words = Words::parse(&many.words).unwrap();
        let e = many.program_data(&words, &More::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported);
    }
}
