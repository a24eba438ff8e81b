//! A store of its own for each test, and programs run on it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The program under test.
pub const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A temporary store, and the program that works on it.
pub struct Sandbox {
    dir: TempDir,
    program: PathBuf,
    driver: &'static str,
    env: Vec<(&'static str, &'static str)>,
}

impl Sandbox {
    /// An empty store of the driver, for `program`.
    pub fn new(program: impl AsRef<Path>, driver: &'static str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("storage.conf"), "").unwrap();
        Self { dir, program: program.as_ref().to_path_buf(), driver, env: Vec::new() }
    }

    /// An empty store of the simplest driver, for orlop.
    pub fn vfs() -> Self {
        Self::new(ORLOP, "vfs")
    }

    /// Sets an environment variable for what runs from now on.
    pub fn with_env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    /// The folder that holds the roots, `g` and `r`.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file with that content in the sandbox.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs the program with the words of `line`; `''` is an empty word.
    pub fn run(&self, line: &str) -> Run {
        self.run_with(line, b"")
    }

    /// Runs the program with that standard input.
    pub fn run_with(&self, line: &str, stdin: &[u8]) -> Run {
        let output = self.output(line, stdin);
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// As [`Sandbox::run_with`], with the bytes as they are.
    pub fn output(&self, line: &str, stdin: &[u8]) -> Output {
        let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
        let (graph, run) = (self.path().join("g"), self.path().join("r"));
        let roots = [
            OsStr::new("-g"),
            graph.as_os_str(),
            OsStr::new("-R"),
            run.as_os_str(),
            OsStr::new("-s"),
            OsStr::new(self.driver),
        ];
        let mut command = Command::new(&self.program);
        command.args(roots).args(words.map(OsStr::new)).envs(self.env.iter().copied());
        start(command.env("CONTAINERS_STORAGE_CONF", self.path().join("storage.conf")), stdin)
    }

    /// Runs and demands success; returns standard output.
    pub fn ok(&self, line: &str) -> String {
        self.ok_with(line, b"")
    }

    /// Runs with that standard input and demands success; returns standard output.
    pub fn ok_with(&self, line: &str, stdin: &[u8]) -> String {
        let run = self.run_with(line, stdin);
        assert_eq!(run.code, 0, "{line}: {run:?}");
        run.stdout
    }

    /// Runs and demands that it fails with code 1 and says `phrase` on standard error in one line.
    pub fn fails(&self, line: &str, phrase: &str) -> Run {
        let run = self.run(line);
        assert_eq!(run.code, 1, "{line}: {run:?}");
        assert!(run.stderr.contains(phrase), "{line}: {run:?} lacks {phrase:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{line}: {run:?}");
        run
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Unmounts what is mounted; the second one finds nothing mounted and lets go of the driver's home.
        self.output("shutdown -f", b"");
        self.output("shutdown -f", b"");
        let home = self.path().join("g").join(self.driver);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if mounts.contains(home.to_str().unwrap_or("\0")) {
            let _ = Command::new("umount").arg("-R").arg(&home).output();
        }
    }
}

/// Runs a program by itself, without any root or configuration.
pub fn bare(words: &[&str]) -> Run {
    let output = start(Command::new(ORLOP).args(words), b"");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn start(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    // A program that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// A tar stream of regular files; a name that ends in `/` makes a directory.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (name, content) in files {
        let directory = name.ends_with('/');
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, name);
        put(100, if directory { "0000755\0" } else { "0000644\0" });
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", content.len()));
        put(136, "14000000000\0");
        put(148, "        ");
        put(156, if directory { "5" } else { "0" });
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        stream.extend_from_slice(&header);
        stream.extend_from_slice(content);
        stream.resize(stream.len().next_multiple_of(512), 0);
    }
    stream.resize(stream.len() + 1024, 0);
    stream
}

/// A docker archive with one image of one layer, named `first:1`.
pub fn docker_archive(sandbox: &Sandbox) -> String {
    let layer = tar(&[("etc/", b""), ("etc/motd", b"hello")]);
    let record = sandbox.ok_with("import-layer -j -i measured", &layer);
    let digest = record.split("\"diff-digest\":\"").nth(1).and_then(|rest| rest.get(..71)).unwrap();
    sandbox.ok("delete-layer measured");
    let config = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{digest}\"]}}}}"
    );
    let manifest =
        "[{\"Config\":\"config.json\",\"RepoTags\":[\"first:1\"],\"Layers\":[\"layer.tar\"]}]";
    let archive = tar(&[
        ("config.json", config.as_bytes()),
        ("layer.tar", &layer),
        ("manifest.json", manifest.as_bytes()),
    ]);
    sandbox.file("first.tar", &archive)
}
