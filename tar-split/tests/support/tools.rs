//! Other implementations: tar writers of the machine, and Go's reader and writer of the format.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Contents;

/// Whether a program is there; a test that needs it says so and is over, but fails where everything must be there.
pub(crate) fn have(program: &str, argument: &str) -> bool {
    if Command::new(program).arg(argument).output().is_ok_and(|out| out.status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{program} is missing");
    println!("skipped: no {program} on this machine");
    false
}

pub(crate) fn run(command: &mut Command) {
    let out = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {stderr}");
}

/// The Go program of `tests/go`, waiting for commands.
pub(crate) struct Go {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Go {
    pub(crate) fn start() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tarsplit");
        run(Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(source));
        let mut process =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, commands, answers, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&mut self, fields: &[&str]) -> Result<(), String> {
        writeln!(self.commands.as_mut().unwrap(), "{}", fields.join("\t")).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        match answer.trim_end() {
            "ok" => Ok(()),
            error => Err(error.to_owned()),
        }
    }

    /// The log that Go makes of a stream.
    pub(crate) fn disassemble(&mut self, tar: &[u8]) -> Result<Vec<u8>, String> {
        let (tar_path, log_path) = (self.path("in.tar"), self.path("out.log"));
        fs::write(&tar_path, tar).unwrap();
        self.command(&["disassemble", tar_path.to_str().unwrap(), log_path.to_str().unwrap()])?;
        Ok(fs::read(log_path).unwrap())
    }

    /// The stream that Go makes of a log.
    pub(crate) fn assemble(&mut self, log: &[u8], contents: &Contents) -> Result<Vec<u8>, String> {
        let paths = [self.path("in.log"), self.path("in.pack"), self.path("out.tar")];
        fs::write(&paths[0], log).unwrap();
        let mut pack = Vec::new();
        for item in contents.iter().flat_map(|(name, content)| [name, content]) {
            pack.extend((item.len() as u64).to_be_bytes());
            pack.extend(item);
        }
        fs::write(&paths[1], pack).unwrap();
        let [log, pack, tar] = paths.each_ref().map(|path| path.to_str().unwrap());
        self.command(&["assemble", log, pack, tar])?;
        Ok(fs::read(tar).unwrap())
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        drop(self.commands.take()); // its end of input, at which it exits
        let _ = self.process.wait();
    }
}

/// Writes streams with Python's `tarfile`: the formats it knows, and what GNU tar needs a real file for.
const PYTHON: &str = r#"
import io, sys, tarfile
formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
for name, format in formats.items():
    pax = format == tarfile.PAX_FORMAT
    options = {"pax_headers": {"comment": "global", "mtime": "5.5"}} if pax else {}
    with tarfile.open(f"{sys.argv[1]}/python-{name}.tar", "w", format=format, errors="surrogateescape", **options) as t:
        def add(name, content=b"", type=tarfile.REGTYPE, **fields):
            m = tarfile.TarInfo(name)
            m.size, m.type = len(content), type
            for key, value in fields.items():
                setattr(m, key, value)
            t.addfile(m, io.BytesIO(content))
        add("a<b>&c\"\\", b"1")
        add("bell\x07\x08\x0c\x7f", b"2")
        add("umlaut-\u00e4\u2028", b"3")
        add(b"latin-\xe4".decode("utf-8", "surrogateescape"), b"4")
        add("p" * 90 + "/" + "n" * 90, b"5")
        add("dir/", type=tarfile.DIRTYPE)
        add("hard", type=tarfile.LNKTYPE, linkname="dir/x")
        add("soft", type=tarfile.SYMTYPE, linkname="../nowhere")
        add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("loop", type=tarfile.BLKTYPE, devmajor=7, devminor=0)
        add("fifo", type=tarfile.FIFOTYPE)
        add("contiguous", b"6" * 600, type=tarfile.CONTTYPE)
        add("empty")
        add("zeros", bytes(1500))
        if name != "ustar":
            add("n" * 5000, b"7")
            add("link-to-long", type=tarfile.SYMTYPE, linkname="t" * 3000)
            add("big-ids", b"8", uid=4294967294, gid=2**40)
        if pax:
            add("times", b"9", mtime=-1.25)
            add("xattrs", b"0", pax_headers={"SCHILY.xattr.user.a": "v", "atime": "1.5"})
"#;

/// Streams by GNU tar and Python, by name.
pub(crate) fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let tree = folder.path().join("tree");
    make_tree(&tree);
    fs::create_dir(&out).unwrap();
    let tar = |name: &str, arguments: &[&str]| {
        let mut command = Command::new("tar");
        command.current_dir(&tree).arg("-cf").arg(out.join(format!("gnu-{name}.tar")));
        run(command.args(["--sort=name", "--numeric-owner"]).args(arguments));
    };
    tar("v7", &["--format", "v7", "--exclude", "fifo", "./common"]);
    for format in ["oldgnu", "gnu", "ustar", "pax"] {
        tar(format, &["--format", format, "./common"]);
    }
    for format in ["oldgnu", "gnu", "pax"] {
        tar(&format!("long-{format}"), &["--format", format, "common", "long"]);
    }
    tar("absolute", &["-P", "--transform", "s,^common,/abs/../common,", "common"]);
    tar("label", &["--format", "gnu", "-V", "a label", "common"]);
    tar("incremental", &["--format", "gnu", "-g", "../snapshot", "common"]);
    tar("sparse-old", &["--format", "gnu", "-S", "sparse"]);
    for version in ["0.0", "0.1", "1.0"] {
        let option = format!("--sparse-version={version}");
        tar(&format!("sparse-pax-{version}"), &["--format", "pax", "-S", &option, "sparse"]);
    }
    run(Command::new("python3").args(["-c", PYTHON]).arg(&out));
    let mut corpus: Vec<_> = fs::read_dir(out)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    corpus.sort();
    corpus
}

fn make_tree(tree: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let common = tree.join("common");
    fs::create_dir_all(common.join("dir/sub")).unwrap();
    fs::write(common.join("hello"), "hello\n").unwrap();
    fs::write(common.join("dir/empty"), "").unwrap();
    fs::write(common.join("dir/block"), [7; 512]).unwrap();
    fs::write(common.join("dir/sub/large"), b"0123456789".repeat(300_001)).unwrap();
    fs::write(common.join(std::ffi::OsStr::from_bytes(b"latin-\xe4")), "ae").unwrap();
    fs::write(common.join("html <&> \u{2028}"), "h").unwrap();
    fs::hard_link(common.join("hello"), common.join("hello-again")).unwrap();
    std::os::unix::fs::symlink("dir/../hello", common.join("soft")).unwrap();
    run(Command::new("mkfifo").arg(common.join("fifo")));
    let long = tree.join("long").join("d".repeat(200));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("f".repeat(200)), "long").unwrap();
    std::os::unix::fs::symlink("t".repeat(400), long.join("link")).unwrap();
    let sparse = tree.join("sparse");
    fs::create_dir_all(&sparse).unwrap();
    for (name, pieces) in [("few", 2u64), ("many", 60), ("none", 0)] {
        let file = fs::File::create(sparse.join(name)).unwrap();
        for i in 0..pieces {
            std::os::unix::fs::FileExt::write_all_at(&file, b"data", i * 65536 + 4096).unwrap();
        }
        file.set_len(pieces * 65536 + 300_000).unwrap();
    }
    fs::write(sparse.join("not"), "dense").unwrap();
}
