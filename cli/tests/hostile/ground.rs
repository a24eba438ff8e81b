//! A store on the kernel's overlay, what stands around it, and the command that is to leave the latter alone.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

/// Far longer than anything here takes: what does not end is found.
const SECONDS: &str = "60";

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// That it was refused, by one line that has each of the words, and not by a crash.
    pub fn check_refusal(&self, words: &[&str]) -> Result<(), String> {
        let lacks = words.iter().find(|word| !self.stderr.contains(**word));
        // A line that begins so is the log's, of what was passed over on the way.
        let lines = self.stderr.lines().filter(|l| !l.starts_with("time=")).count();
        match lacks {
            _ if self.code != 1 => Err(format!("not refused: {self:?}")),
            Some(word) => Err(format!("the refusal lacks {word:?}: {self:?}")),
            None if lines != 1 => Err(format!("not refused in one line: {self:?}")),
            None => Ok(()),
        }
    }
}

/// A folder of its own: the store's roots are `g` and `r`, and `outside` is what nothing may change.
pub struct Ground {
    dir: TempDir,
    driver: &'static str,
    /// Whether the modes of files are no matter for the command, as for root they are not.
    unhindered: bool,
    /// How many files the command may have open.
    files: Option<u64>,
    /// Whether the store below `outside/medium` is an additional one.
    beside: bool,
}

impl Ground {
    /// A ground without a store; `None`, having said why, where none can be made.
    pub fn new() -> Option<Self> {
        Self::of("overlay")
    }

    /// The same, for a store of this driver.
    pub fn of(driver: &'static str) -> Option<Self> {
        let dir = folder();
        if dir.path().metadata().unwrap().uid() != 0 {
            println!("skipped: mounting an overlay needs root");
            return None;
        }
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/canary"), "untouched").unwrap();
        fs::write(dir.path().join("storage.conf"), "").unwrap();
        Some(Self { dir, driver, unhindered: true, files: None, beside: false })
    }

    /// A store with one layer, and the directories and locks that come with the first ones.
    pub fn seed(&self) {
        let seed = self.file("seed.tar", &crate::tar::files(&[("seed", b"")]));
        self.ok(&format!("import-layer -i seed -r -f {seed}"));
        self.ok("create-layer -i gone");
        self.ok("delete-layer gone");
    }

    /// A copy of this ground with all that is in it.
    pub fn copy(&self) -> Self {
        let dir = folder();
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto", "--"]).arg(self.path(".")).arg(dir.path());
        assert!(copy.status().unwrap().success(), "{copy:?}");
        Self { dir, driver: self.driver, unhindered: true, files: None, beside: self.beside }
    }

    /// Whether the command has, from now on, no right to pass over the modes of files.
    pub fn hinder(&mut self, yes: bool) {
        self.unhindered = !yes;
    }

    /// From now on the store is in `g` and `r`, and what was there is an additional one outside.
    pub fn publish(&mut self) {
        let medium = self.path("outside/medium");
        fs::rename(self.path("g"), &medium).unwrap();
        fs::remove_dir_all(self.path("r")).unwrap();
        self.beside = true;
    }

    /// How many files the command may have open from now on.
    pub fn limit_files(&mut self, files: Option<u64>) {
        self.files = files;
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// A file with that content beside the store, by its path.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs the words of `line`.
    pub fn run(&self, line: &str) -> Run {
        let words = self.words(line);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        self.finish(command)
    }

    /// The whole command of the words of `line`.
    fn words(&self, line: &str) -> Vec<String> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let (graph, run) = (text(self.path("g")), text(self.path("r")));
        let medium = format!("overlay.imagestore={}", text(self.path("outside/medium")));
        let files = self.files.map(|files| format!("--nofile={files}"));
        let rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
        let rights = rights.into_iter().filter(|_| !self.unhindered);
        let limit = ["timeout", "--kill-after=5", SECONDS].into_iter().chain(rights);
        let files = files.iter().flat_map(|files| ["prlimit", files]);
        let fixed = [ORLOP, "-g", &graph, "-R", &run, "-s", self.driver];
        // The copies of a ground would otherwise have to unmount their homes.
        let option = ["--storage-opt", "overlay.skip_mount_home=true"];
        let option = option.into_iter().filter(|_| self.driver == "overlay");
        let medium = ["--storage-opt", &medium].into_iter().filter(|_| self.beside);
        let words = limit.chain(files).chain(fixed).chain(option).chain(medium);
        words.chain(line.split_whitespace()).map(str::to_owned).collect()
    }

    fn finish(&self, mut command: Command) -> Run {
        command.env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"));
        let output = command.output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs, and tells the most memory that was needed, in KiB.
    pub fn measured(&self, line: &str) -> (u64, Run) {
        let script = "import resource, subprocess, sys\n\
            code = subprocess.run(sys.argv[2:]).returncode\n\
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n\
            open(sys.argv[1], 'w').write(str(peak))\n\
            sys.exit(code)";
        let peak = self.path("peak");
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(&peak).args(self.words(line)).stdin(Stdio::null());
        let run = self.finish(command);
        let kib = fs::read_to_string(&peak).unwrap().parse().unwrap();
        fs::remove_file(peak).unwrap();
        (kib, run)
    }

    /// Runs and demands success; returns standard output without its last end of line.
    pub fn ok(&self, line: &str) -> String {
        let run = self.run(line);
        assert_eq!(run.code, 0, "{line}: {run:?}");
        run.stdout.trim_end().to_owned()
    }

    /// Runs and demands a refusal with these words that leaves nothing behind, in the store or around it.
    pub fn refuses(&self, line: &str, words: &[&str]) {
        let before = snapshot(&self.path("."));
        let run = self.run(line);
        run.check_refusal(words).unwrap_or_else(|why| panic!("{line}: {why}"));
        assert_same(&before, &snapshot(&self.path(".")), line);
        // No lock is held either: what needs all of them goes through.
        self.ok("create-layer -i after-the-refusal");
        self.ok("delete-layer after-the-refusal");
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
        let mut ours: Vec<_> = points.filter(|point| point.starts_with(self.dir.path())).collect();
        ours.reverse();
        for point in ours {
            let _ = Command::new("umount").arg("-l").arg(point).output();
        }
    }
}

/// Where syncing costs nothing, if there is such a place; not below /tmp, which may be an overlay itself.
fn folder() -> TempDir {
    let places = ["/dev/shm", "/var/tmp"].map(Path::new);
    let place = places.iter().find(|place| place.is_dir()).unwrap();
    tempfile::Builder::new().prefix("hostile-").tempdir_in(place).unwrap()
}

/// Everything below a folder but what lock files hold, and the locks of digests, which stay in the run root (`store-format.md`
/// 9.3): kind, mode, owner and content by path.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            if entry.file_name() == "overlay-locks" {
                continue;
            }
            if meta.is_dir() {
                waiting.push(path.clone());
            }
            all.insert(path.clone(), look(&path, &meta));
        }
    }
    all
}

/// One file or link as text; a directory's content is another matter.
pub fn state(path: &Path) -> String {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => "a directory".to_owned(),
        Ok(meta) => look(path, &meta),
        Err(_) => "missing".to_owned(),
    }
}

fn look(path: &Path, meta: &fs::Metadata) -> String {
    let content = if meta.is_symlink() {
        fs::read_link(path).unwrap().to_string_lossy().into_owned()
    } else if meta.is_file() && path.extension() != Some(OsStr::new("lock")) {
        fs::read(path).map_or_else(|e| e.to_string(), |bytes| text_of(&bytes))
    } else {
        String::new()
    };
    // A directory has a link for each one in it, which are looked at for themselves.
    let links = if meta.is_dir() { 0 } else { meta.nlink() };
    format!("{:o} {}:{} {links} {content:?}", meta.mode(), meta.uid(), meta.gid())
}

/// Short contents as they are, long ones by their hash.
fn text_of(bytes: &[u8]) -> String {
    if bytes.len() < 1 << 14 {
        return bytes.escape_ascii().to_string();
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{} bytes with the hash {:x}", bytes.len(), hasher.finish())
}

/// That two snapshots are the same.
pub fn assert_same(
    before: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
    what: &str,
) {
    for (path, look) in before {
        assert_eq!(after.get(path), Some(look), "{path:?} after {what}");
    }
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(new.is_empty(), "{new:?} came with {what}");
}

/// The digest of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

/// A docker archive of one image with these layers.
pub fn docker_archive(ground: &Ground, name: &str, layers: &[Vec<u8>]) -> String {
    let quoted = |items: Vec<String>| {
        items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(",")
    };
    let diffs = quoted(layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect());
    let files = quoted((0..layers.len()).map(|n| format!("{n}.tar")).collect());
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{diffs}]}}}}"#
    );
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":[{files}]}}]"#);
    let names: Vec<String> = (0..layers.len()).map(|n| format!("{n}.tar")).collect();
    let mut members: Vec<(&str, &[u8])> =
        vec![("config.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())];
    members.extend(names.iter().zip(layers).map(|(name, layer)| (name.as_str(), layer.as_slice())));
    ground.file("image.tar", &crate::tar::files(&members))
}
