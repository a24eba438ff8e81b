//! The same archive through our import and through the Go library: both make the same tree, digest and lists of ids, or both
//! refuse, but for the deviations on a list. `DIFFERENTIAL_SECONDS` runs it for longer, `SEED` with other archives.

mod deviations;
mod generate;
mod snapshot;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Cursor, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tar_split_rs::{Disassembler, Member};

use super::{OVERLAY, go, open_dir, options};
use crate::archive::{Whiteouts, import};
use deviations::{DEVIATIONS, Deviation, GLOBAL_NAMES};
use snapshot::{Tree, snapshot};

/// Archives that a change has to pass.
const CASES: u64 = 1500;

/// Larger archives are passed over: Go writes holes.
const LARGEST: u64 = 4 << 20;

/// What one side made of an archive.
#[derive(Debug)]
struct Accepted {
    tree: Tree,
    /// Digest, user ids and group ids.
    facts: String,
}

type Outcome = Result<Accepted, String>;

/// One archive, and what became of it.
struct Case {
    execute: bool,
    /// The members, as far as the archive is one.
    members: Vec<Member>,
    ours: Outcome,
    theirs: Outcome,
}

/// How long Go may take for an archive. Some it never finishes: it opens a fifo, and waits for who may write.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is said of those.
const NO_ANSWER: &str = "no answer";

/// The Go program, unpacking one archive after the other.
struct Go<'a> {
    program: &'a Path,
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl<'a> Go<'a> {
    fn start(program: &'a Path) -> Self {
        let mut child = Command::new(program)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, answers) = channel();
        // Ends with the program.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { program, requests: child.stdin.take().unwrap(), answers, child }
    }

    fn unpack(&mut self, tar: &[u8], dir: &Path, execute: bool) -> Result<String, String> {
        let command = if execute { "apply" } else { "unpack" };
        writeln!(self.requests, "{command} {} {}", tar.len(), dir.display()).unwrap();
        self.requests.write_all(tar).unwrap();
        self.requests.flush().unwrap();
        let Ok(line) = self.answers.recv_timeout(PATIENCE) else {
            assert!(self.child.try_wait().unwrap().is_none(), "the Go program has ended");
            *self = Self::start(self.program);
            return Err(NO_ANSWER.to_owned());
        };
        match line.split_once(' ') {
            Some(("ok", facts)) => Ok(facts.to_owned()),
            Some(("error", why)) => Err(why.to_owned()),
            _ => panic!("Go says {line:?}"),
        }
    }
}

impl Drop for Go<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours(tar: &[u8], dir: &Path, execute: bool) -> Result<String, String> {
    let root = open_dir(dir);
    let whiteouts = if execute { Whiteouts::Execute } else { OVERLAY };
    let mut split = Vec::new();
    let facts = import(&mut Cursor::new(tar), root.as_fd(), &options(whiteouts), Some(&mut split))
        .map_err(|e| e.to_string())?;
    let list = |ids: &std::collections::BTreeSet<u32>| {
        let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
        format!("[{}]", ids.join(" "))
    };
    Ok(format!("{} {} {}", facts.diff_digest, list(&facts.uids), list(&facts.gids)))
}

/// The members up to the first that is none, and the bytes that their files would have.
fn members(tar: &[u8]) -> (Vec<Member>, u64) {
    let mut parts = Disassembler::new(tar, std::io::sink());
    let mut members = Vec::new();
    let mut size = 0u64;
    while let Ok(Some(member)) = parts.next_member() {
        size = size.saturating_add(member.size);
        members.push(member);
    }
    (members, size)
}

/// Both sides on one archive; `None` if that takes too much room.
fn run(go: &mut Go<'_>, tar: &[u8], execute: bool) -> Option<Case> {
    let (members, size) = members(tar);
    if size > LARGEST {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let accepted = |name: &str, unpack: &mut dyn FnMut(&Path) -> Result<String, String>| {
        let root = dir.path().join(name);
        std::fs::create_dir(&root).unwrap();
        let facts = unpack(&root)?;
        Ok(Accepted { tree: snapshot(&root), facts })
    };
    let ours = accepted("ours", &mut |root| ours(tar, root, execute));
    let theirs = accepted("theirs", &mut |root| go.unpack(tar, root, execute));
    let case = Case { execute, members, ours, theirs };
    // Not every tree is shallow enough for the one who made the folder.
    crate::sys::remove::remove_tree(dir.path()).unwrap();
    Some(case)
}

/// What differs, in words; `None` if nothing does.
fn difference(case: &Case) -> Option<String> {
    let (ours, theirs) = match (&case.ours, &case.theirs) {
        (Err(_), Err(_)) => return None,
        (Ok(_), Err(why)) => return Some(format!("only Go refuses it: {why}")),
        (Err(why), Ok(_)) => return Some(format!("only we refuse it: {why}")),
        (Ok(ours), Ok(theirs)) => (ours, theirs),
    };
    let mut text = String::new();
    if ours.facts != theirs.facts {
        let _ = writeln!(text, "facts {} are in Go {}", ours.facts, theirs.facts);
    }
    let paths: std::collections::BTreeSet<_> = ours.tree.keys().chain(theirs.tree.keys()).collect();
    for path in paths {
        let (a, b) = (ours.tree.get(path), theirs.tree.get(path));
        if a != b {
            let _ = writeln!(text, "{}: {a:?}\n  in Go {b:?}", path.escape_ascii());
        }
    }
    Some(text).filter(|text| !text.is_empty())
}

/// How often each deviation was met, and how often each outcome.
#[derive(Default)]
struct Tally {
    met: BTreeMap<&'static str, u64>,
    accepted: u64,
    refused: u64,
}

impl Tally {
    fn check(&mut self, go: &mut Go<'_>, label: &str, tar: &[u8], execute: bool) {
        let Some(mut case) = run(go, tar, execute) else { return };
        if case.ours.is_ok() {
            self.accepted += 1;
        } else {
            self.refused += 1;
        }
        if difference(&case).is_none() {
            return;
        }
        // Each deviation takes out of the case what it explains.
        for deviation in DEVIATIONS {
            if (deviation.explain)(&mut case) {
                *self.met.entry(deviation.name).or_default() += 1;
                if deviation.name == GLOBAL_NAMES
                    && let Some(other) = generate::without_global_names(tar)
                {
                    // This one explains anything; so it must be those names that make the difference.
                    self.check(
                        go,
                        &format!("{label} without names of global headers"),
                        &other,
                        execute,
                    );
                }
            }
        }
        if let Some(rest) = difference(&case) {
            let file =
                std::env::temp_dir().join(format!("orlop-differs-{}.tar", std::process::id()));
            std::fs::write(&file, tar).unwrap();
            let mode = if execute { "apply" } else { "unpack" };
            panic!("{label} ({mode}, kept as {}):\n{rest}", file.display());
        }
    }
}

/// The files of a folder of the fuzzer's corpus.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn archives_are_unpacked_as_by_go() {
    let Some(program) = go() else { return };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: unpacking as Go does takes root");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or(1);
    let mut go = Go::start(program);
    let mut tally = Tally::default();
    for deviation in DEVIATIONS {
        let before = tally.met.get(deviation.name).copied().unwrap_or(0);
        tally.check(&mut go, deviation.name, &(deviation.example)(), deviation.execute);
        let met = tally.met.get(deviation.name).copied().unwrap_or(0) > before;
        let Deviation { name, spec, reason, .. } = deviation;
        assert!(met, "{name} ({spec}) is no deviation any more: {reason}");
    }
    for target in ["tar-unpack", "tar-split"] {
        for (label, tar) in corpus(target) {
            for execute in [false, true] {
                tally.check(&mut go, &label, &tar, execute);
            }
        }
    }
    // From here on: on some of the corpus's archives Go has to be waited for.
    let end = number("DIFFERENTIAL_SECONDS")
        .and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut cases = 0;
    while end.map_or(cases < CASES, |end| Instant::now() < end) {
        cases += 1;
        let tar = generate::archive(seed.wrapping_mul(1 << 32).wrapping_add(cases));
        let label = format!("archive {cases} of seed {seed}");
        tally.check(&mut go, &label, &tar, cases % 4 == 0);
    }
    assert!(cases > 0, "no random archive was tried");
    let Tally { met, accepted, refused } = tally;
    println!("{cases} random archives; {accepted} in all were accepted, {refused} refused");
    for (name, count) in &met {
        println!("{count:7} {name}");
    }
    assert!(accepted * 5 > accepted + refused, "most archives are refused: {accepted}, {refused}");
    assert!(refused * 50 > accepted, "next to nothing is refused: {accepted}, {refused}");
}
