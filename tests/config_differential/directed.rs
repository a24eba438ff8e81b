//! Single points of the format, each as the only file of a configuration.

use std::path::Path;

use super::generate::{Job, write};

const TEXTS: &[&str] = &[
    "",
    "# only a comment",
    "storage = 1",
    "[[storage]]\ndriver = 'vfs'",
    "[storage]\noptions = 'x'",
    "[storage.options]\noverlay = true",
    "[storage]\ndriver = true",
    "[storage]\ntransient_store = 'true'",
    "[storage]\ntransient_store = 1",
    "[storage]\ndriver_priority = 'vfs'",
    "[storage]\ndriver_priority = ['vfs', 1]",
    "[storage]\ndriver_priority = ['vfs', ['x']]",
    "[storage]\ndriver_priority = ['vfs', {append=true}]",
    "[storage]\ndriver_priority = [{append='true'}]",
    "[storage]\ndriver_priority = [{Append=true}]",
    "[storage]\ndriver_priority = [{append=true, x=1}]",
    "[storage]\ndriver_priority = [{}, 'vfs', {append=true}, {append=false}]",
    "[[storage.driver_priority]]\nappend = true",
    "[storage]\ndriver_priority = [\n # why\n 'vfs',\n 'overlay',\n]",
    "[storage.options]\nforce_mask = 0o755",
    "[storage.options]\nforce_mask = 0x1_00",
    "[storage.options]\nforce_mask = '0755'",
    "[storage.options]\nforce_mask = 'shared'",
    "[storage.options]\nforce_mask = 4294967295",
    "[storage.options]\nforce_mask = 4294967296",
    "[storage.options]\nforce_mask = -1",
    "[storage.options]\nforce_mask = -0",
    "[storage.options]\nforce_mask = 1.0",
    "[storage.options]\nauto-userns-min-size = 1_024\nauto-userns-max-size = +65536",
    "[storage.options]\nauto_userns_min_size = 7\nroot_auto_userns_user = 'x'\ndisable_volatile = true",
    "[storage.options]\ndisable-volatile = 'true'",
    "[storage.options]\npull_options = 5",
    "[storage.options]\npull_options = 'a'",
    "[storage.options]\npull_options = []",
    "[[storage.options.pull_options]]\na = 'b'",
    "[storage.options]\npull_options = {}",
    "[storage.options]\npull_options = {a = 'b', 'c.d' = '', A = 'x'}",
    "[storage.options.pull_options]\nenable_partial_images = true",
    "[storage.options.pull_options.x]\ny = 'z'",
    "[STORAGE]\nDriver = 'vfs'\nGRAPHROOT = '/x'",
    "[\"\u{17f}torage\"]\ndriver = 'vfs'",
    "[storage]\n\"tran\u{17f}ient_\u{17f}tore\" = true\n[storage.options.overlay]\n\"s\u{131}ze\" = '1'",
    "[storage.options]\n\"\u{212a}ey\" = 1\n\"s\u{212a}ip_mount_home\" = 'true'",
    "[storage.options]\nimagestore = '/i'\nuse_composefs = 'true'",
    "[storage.options]\nimagestore = 1",
    "[storage]\ngraphroot = '/g'\nimagestore = '/g'",
    "[storage]\ngraphroot = '/g/../g'\nimagestore = '/g'",
    "[storage]\ngraphroot = '/g'\nimagestore = '/g/'",
    "[storage]\nimagestore = '/var/lib/containers/storage'",
    "[storage]\nrootless_storage_path = '/r'",
    "[storage]\nrootless_storage_path = '/r'\ngraphroot = '/g'",
    "[storage]\ngraphroot = '$UNSET'",
    "[storage]\ngraphroot = '$UNSET/x'\nrunroot = '${UNSET}'",
    "[storage]\ngraphroot = '~/x'\nrunroot = 'a//b/../c/'",
    "[storage]\ngraphroot = '/proc/self/../x/$'\nrunroot = '/${}/${HOME'",
    "[storage]\ngraphroot = 'src/../src/config'\nrunroot = './Cargo.toml/..'",
    "[storage]\ngraphroot = '/$HOME$UID$UIDX${UID}$$$1$*'",
    "[storage]\ngraphroot = '/\u{e9}$\u{e9}x'",
    "[storage]\ndriver = 'overlay2'",
    "[storage]\ndriver = \"a\\tb\\u00e9\"",
    "[storage]\ndriver = \"\"\"\nvfs\"\"\"",
    "[storage]\ndriver = 'vfs'\ndriver = 'vfs'",
    "[storage]\ndriver = 'vfs'\n[storage]\nrunroot = '/x'",
    "[storage]\ndriver = vfs",
    "[storage\ndriver = 'vfs'",
    "[storage]\ndriver = 'vfs",
    "\u{feff}[storage]\ndriver = 'vfs'",
    "[storage]\r\ndriver = 'vfs'\r\n",
    "[storage]\rdriver = 'vfs'\r",
    "\0[storage]\ndriver = 'vfs'",
    "[storage]\ndriver = 'v\0fs'",
    "# \u{1}\n[storage]\ndriver = 'vfs'",
    "storage = { driver = 'vfs', options = { size = '1', overlay.size = '2' } }",
    "storage = {\n driver = 'vfs',\n}",
    "[storage]\ndriver = \"\\x41\\e\"",
    "storage.driver = 'vfs'\nstorage.options.overlay.size = '1'\nstorage.options.size = '2'",
    "[storage]\nunknown = 9223372036854775808",
    "[storage]\nunknown = -9223372036854775808",
    "[storage]\nunknown = 0xffffffffffffffff",
    "[x]\ny = [1, {z = 99999999999999999999}]",
    "[storage]\nunknown = 1e999",
    "[storage]\nunknown = [inf, -inf, nan, 1e308]",
    "[storage]\nunknown = 2026-01-02T03:04:05Z",
    "[storage]\nunknown = 2026-01-02T03:04Z",
    "[storage]\nunknown = 2026-13-02",
    "[storage]\nunknown = 07:32:00",
    "[storage]\nunknown = 007",
    "[storage]\nunknown = 1__0",
    "[storage.options]\nremap-uids = '0:1:2'\nremap-user = 'x'\n[storage.options.thinpool]\nsize = '1'\n[storage.options.aufs]\nmountopt = 'x'",
    "[storage.options.btrfs]\nmin_space = '1'\nsize = '2'\n[storage.options.zfs]\nfsname = 'a'\nmountopt = 'b'\nsize = 'c'\n[storage.options.vfs]\nignore_chown_errors = 'yes'\nsync = 'filesystem'",
    "[storage.options.overlay]\nforce_mask = 'private'\ninodes = '5'\nsync = ' FileSystem '\nuse_composefs = '1'",
    "[storage.options.overlay]\nforce_mask = 0o755",
    "[storage.options.overlay]\nskip_mount_home = true",
    "[storage.options]\nadditionalimagestores = ['/a', '', '/b,c']\nadditionallayerstores = ['/l:ref']",
];

/// A configuration for each text, as root, and once more as the file that CONTAINERS_STORAGE_CONF names.
pub(crate) fn jobs(dir: &Path) -> Vec<Job> {
    let job = |name: String, in_etc: Option<&str>, env: &[(&str, &str)]| {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).expect("mkdir");
        let root = dir.join("root");
        if let Some(text) = in_etc {
            write(&root.join("etc/containers/storage.conf"), text.as_bytes());
        }
        let mut vars = vec![("HOME".to_owned(), "/nonexistent".into())];
        vars.extend(env.iter().map(|(name, value)| ((*name).to_owned(), value.into())));
        Job { dir, root, env: vars, uid: None }
    };
    let mut jobs: Vec<Job> = TEXTS
        .iter()
        .enumerate()
        .map(|(n, text)| job(format!("text{n}"), Some(text), &[]))
        .collect();
    let good = "[storage]\ndriver = 'vfs'\n[storage.options]\nsize = '1'";
    for (n, env) in [
        &[("STORAGE_DRIVER", "")][..],
        &[("STORAGE_DRIVER", "overlay2")],
        &[("STORAGE_DRIVER", "zfs"), ("STORAGE_OPTS", "zfs.fsname=a")],
        &[("STORAGE_OPTS", "")],
        &[("STORAGE_OPTS", ",")],
        &[("STORAGE_OPTS", "a=b,,overlay.mountopt=x,y")],
        &[("CONTAINERS_STORAGE_CONF", "")],
        &[("CONTAINERS_STORAGE_CONF", "/nonexistent/storage.conf")],
        &[("CONTAINERS_STORAGE_CONF", "/dev/null")],
        &[("CONTAINERS_STORAGE_CONF", "/proc")],
        &[("CONTAINERS_STORAGE_CONF_OVERRIDE", "")],
        &[("CONTAINERS_STORAGE_CONF_OVERRIDE", "/nonexistent/storage.conf")],
        &[("CONTAINERS_STORAGE_CONF_OVERRIDE", "/dev/null")],
        &[("HOME", "")],
        &[("HOME", "/dev/null")],
        &[("XDG_CONFIG_HOME", "relative")],
        &[("_CONTAINERS_ROOTLESS_UID", ""), ("_CONTAINERS_USERNS_CONFIGURED", "1")],
        &[("_CONTAINERS_ROOTLESS_UID", "x1")],
        &[("_CONTAINERS_ROOTLESS_UID", "0"), ("_CONTAINERS_USERNS_CONFIGURED", "done")],
        &[("_CONTAINERS_ROOTLESS_UID", "5"), ("XDG_RUNTIME_DIR", "/proc/self/cwd/nonexistent")],
        &[("_CONTAINERS_ROOTLESS_UID", "+5"), ("XDG_RUNTIME_DIR", "/usr/../tmp/")],
        &[
            ("_CONTAINERS_ROOTLESS_UID", "4123456"),
            ("XDG_RUNTIME_DIR", "src"),
            ("XDG_CONFIG_HOME", "/nonexistent"),
            ("HOME", ""),
        ],
        &[
            ("_CONTAINERS_ROOTLESS_UID", "4123456"),
            ("XDG_RUNTIME_DIR", "/tmp"),
            ("XDG_CONFIG_HOME", "/nonexistent"),
            ("XDG_DATA_HOME", "rel//data"),
            ("HOME", ""),
        ],
        &[("_CONTAINERS_ROOTLESS_UID", "4123456"), ("XDG_RUNTIME_DIR", "/tmp"), ("HOME", "")],
    ]
    .into_iter()
    .enumerate()
    {
        jobs.push(job(format!("env{n}"), Some(good), env));
    }
    jobs
}
