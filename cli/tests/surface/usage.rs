//! Command lines that cannot be understood: texts, streams and exit codes of `cli.md`, Streams and exit codes.

use crate::sandbox::{Sandbox, bare};

#[test]
fn commands_that_are_not_there() {
    for name in ["nosuch", "check", "copy", "help"] {
        let run = bare(&[name]);
        assert_eq!((run.code, run.stdout), (1, format!("{name}: unrecognized command.\n")));
        let advice = if matches!(name, "nosuch" | "help") { "orlop --help" } else { "yet" };
        assert!(run.stderr.contains(advice), "{name}: {}", run.stderr);
    }
}

#[test]
fn no_command_gives_the_usage() {
    for words in [&[][..], &["-D"], &["--graph", "/nonexistent"]] {
        let run = bare(words);
        assert_eq!(run.code, 1, "{words:?}");
        assert!(run.stdout.contains("Usage: orlop"), "{run:?}");
        assert!(run.stdout.contains("create-layer"), "{run:?}");
    }
}

#[test]
fn too_few_and_too_many_arguments() {
    for (words, first_line) in [
        (&["layer"][..], "layer: more arguments required."),
        (&["getnames"], "getnames: more arguments required."),
        (&["get-image-data", "a"], "get-image-data: more arguments required."),
        (&["layers", "a", "-j", "b"], "layers: too many arguments ([a b])."),
        (&["createlayer", "-n", "x", "a", "b"], "createlayer: too many arguments ([a b])."),
        (&["commit", "a"], "commit: more arguments required."),
        (&["save"], "save: more arguments required."),
    ] {
        let run = bare(words);
        assert_eq!(run.code, 1, "{words:?}: {run:?}");
        assert_eq!(run.stdout.lines().next(), Some(first_line), "{words:?}");
        assert!(run.stdout.contains("Usage: orlop"), "{words:?}: {run:?}");
    }
}

#[test]
fn flags_that_are_not_there() {
    let run = bare(&["layers", "--x"]);
    let text = "flag provided but not defined: --x\nSee 'orlop layers --help'.\n";
    assert_eq!((run.code, run.stderr.as_str(), run.stdout.as_str()), (125, text, ""));

    let run = bare(&["--x", "layers"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with("flag provided but not defined: --x\n"), "{run:?}");
    let first = "flag provided but not defined: --x while parsing arguments (1)\n";
    assert!(run.stdout.starts_with(first), "{run:?}");
}

#[test]
fn flags_without_their_value() {
    let run = bare(&["create-layer", "-i"]);
    let text = "flag needs an argument: -i\nSee 'orlop create-layer --help'.\n";
    assert_eq!((run.code, run.stderr.as_str()), (125, text));
    let run = bare(&["--graph"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with("flag needs an argument: --graph\n"), "{run:?}");
    let run = bare(&["layers", "--json=maybe"]);
    assert_eq!(run.code, 125);
    assert!(run.stderr.starts_with("invalid boolean value \"maybe\" for --json\n"), "{run:?}");
    let run = bare(&["save", "--format", "zip", "x"]);
    assert_eq!(run.code, 125);
    assert!(run.stderr.starts_with("invalid value 'zip' for '--format"), "{run:?}");
}

#[test]
fn help_has_the_codes_of_the_go_command() {
    for (words, code, text) in [
        (&["--help"][..], 0, "Commands:"),
        (&["-h"], 1, "Commands:"),
        (&["--help", "layers"], 0, "Commands:"),
        (&["layers", "--help"], 125, "Usage: orlop layers"),
        (&["umount", "-h"], 125, "Usage: orlop unmount"),
    ] {
        let run = bare(words);
        assert_eq!(run.code, code, "{words:?}");
        assert!(run.stdout.contains(text), "{words:?}: {run:?}");
        assert!(!run.stdout.contains("default: false"), "{words:?}: {run:?}");
    }
}

#[test]
fn version_needs_no_store() {
    let run = bare(&["version", "-j", "-g", "/nonexistent", "-R", "/nonexistent"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let start = concat!("[[\"Version\",\"", env!("CARGO_PKG_VERSION"), "\"],[\"Commit\",\"");
    assert!(run.stdout.starts_with(start), "{run:?}");
    let run = bare(&["version"]);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.starts_with("Version: "), "{run:?}");
}

#[test]
fn a_broken_configuration_is_told_on_standard_output() {
    let sandbox = Sandbox::vfs();
    sandbox.file("storage.conf", b"not toml [");
    let run = sandbox.run("layers");
    assert_eq!((run.code, run.stderr.as_str()), (1, ""));
    assert!(run.stdout.starts_with("error initializing: "), "{run:?}");
    assert!(run.stdout.contains("storage.conf"), "{run:?}");
}

#[test]
fn a_driver_alone_is_not_enough() {
    let run = bare(&["-s", "vfs", "layers"]);
    assert_eq!(run.code, 1);
    let phrase = "no storage runroot or graphroot specified";
    assert!(run.stdout.contains(phrase), "{run:?}");
}

#[test]
fn reading_creates_nothing() {
    let sandbox = Sandbox::vfs();
    assert_eq!(sandbox.ok("layers"), "");
    assert_eq!(sandbox.ok("images -j"), "null\n");
    sandbox.fails("layer x", "layer not known");
    assert!(!sandbox.path().join("g").exists());
    assert!(!sandbox.path().join("r").exists());
}

#[test]
fn a_user_namespace_can_be_asked_for() {
    let sandbox = Sandbox::vfs();
    assert_eq!(sandbox.ok("-U layers"), "");
    assert_eq!(sandbox.ok("--unshare=false layers"), "");
    let map = "cat /proc/self/uid_map";
    let outside = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let inside = sandbox.ok(&format!("unshare {map}"));
    assert_ne!(inside, outside);
    assert_eq!(inside.split_whitespace().next(), Some("0"));
    assert_eq!(sandbox.ok(&format!("--unshare=0 unshare {map}")), outside);
    sandbox.fails("--unshare=false unshare /no/such/program", "/no/such/program");
}
