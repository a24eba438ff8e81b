//! Generated configurations are loaded here and by the Go library: the options must be equal, or both must refuse.
//!
//! The Go side is `tests/go/config`. The seed is fixed, so a failure comes back; its message names the files' directory's
//! contents.

#![allow(clippy::expect_used, reason = "all of this crate is a test")]

mod config_differential {
    pub(crate) mod directed;
    pub(crate) mod generate;
}

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use config_differential::generate::{Job, Rng};
use config_differential::{directed, generate};
use orlop::config::{self, AutoUserNs, Environment, Files, Node, RealFiles, StoreOptions, User};
use serde_json::Value;

const RANDOM_JOBS: usize = 400;

/// The real files, but nothing is made: what the Go process, of another user, could not make must not come to be.
struct Untouched(RealFiles);

impl Files for Untouched {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.0.read(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Option<Vec<std::ffi::OsString>>> {
        self.0.list(dir)
    }
    fn node(&self, path: &Path) -> io::Result<Node> {
        self.0.node(path)
    }
    fn make_private_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn system_path(&self, path: &Path) -> PathBuf {
        self.0.system_path(path)
    }
}

/// Builds the Go program; the reason if that cannot be done here.
fn build_go(into: &Path) -> Result<PathBuf, String> {
    let program = into.join("loadconfig");
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/config"))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly")
        .output()
        .map_err(|e| format!("go cannot be run: {e}"))?;
    if output.status.success() {
        Ok(program)
    } else {
        Err(format!("go build: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// What Go says: the options or its error.
fn load_in_go(program: &Path, job: &Job) -> Result<StoreOptions, String> {
    let mut command = Command::new(program);
    command.arg(&job.root).env_clear().envs(job.env.iter().map(|(k, v)| (k, v)));
    if let Some(uid) = job.uid {
        command.uid(uid).gid(uid);
    }
    let output = command.output().expect("running the Go program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON of the Go program");
    match answer.get("options") {
        Some(options) => Ok(from_go(options)),
        None => Err(answer["error"].as_str().expect("an error").to_owned()),
    }
}

fn from_go(json: &Value) -> StoreOptions {
    let mut fields = json.as_object().expect("an object").clone();
    let mut take = |name: &str| fields.remove(name).unwrap_or(Value::Null);
    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: Value| -> Vec<String> {
        serde_json::from_value::<Option<_>>(value).expect("strings").unwrap_or_default()
    };
    let number = |value: Value| value.as_u64().unwrap_or(0).try_into().expect("32 bits");
    let pull_options: Option<BTreeMap<String, String>> =
        serde_json::from_value(take("PullOptions")).expect("a map");
    let image_store = text(take("imagestore"));
    let options = StoreOptions {
        run_root: text(take("runroot")).into(),
        graph_root: text(take("root")).into(),
        image_store: Some(image_store).filter(|s| !s.is_empty()).map(PathBuf::from),
        driver: text(take("driver")),
        dialect: None,
        driver_priority: list(take("driver-priority")),
        driver_options: list(take("driver-options")),
        pull_options: pull_options.unwrap_or_default(),
        auto_user_ns: AutoUserNs {
            root_user: text(take("root_auto_ns_user")),
            min_size: number(take("auto_userns_min_size")),
            max_size: number(take("auto_userns_max_size")),
        },
        uid_map: Vec::new(),
        gid_map: Vec::new(),
        disable_volatile: take("disable-volatile").as_bool().unwrap_or(false),
        transient_store: take("transient_store").as_bool().unwrap_or(false),
    };
    assert!(fields.is_empty(), "fields of Go that are not compared: {fields:?}");
    options
}

fn load_here(job: &Job) -> Result<StoreOptions, String> {
    let env: Environment = job.env.iter().map(|(k, v)| (k, v)).collect();
    let mut user = User::of_process(&env);
    if let Some(uid) = job.uid {
        // As User::of_process would find it in a process of that user, who has no passwd entry.
        let home = env.non_empty("HOME").map(PathBuf::from);
        user = User { uid, rootless_uid: uid, is_rootless: true, home };
    }
    let files = Untouched(RealFiles { alternate_root: Some(job.root.clone()) });
    match config::load(&files, &env, &user) {
        Ok(loaded) => {
            let sources = loaded.provenance.driver_options.len();
            assert_eq!(sources, loaded.options.driver_options.len(), "one source for each option");
            Ok(loaded.options)
        }
        Err(e) => Err(e.to_string()),
    }
}

/// Whether our error names the file and line that Go's names, if it is about a value of the wrong type.
fn points_at_the_same(theirs: &str, ours: &str) -> bool {
    let Some((place, _)) = theirs.split_once(" (last key ") else { return true };
    let Some((file, line)) = place.split_once(": toml: ") else { return true };
    let file = file.trim_start_matches("decode configuration ");
    ours.contains(file) && ours.contains(&format!(" {line}:"))
}

fn describe(job: &Job) -> String {
    let mut text = format!("uid {:?}, environment {:#?}\n", job.uid, job.env);
    let mut dirs = vec![job.dir.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("listing the job").flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                _ => {
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    let path = entry.path();
                    text += &format!("--- {path:?}\n{}\n", String::from_utf8_lossy(&bytes));
                }
            }
        }
    }
    text
}

#[test]
fn options_equal_those_of_the_go_loader() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    // Other users' processes walk through it.
    std::fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    let program = match build_go(temp.path()) {
        Ok(program) => program,
        Err(reason) => {
            assert_ne!(std::env::var_os("CI"), Some("true".into()), "{reason}");
            println!("skipped: {reason}");
            return;
        }
    };
    let is_root = rustix::process::geteuid().is_root();
    let mut rng = Rng::new(0x6f72_6c6f_7031);
    let mut jobs = directed::jobs(&temp.path().join("directed"));
    jobs.extend(
        (0..RANDOM_JOBS)
            .map(|n| generate::job(&mut rng, &temp.path().join(n.to_string()), n, is_root)),
    );
    let (mut accepted, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for job in &jobs {
        // Go first: it makes the runtime directory that both then use.
        let theirs = load_in_go(&program, job);
        let ours = load_here(job);
        match (&theirs, &ours) {
            (Ok(a), Ok(b)) if a == b => accepted += 1,
            (Err(a), Err(b)) if points_at_the_same(a, b) => refused += 1,
            _ => differences.push(format!("Go: {theirs:#?}\nhere: {ours:#?}\n{}", describe(job))),
        }
    }
    println!(
        "{} configurations compared: {accepted} accepted by both, {refused} refused by both",
        jobs.len()
    );
    let shown = differences.iter().take(3).cloned().collect::<Vec<_>>().join("\n=====\n");
    assert!(differences.is_empty(), "{} differences:\n{shown}", differences.len());
    assert!(accepted >= 200 && refused >= 20, "too few of one kind to say much");
}
