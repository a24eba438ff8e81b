//! The same command lines for the Go command and for orlop: standard output and exit code must be the same.
//!
//! Runs if `ORLOP_GO_COMMAND` names the Go library's `containers-storage` program, or `make reference` has built it.

use std::path::PathBuf;

use crate::normal::normal;
use crate::sandbox::{ORLOP, Sandbox, tar};

/// What stands between `"error":"` and the next quote is put into other words, with more in it, by orlop.
fn without_error_texts(text: &str) -> String {
    let mut parts = text.split("\"error\":\"");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = end_of_string(part);
        let word = if end == 0 { "" } else { "ERROR" };
        result.push_str(&format!("\"error\":\"{word}{}", &part[end..]));
    }
    result
}

/// The phrase that orlop's message must hold too: the innermost cause of the Go command's.
fn phrase<'a>(stderr: &'a str, line: &str) -> &'a str {
    let text = stderr.lines().next().unwrap_or_default();
    let text = text.rsplit(": ").next().unwrap_or_default();
    // Behind the cause stands what was tried: "layer not known while mounting x".
    let tried = line.split(' ').next().unwrap_or_default();
    match tried {
        // What is wrong with a stream is for each to say in its own words.
        "import-layer" => "",
        "mount" => text.split(" while mounting").next().unwrap_or_default(),
        "unmount" | "umount" => text.split(" while unmounting").next().unwrap_or_default(),
        _ => text,
    }
}

/// A list of changes by path: Go's is in the order of a directory walk.
fn in_order(text: &str) -> String {
    let text = text.trim_end().trim_start_matches('[').trim_end_matches(']');
    let mut changes: Vec<&str> = text.split(['\n', '{']).map(|c| c.trim_end_matches(',')).collect();
    changes.sort_unstable();
    changes.join("\n")
}

/// A list of ids, of which some are random and sort otherwise in each run.
fn ids_in_order(text: &str) -> String {
    let mut ids: Vec<&str> = text.trim_matches(['[', ']', '\n']).split(['\n', ',']).collect();
    ids.sort_unstable();
    ids.join("\n")
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// A command line, and what it reads from standard input.
type Line = (&'static str, Vec<u8>);

fn lines() -> Vec<Line> {
    let base = tar(&[("etc/", b""), ("etc/a", b"1"), ("etc/b", b"2"), ("top", b"t")]);
    let next = tar(&[("etc/", b""), ("etc/a", b"changed"), ("etc/.wh.b", b""), ("new", b"n")]);
    let mut lines: Vec<Line> = Vec::new();
    let mut add = |text: &'static str| {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            lines.push(match line.split_once(" < ") {
                Some((line, "base.tar")) => (line, base.clone()),
                Some((line, "next.tar")) => (line, next.clone()),
                Some((line, input)) => (line, input.as_bytes().to_vec()),
                None => (line, Vec::new()),
            });
        }
    };
    add(EMPTY);
    add(CREATING);
    add(LOOKING);
    add(CHANGING);
    add(DELETING);
    lines
}

const EMPTY: &str = "
    layers
    layers -j
    layers -t
    storage-layers
    storage-layers -j
    images
    images -j
    containers
    containers -j
    nosuch
    layer -j x
    exists x
";

const CREATING: &str = "
    import-layer -i base -n bottom -n low < base.tar
    import-layer -j -i next base < next.tar
    import-layer -i junk < this is no tar stream at all
    create-layer -i base
    create-layer -i x -n low
    create-layer -i x nosuch
    create-layer -j -i empty -r next
    createlayer -i plain -n p -l ''
    create-image -i img -n a:1 -n a:1 -m text next
    create-image -j -i img2 -d sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    create-image -i img
    create-image -i x nosuch
    create-container -i ctr -n c img
    create-container -j -i ctr2 --volatile -m <meta&data> img
    create-container -i x nosuch
    create-container -i ctr img
";

const LOOKING: &str = "
    layers -q
    layers
    storage-layers
    storage-layers -j
    layers --tree
    layers -j
    layer low
    layer -j base next
    layer nosuch base
    images
    images -jq
    image -j a:1 nosuch
    images-by-digest sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
    images-by-digest -j sha256:0000000000000000000000000000000000000000000000000000000000000000
    images-by-digest junk
    containers
    containers -j
    container -j c
    exists base
    exists -j base a:1 c nosuch
    exists -l a:1
    exists -i bas
    metadata img
    metadata -q img nosuch
    metadata -j ctr2 nosuch
    get-names low
    get-names -j img2
    get-names nosuch
    set-metadata -m x nosuch
    add-names -n x nosuch
    list-layer-data nosuch
    get-image-data nosuch x
    get-container-dir nosuch
    applydiff nosuch
    get-image-dir img
    get-container-run-dir c
    changes next
    changes -j next base
    changes base
    changes nosuch
    diff -u base
    diff next
    diff -b next
    diff nosuch
    diffsize next
";

const CHANGING: &str = "
    set-metadata -m new img
    set-metadata img
    metadata img
    add-names -j -n b:1 img
    add-names -n a:1 img2
    images
    remove-names -j -n b:1 img
    set-names -j -n low -n new plain
    set-names -j plain
    layers
    list-image-data -j img
    set-image-data img manifest < {}
    set-image-data img other < some text
    list-image-data img
    get-image-data img manifest
    get-image-data img none
    get-image-data-size img other
    get-image-data-size img none
    get-image-data-digest img other
    images -j
    image img
    set-container-data c key < 1
    list-container-data -j c
    get-container-data-digest c key
    container c
    set-layer-data base key < layer data
    list-layer-data -j base
    get-layer-data base key
    get-layer-data base none
    applydiff plain < next.tar
    changes plain
    mount ctr
    mount -j ctr nosuch
    mounted ctr
    mounted base
    layers -t
    unmount ctr
    umount -j ctr
    unmount ctr
    unmount nosuch
    mount -r img
    unmount -f img
";

const DELETING: &str = "
    delete-layer base
    delete-layer nosuch
    delete-image -t img
    delete-image -j img nosuch
    delete-container ctr
    delete-container -j ctr2
    delete-layer empty
    delete-image -j -t img
    delete-image -j img
    layers
    delete plain
    delete nosuch
    images -j
    shutdown -j
    wipe -j
    layers -j
    status -j
    config
    shutdown
";

/// The Go command that the environment names, or that `make reference` has built.
pub fn go_command() -> Option<PathBuf> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../build/reference/containers-storage");
    let named = std::env::var_os("ORLOP_GO_COMMAND").map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(built)).filter(|program| program.exists()))
}

fn compare(driver: &'static str) {
    let Some(program) = go_command() else {
        println!(
            "skipped: no Go command; `make reference` builds one, or name it in ORLOP_GO_COMMAND"
        );
        return;
    };
    let (go, orlop) = (Sandbox::new(program, driver), Sandbox::new(ORLOP, driver));
    let (mut go_ids, mut orlop_ids) = (Vec::new(), Vec::new());
    let mut differences = Vec::new();
    for (line, stdin) in lines() {
        let (theirs, ours) = (go.run_with(line, &stdin), orlop.run_with(line, &stdin));
        let mut expected = without_error_texts(&normal(&theirs.stdout, go.path(), &mut go_ids));
        let mut found = without_error_texts(&normal(&ours.stdout, orlop.path(), &mut orlop_ids));
        if line.starts_with("changes") {
            expected = in_order(&expected);
            found = in_order(&found);
        }
        if line.starts_with("storage-layers") {
            expected = ids_in_order(&expected);
            found = ids_in_order(&found);
        }
        let phrase = phrase(&theirs.stderr, line);
        if (theirs.code, &expected) != (ours.code, &found) || !ours.stderr.contains(phrase) {
            let (go, orlop) = (theirs.stderr.trim_end(), ours.stderr.trim_end());
            differences.push(format!(
                "{line}\n  go    {} {expected:?} {go}\n  orlop {} {found:?} {orlop}",
                theirs.code, ours.code
            ));
        }
    }
    assert!(differences.is_empty(), "{driver}:\n{}", differences.join("\n"));
}

#[test]
fn on_vfs() {
    compare("vfs");
}

#[test]
fn on_overlay() {
    compare("overlay");
}
