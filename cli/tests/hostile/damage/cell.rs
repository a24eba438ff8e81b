//! One cell: the damage, the steps, and what they must leave alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::store::Template;
use super::{Damage, Deviations, Step, Subject};
use crate::ground::{Ground, Run, snapshot, state};

/// Runs the cell; returns what is wrong.
pub fn run(
    template: &Template,
    subject: &Subject,
    damage: Damage,
    deviations: Deviations,
) -> Vec<String> {
    let mut ground = template.ground.copy();
    let file = ground.path(&template.fill(subject.file, &ground));
    hurt(&file, damage, template, &ground);
    let hurt = state(&file);
    let outside = snapshot(&ground.path("outside"));
    let mut failures = Vec::new();
    let mut fail = |step: &str, why: String| {
        failures.push(format!("{} {damage:?}: {step}: {why}", subject.file));
    };
    let expected =
        |step: Step| deviations.iter().find(|(s, _)| *s == step).map_or("", |(_, words)| words);

    let neighbour = match damage {
        // To write to an overlay takes the right to pass over modes: the kernel's own working directory has none.
        Damage::Closed if template.mounts => "diff -u -f /dev/null solo",
        _ => "mount keep; unmount keep; diff -u -f /dev/null solo",
    };
    let steps = [
        (Step::Layers, "layers -q", template.counts[0]),
        (Step::Images, "images", template.counts[1]),
        (Step::Containers, "containers", template.counts[2]),
        (Step::Use, subject.usage, ""),
        (Step::Neighbour, neighbour, ""),
        (Step::Write, subject.write, ""),
        (Step::Delete, subject.delete, ""),
    ];
    for (step, lines, usual) in steps {
        // Who writes is root indeed: to be moved out of the way, a directory must be one's own to write.
        let reads = !matches!(step, Step::Write | Step::Delete);
        ground.hinder(reads && matches!(damage, Damage::Closed));
        if step == Step::Delete {
            let now = state(&file);
            if now != hurt && expected(Step::Afterwards) != "rebuilt" {
                fail("afterwards", format!("{hurt} became {now}"));
            } else if now == hurt && expected(Step::Afterwards) == "rebuilt" {
                fail("afterwards", "it was not rebuilt".to_owned());
            }
        }
        let words = match expected(step) {
            "" => usual,
            words => words,
        };
        let (lines, words) = (template.fill(lines, &ground), template.fill(words, &ground));
        if let Err(why) = attempt(&ground, &lines, &words) {
            fail(&format!("{step:?}"), why);
        } else if step == Step::Delete && words.is_empty() {
            // It is gone, so that it cannot be deleted again.
            let again = lines.rsplit(';').next().unwrap_or_default();
            if let Err(why) = ground.run(again).check_refusal(&[]) {
                fail("Delete again", why);
            }
        }
    }
    // What the deletion leaves is as good as before.
    ground.hinder(matches!(damage, Damage::Closed));
    for (step, line) in
        [(Step::Layers, "layers -q"), (Step::Images, "images"), (Step::Containers, "containers")]
    {
        let refused = expected(step).trim_start_matches(template.counts[0]);
        let words = if refused.starts_with('=') { "" } else { refused };
        if let Err(why) = attempt(&ground, line, words) {
            fail(&format!("{step:?} in the end"), why);
        }
    }
    if expected(Step::Neighbour).is_empty()
        && let Err(why) = attempt(&ground, neighbour, "")
    {
        fail("Neighbour in the end", why);
    }
    if snapshot(&ground.path("outside")) != outside {
        fail("outside", format!("{outside:?} became {:?}", snapshot(&ground.path("outside"))));
    }
    failures
}

/// Runs the lines; the words say what is to come of it.
fn attempt(ground: &Ground, lines: &str, words: &str) -> Result<(), String> {
    let mut last = Run { code: 0, stdout: String::new(), stderr: String::new() };
    for line in lines.split(';') {
        last = ground.run(line);
        if last.code != 0 {
            break;
        }
    }
    if let Some(count) = words.strip_prefix('=') {
        let lines = last.stdout.lines().filter(|line| !line.starts_with('\t')).count();
        let right = last.code == 0 && lines.to_string() == count;
        return if right { Ok(()) } else { Err(format!("not {count} lines: {last:?}")) };
    }
    match words {
        "" if last.code == 0 => Ok(()),
        "" => Err(format!("{last:?}")),
        words => last.check_refusal(&words.split(" & ").collect::<Vec<_>>()),
    }
}

fn hurt(file: &Path, damage: Damage, template: &Template, ground: &Ground) {
    if matches!(damage, Damage::Added) {
        return fs::create_dir(file).unwrap();
    }
    let meta = file.symlink_metadata().unwrap_or_else(|e| panic!("{file:?}: {e}"));
    let remove = || {
        if meta.is_dir() { fs::remove_dir_all(file) } else { fs::remove_file(file) }.unwrap();
    };
    let fill = |text: &str| template.fill(text, ground);
    match damage {
        Damage::Added => {}
        Damage::Note(text) => {
            let mut set = Command::new("setfattr");
            set.args(["-n", "user.containers.override_stat", "-v", text]).arg(file);
            assert!(set.status().unwrap().success(), "{set:?}");
        }
        Damage::Missing => remove(),
        Damage::Empty if meta.is_dir() => {
            remove();
            fs::create_dir(file).unwrap();
        }
        Damage::Empty => fs::write(file, "").unwrap(),
        Damage::Truncated => {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }
        Damage::WrongType => {
            remove();
            if meta.is_dir() {
                fs::write(file, "no directory").unwrap();
            } else {
                fs::create_dir(file).unwrap();
                fs::write(file.join("inside"), "no file").unwrap();
            }
        }
        Damage::Pipe => {
            remove();
            assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
        }
        Damage::Foreign(from, to) | Damage::Escaping(from, to) if meta.is_symlink() => {
            assert!(from.is_empty());
            remove();
            symlink(fill(to), file).unwrap();
        }
        Damage::Foreign(from, to) | Damage::Escaping(from, to) => {
            let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
            let from = fill(from);
            assert!(text.contains(&from), "{file:?} has no {from:?}");
            let text = if from.is_empty() { fill(to) } else { text.replace(&from, &fill(to)) };
            fs::write(file, text).unwrap();
        }
        Damage::LinkOut => {
            let target = ground.path("outside/moved");
            fs::rename(file, &target).unwrap();
            symlink(target, file).unwrap();
        }
        Damage::LinkDangling => {
            remove();
            symlink(ground.path("outside/nothing"), file).unwrap();
        }
        Damage::Closed => {
            fs::set_permissions(file, fs::Permissions::from_mode(0o0)).unwrap();
        }
        Damage::Unreadable => {
            // The first page of a process is never mapped.
            let memory = format!("/proc/{}/mem", std::process::id());
            let mut mount = Command::new("mount");
            assert!(mount.args(["--bind", &memory]).arg(file).status().unwrap().success());
        }
    }
}
