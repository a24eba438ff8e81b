//! Random configurations: files in all ranks, environments, users.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// One configuration to load.
pub(crate) struct Job {
    /// Holds everything of the job.
    pub(crate) dir: PathBuf,
    /// The alternate root.
    pub(crate) root: PathBuf,
    /// The whole environment.
    pub(crate) env: Vec<(String, OsString)>,
    /// The user that loads it, if not that of the test.
    pub(crate) uid: Option<u32>,
}

/// Writes a file that everybody may read, and the directories above.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
    fs::write(path, bytes).expect("writing a file");
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Path,
    Text,
    Flag,
    Number,
    List,
    Map,
}

const STORAGE: &[(&str, Kind)] = &[
    ("driver", Kind::Text),
    ("driver_priority", Kind::List),
    ("graphroot", Kind::Path),
    ("runroot", Kind::Path),
    ("rootless_storage_path", Kind::Path),
    ("imagestore", Kind::Path),
    ("transient_store", Kind::Flag),
];
const OPTIONS: &[(&str, Kind)] = &[
    ("additionalimagestores", Kind::List),
    ("additionallayerstores", Kind::List),
    ("size", Kind::Text),
    ("mount_program", Kind::Text),
    ("mountopt", Kind::Text),
    ("skip_mount_home", Kind::Text),
    ("ignore_chown_errors", Kind::Text),
    ("force_mask", Kind::Number),
    ("root-auto-userns-user", Kind::Text),
    ("auto-userns-min-size", Kind::Number),
    ("auto-userns-max-size", Kind::Number),
    ("disable-volatile", Kind::Flag),
    ("imagestore", Kind::Text),
    ("use_composefs", Kind::Text),
    ("pull_options", Kind::Map),
    ("remap-uids", Kind::Text),
];
const OVERLAY: &[(&str, Kind)] = &[
    ("mountopt", Kind::Text),
    ("mount_program", Kind::Text),
    ("size", Kind::Text),
    ("inodes", Kind::Text),
    ("skip_mount_home", Kind::Text),
    ("ignore_chown_errors", Kind::Text),
    ("force_mask", Kind::Text),
    ("use_composefs", Kind::Text),
    ("sync", Kind::Text),
    ("unknown", Kind::Flag),
];
const VFS: &[(&str, Kind)] = &[("ignore_chown_errors", Kind::Text), ("sync", Kind::Text)];
const BTRFS: &[(&str, Kind)] = &[("min_space", Kind::Text), ("size", Kind::Text)];
const ZFS: &[(&str, Kind)] =
    &[("fsname", Kind::Text), ("mountopt", Kind::Text), ("size", Kind::Text)];
type TableKeys = (&'static str, &'static [(&'static str, Kind)], usize);
/// Tables, their keys, and the chance of a key in a file.
const TABLES: &[TableKeys] = &[
    ("storage", STORAGE, 25),
    ("storage.options", OPTIONS, 15),
    ("storage.options.overlay", OVERLAY, 15),
    ("storage.options.vfs", VFS, 15),
    ("storage.options.btrfs", BTRFS, 15),
    ("storage.options.zfs", ZFS, 15),
    ("storage.options.aufs", ZFS, 5),
];
const TEXTS: &[&str] = &[
    "''",
    "'10G'",
    "\"true\"",
    "'overlay'",
    "'overlay2'",
    "'nodev,metacopy=on'",
    "\"a \\\"b\\\"\"",
    "'ünï'",
    "'none'",
    "'''vfs'''",
];
const WRONG: &[&str] =
    &["true", "'true'", "7", "-7", "1.5", "['x']", "[['x']]", "[1]", "{}", "1979-05-27", "[{a=1}]"];

fn value(rng: &mut Rng, kind: Kind, paths: &[String]) -> String {
    match kind {
        Kind::Text => (*rng.pick(TEXTS)).to_owned(),
        Kind::Path => format!("'{}'", rng.pick(paths)),
        Kind::Flag => (*rng.pick(&["true", "false"])).to_owned(),
        Kind::Number => {
            (*rng.pick(&["0", "1", "1024", "0o755", "0x1ff", "0b101", "4294967295", "65_536"]))
                .to_owned()
        }
        Kind::List => {
            let mut items: Vec<String> = (0..rng.below(4))
                .map(|_| (*rng.pick(&["'overlay'", "'vfs'", "'/a'", "'/b:ref'", "''"])).to_owned())
                .collect();
            if rng.chance(45) {
                let mark = *rng.pick(&["{append=true}", "{append=true}", "{ append = false }"]);
                let at = rng.below(items.len() + 1);
                items.insert(at, mark.to_owned());
            }
            format!("[{}]", items.join(", "))
        }
        Kind::Map => {
            let names = ["enable_partial_images", "use_hard_links", "ostree_repos", "X", "x"];
            let chosen: Vec<String> = names
                .into_iter()
                .filter(|_| rng.chance(40))
                .map(|name| format!("{name} = '{}'", ["true", "", "FALSE"][name.len() % 3]))
                .collect();
            format!("{{{}}}", chosen.join(", "))
        }
    }
}

fn respell(rng: &mut Rng, name: &str) -> String {
    match rng.below(12) {
        0 => name.to_uppercase(),
        1 => name[..1].to_uppercase() + &name[1..],
        _ => name.to_owned(),
    }
}

/// A file's text. Each key stands in it once, whatever its letter case: of two spellings Go takes a random one.
fn text(rng: &mut Rng, paths: &[String]) -> String {
    match rng.below(60) {
        0 => return (*rng.pick(&["[storage", "a b", "[storage]\ndriver=", "\u{1}"])).to_owned(),
        1..4 => return String::new(),
        _ => {}
    }
    let dotted = rng.chance(15);
    let mut out = String::new();
    for (table, keys, percent) in TABLES {
        let keys: Vec<_> = keys.iter().filter(|_| rng.chance(*percent)).collect();
        if keys.is_empty() {
            continue;
        }
        if !dotted {
            let header: Vec<String> = table.split('.').map(|name| respell(rng, name)).collect();
            out += &format!("[{}]\n", header.join("."));
        }
        for (name, kind) in keys {
            let value = match rng.below(250) {
                0 => (*rng.pick(WRONG)).to_owned(),
                _ => value(rng, *kind, paths),
            };
            let name = respell(rng, name);
            let prefix = if dotted { format!("{table}.") } else { String::new() };
            out += &format!("{prefix}{name} = {value} # set\n");
        }
    }
    out
}

fn drop_ins(rng: &mut Rng, dir: &Path, paths: &[String]) {
    for _ in 0..=rng.below(3) {
        let names =
            ["10-a.conf", "50-b.conf", "9.conf", "Z.conf", "a.conf", ".conf", "note.txt", "é.conf"];
        let path = dir.join(rng.pick(&names));
        fs::create_dir_all(dir).expect("mkdir");
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match rng.below(20) {
            0 => fs::create_dir(&path).expect("mkdir"),
            1 => symlink("nowhere", &path).expect("symlink"),
            2 => {
                let target = dir.join("target");
                write(&target, text(rng, paths).as_bytes());
                symlink("target", &path).expect("symlink");
            }
            _ => write(&path, text(rng, paths).as_bytes()),
        }
    }
}

/// Whose configuration a job loads.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Caller,
    /// The caller inside the user namespace of another user, by what the environment says.
    Recorded(u32),
    /// A process of that user.
    Other(u32),
}

/// Makes the files of the `n`th job in `dir`.
pub(crate) fn job(rng: &mut Rng, dir: &Path, n: usize, is_root: bool) -> Job {
    let who = match n % 8 {
        4 | 5 => Who::Recorded(*rng.pick(&[0, 7, 1000])),
        6 | 7 if is_root => Who::Other(*rng.pick(&[3_000_001, 3_000_002])),
        _ => Who::Caller,
    };
    let at = |name: &str| dir.join(name);
    for name in ["root", "home", "xdg", "data/deep", "run", "tmp"] {
        fs::create_dir_all(at(name)).expect("mkdir");
    }
    fs::set_permissions(at("tmp"), PermissionsExt::from_mode(0o777)).expect("chmod");
    symlink("data", at("link")).expect("symlink");
    symlink(at("link/deep"), at("data/far")).expect("symlink");
    let base = dir.to_str().expect("UTF-8");
    let paths: Vec<String> = [
        "",
        "/srv/store",
        "/srv//x/../store/",
        "rel/path",
        "$HOME/store",
        "${XDG_DATA_HOME}/s",
        "/srv/$UID/${UID}/$UIDX",
        "/srv/$UNSET/$VALUE${VALUE}x$VALUE",
        "~/store",
        "/srv/$",
        &format!("{base}/link"),
        &format!("{base}/link/deep/.."),
        &format!("{base}/data/far"),
        &format!("{base}/data/far/missing"),
        "$BASE/link/far/./",
    ]
    .map(str::to_owned)
    .into();

    let mut env: Vec<(String, OsString)> = Vec::new();
    let mut set = |name: &str, value: &Path| env.push((name.to_owned(), value.into()));
    set("HOME", &at("home"));
    set("BASE", dir);
    set("VALUE", Path::new("some/thing"));
    let mut user_dir = at("home/.config/containers");
    if rng.chance(30) {
        set("XDG_CONFIG_HOME", &at("xdg"));
        user_dir = at("xdg/containers");
    }
    if rng.chance(40) {
        set("XDG_DATA_HOME", Path::new(*rng.pick(&["", "/data/of//me/", "data"])));
    }
    if rng.chance(25) {
        set("STORAGE_DRIVER", Path::new(*rng.pick(&["", "vfs", "overlay2"])));
    }
    if rng.chance(15) {
        set(
            "STORAGE_OPTS",
            Path::new(*rng.pick(&["", "a=b", "overlay.size=1,vfs.sync=none", ","])),
        );
    }
    let uid = match who {
        Who::Caller => None,
        Who::Recorded(uid) => {
            set("_CONTAINERS_ROOTLESS_UID", Path::new(&uid.to_string()));
            if rng.chance(50) {
                set("_CONTAINERS_USERNS_CONFIGURED", Path::new("done"));
            }
            None
        }
        Who::Other(uid) => Some(uid),
    };
    // Without the variable Go makes directories below /run/user, if it may.
    if !matches!(who, Who::Other(_)) || rng.chance(50) {
        let run = if rng.chance(5) { "missing" } else { *rng.pick(&["run", "link"]) };
        set("XDG_RUNTIME_DIR", &at(run));
    } else {
        set("TMPDIR", &at("tmp"));
        let runtime = at(&format!("tmp/storage-run-{}", uid.unwrap_or(0)));
        match rng.below(5) {
            0 => fs::create_dir(&runtime).expect("mkdir"),
            1 => {
                fs::create_dir(&runtime).expect("mkdir");
                chown(&runtime, uid, None).expect("chown");
                fs::set_permissions(&runtime, PermissionsExt::from_mode(0o770)).expect("chmod");
            }
            _ => {}
        }
    }

    let root = at("root");
    let ranked = match who {
        Who::Recorded(uid @ 1..) | Who::Other(uid) => uid,
        _ => 0,
    };
    let mut dirs = vec![(user_dir.clone(), vec!["storage.conf.d".to_owned()])];
    for system in ["etc/containers", "usr/share/containers"] {
        dirs.push((
            root.join(system),
            vec![
                format!("storage.rootless.conf.d/{ranked}"),
                "storage.rootless.conf.d".to_owned(),
                "storage.rootful.conf.d".to_owned(),
                "storage.conf.d".to_owned(),
            ],
        ));
    }
    for (dir, below) in dirs {
        if rng.chance(45) {
            write(&dir.join("storage.conf"), text(rng, &paths).as_bytes());
        }
        for name in below {
            if rng.chance(30) {
                drop_ins(rng, &dir.join(name), &paths);
            }
        }
    }
    for (name, percent) in
        [("CONTAINERS_STORAGE_CONF", 12), ("CONTAINERS_STORAGE_CONF_OVERRIDE", 20)]
    {
        if rng.chance(percent) {
            let path = at(name);
            if !rng.chance(10) {
                write(&path, text(rng, &paths).as_bytes());
            }
            env.push((name.to_owned(), path.into()));
        }
    }
    Job { dir: dir.to_path_buf(), root, env, uid }
}
