//! The SELinux label of a layer's tree: that which the host's policy has for the files of containers, without categories of one of them,
//! as Go's vfs gives it (`store-format.md` 13). There is no mount that could have a container's own.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;

use crate::sys::mount::fs_magic;

/// Where the kernel's policy is asked and configured.
const SELINUX: &str = "sys/fs/selinux";
const SELINUX_MAGIC: u64 = 0xf97c_ff8c;

/// The labels of containers: those of the machine's, else those of its policy.
const CONTEXTS: &str = "usr/share/containers/selinux/contexts";
const POLICIES: &str = "etc/selinux";
const OF_POLICY: &str = "contexts/lxc_contexts";

/// Labels an empty directory; by the kernel's rule, what is made in it has the label as well. Nothing is done without SELinux, or
/// where the host has no such label; one that cannot be given is no failure, as in Go.
pub(super) fn give(dir: BorrowedFd<'_>, path: &Path) {
    let Some(label) = wanted(Path::new("/")) else { return };
    match rustix::fs::fsetxattr(dir, "security.selinux", label.as_bytes(), XattrFlags::empty()) {
        Ok(()) => {}
        // The file system has no labels.
        Err(Errno::OPNOTSUPP) => tracing::debug!(?path, label, "the layer is not labelled"),
        Err(error) => {
            tracing::warn!(?path, label, %error, "containers may not be able to read the layer: it was not labelled");
        }
    }
}

/// The label to give on the host whose root this is.
fn wanted(root: &Path) -> Option<String> {
    if is_enabled(root) { of_files(root) } else { None }
}

/// Whether SELinux has a policy here, and this process is not kept from it, as in a container.
fn is_enabled(root: &Path) -> bool {
    let place = root.join(SELINUX);
    fs_magic(&place).is_ok_and(|magic| magic == SELINUX_MAGIC)
        && rustix::fs::statvfs(&place)
            .is_ok_and(|about| !about.f_flag.contains(StatVfsMountFlags::RDONLY))
        && fs::read("/proc/thread-self/attr/current")
            .is_ok_and(|label| label.strip_suffix(b"\0").unwrap_or(&label) != b"kernel")
}

fn of_files(root: &Path) -> Option<String> {
    let of_policy = || {
        let policies = root.join(POLICIES);
        let config = fs::read_to_string(policies.join("config")).unwrap_or_default();
        let policy = entries(&config).find(|(key, _)| *key == "SELINUXTYPE");
        let policy = policy.map(|(_, value)| value.trim_matches('"')).unwrap_or_default();
        fs::read_to_string(policies.join(policy).join(OF_POLICY))
    };
    let contexts = fs::read_to_string(root.join(CONTEXTS)).or_else(|_| of_policy()).ok()?;
    let of = |wanted: &str| {
        let found = entries(&contexts).rfind(|(key, _)| key.trim() == wanted);
        found.map(|(_, value)| value.trim().trim_matches('"')).unwrap_or_default()
    };
    let file = of("file");
    // Only where processes have labels, files share the lowest level.
    let process = of("process");
    match (parts(process), parts(file)) {
        _ if process.is_empty() => (!file.is_empty()).then(|| file.to_owned()),
        (Some(_), Some([user, role, kind])) => Some(format!("{user}:{role}:{kind}:s0")),
        _ => None,
    }
}

/// The lines `key=value` of a file.
fn entries(text: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| line.split_once('='))
}

/// User, role and type of a label.
fn parts(label: &str) -> Option<[&str; 3]> {
    let mut parts = label.split(':');
    Some([parts.next()?, parts.next()?, parts.next()?])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::driver::tests::{TestStore, chain, id, label_of, tar_of};
    use crate::driver::{ApplyOptions, CreateOptions};

    const LABEL: &str = "system_u:object_r:container_file_t:s0";

    /// The root of a host with these files.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_label_is_that_of_containers_files_at_the_lowest_level() {
        let config = "# SELINUXTYPE=minimum\nSELINUX=enforcing\n\nSELINUXTYPE=targeted\n";
        let of_policy = "\n; no comment\nprocess = \"system_u:system_r:container_t:s0\"\nfile=\"a:b:old_t\"\n\
            file = \"system_u:object_r:container_file_t:s0:c1,c2\"\nro_file = \"x:y:z:s0\"\n";
        let targeted = "etc/selinux/targeted/contexts/lxc_contexts";
        let files = [("etc/selinux/config", config), (targeted, of_policy)];
        let root = host(&files);
        assert_eq!(of_files(root.path()).unwrap(), LABEL);
        assert_eq!(wanted(root.path()), None, "SELinux is not enabled there");
        let machine = "process = \"p:q:r\"\nfile = \"system_u:object_r:own_t:s0\"\n";
        let root = host(&[files.as_slice(), &[(CONTEXTS, machine)]].concat());
        assert_eq!(of_files(root.path()).unwrap(), "system_u:object_r:own_t:s0");
        for (contexts, label) in [
            ("file = \"a:b:c:s0:c1\"\n", Some("a:b:c:s0:c1")),
            ("process = \"p:q:r\"\nfile = \"a:b\"\n", None),
            ("process = \"p:q:r\"\n", None),
            ("process = \"p:q\"\nfile = \"system_u:object_r:own_t:s0\"\n", None),
            ("file =\n", None),
            ("", None),
        ] {
            assert_eq!(of_files(host(&[(CONTEXTS, contexts)]).path()).as_deref(), label);
        }
        assert_eq!(of_files(host(&[("etc/selinux/config", config)]).path()), None);
    }

    #[test]
    #[ignore = "needs an enforced SELinux policy: tests/vm/run"]
    fn layers_have_the_label_of_containers_files_as_with_go() {
        // store-format 13
        let program = std::env::var_os("REFERENCE").expect("tests/vm/run brings the Go program");
        let (store, theirs) = (TestStore::new(), TestStore::new());
        let driver = store.open("vfs", None, &[]);
        let tar = tar_of(&[("d/", ""), ("d/f", "1")]);
        chain(&*driver, &["base"]);
        driver.apply_diff(&id("base"), &ApplyOptions::default(), &mut tar.as_slice()).unwrap();
        let staged = driver.stage(None, &ApplyOptions::default()).unwrap();
        crate::archive::unpack(&mut tar.as_slice(), staged.root(), staged.unpack_options())
            .unwrap();
        driver.create_staged(&id("staged"), None, &CreateOptions::default(), staged).unwrap();
        let above = driver.stage(Some(&id("base")), &ApplyOptions::default()).unwrap();
        driver
            .create_staged(&id("above"), Some(&id("base")), &CreateOptions::default(), above)
            .unwrap();
        // A layer that was made without a label gives none to what is made upon it.
        let unlabelled = store.graph.join("vfs/dir/unlabelled");
        fs::create_dir_all(unlabelled.join("d")).unwrap();
        fs::write(unlabelled.join("d/f"), "1").unwrap();
        assert_ne!(label_of(unlabelled.join("d/f")), LABEL);
        for (layer, parent) in [("top", "base"), ("mended", "unlabelled")] {
            driver
                .create_read_write(&id(layer), Some(&id(parent)), &CreateOptions::default())
                .unwrap();
        }
        let labels = |graph: &Path, layer: &str| {
            let dir = graph.join("vfs/dir").join(layer);
            ["", "d", "d/f"].map(|name| label_of(dir.join(name)))
        };
        for layer in ["base", "staged", "above", "top", "mended"] {
            assert_eq!(labels(&store.graph, layer), [LABEL; 3], "{layer}");
        }

        let go = |arguments: &[&str]| {
            let mut run = Command::new(&program);
            run.arg(arguments[0]).arg("--graph").arg(&theirs.graph).arg("--run").arg(&theirs.run);
            let done =
                run.args(["--storage-driver", "vfs"]).args(&arguments[1..]).output().unwrap();
            assert!(done.status.success(), "{arguments:?}: {done:?}");
        };
        let file = theirs.beside("layer.tar");
        fs::write(&file, &tar).unwrap();
        go(&["create-layer", "--readonly", "--id", "base"]);
        go(&["apply-diff", "-f", file.to_str().unwrap(), "base"]);
        go(&["create-layer", "--id", "top", "base"]);
        for layer in ["base", "top"] {
            assert_eq!(labels(&theirs.graph, layer), labels(&store.graph, layer), "{layer}");
        }
    }
}
