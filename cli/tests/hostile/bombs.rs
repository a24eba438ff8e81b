//! Archives that are small and expand to what no machine has: time and memory stay bounded (ARC-2, ARC-5).
//!
//! The whole sizes only with `TEST_LONG` set, as `make test-long` does.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::ground::{Ground, assert_same, snapshot};
use crate::tar::Tar;

/// What a decoder's window may add: its default level keeps it small.
const MEMORY: u64 = 96 << 10;

/// Zeros that are compressed once and repeated: in all these formats, streams one after the other are one stream.
const PIECE: usize = 16 << 20;

fn long() -> bool {
    std::env::var_os("TEST_LONG").is_some()
}

/// A ground whose file system has room for this much.
fn small_ground(mib: u64) -> Option<Ground> {
    let ground = Ground::new()?;
    fs::create_dir(ground.path("g")).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(ground.path("g"));
    assert!(mount.status().unwrap().success());
    ground.seed();
    Some(ground)
}

fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    if program == "none" {
        return bytes.to_vec();
    }
    let child =
        Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{program}: {e}"));
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program}");
    output.stdout
}

/// Writes `head` and so many pieces of zeros, compressed; returns the path.
fn bomb(ground: &Ground, program: &str, head: &[u8], pieces: usize) -> String {
    let path = ground.file("bomb", &packed(program, head));
    let piece = packed(program, &vec![0; PIECE]);
    let mut file = File::options().append(true).open(&path).unwrap();
    for _ in 0..pieces {
        file.write_all(&piece).unwrap();
    }
    path
}

// UNP-2, UNP-19
#[test]
fn what_expands_beyond_the_room_is_refused() {
    let Some(ground) = small_ground(96) else { return };
    for program in ["gzip", "zstd", "xz", "bzip2", "none"] {
        // More than there is room for, by its header: refused before anything of it is written.
        let pieces = if program == "none" { 1 } else { 4 };
        let huge = Tar::default().raw("huge", b'0', "", "77777777777", b"").0;
        let path = bomb(&ground, program, &huge, pieces);
        let (kib, run) = ground.measured(&format!("import-layer -f {path}"));
        run.check_refusal(&["\"huge\"", "No space left", "8589934591"]).unwrap();
        assert!(kib < MEMORY, "{program}: {kib} KiB");
        ground.refuses(&format!("import-layer -f {path}"), &["\"huge\"", "No space left"]);
        // Files that are each small enough to be tried, until the room is full.
        let size = PIECE - 512;
        let mut many = Vec::new();
        for n in 0..10 {
            let header =
                Tar::default().raw(&format!("{n}"), b'0', "", &format!("{size:011o}"), b"").0;
            many.extend(header);
            // Zeros would become holes, which need no room.
            many.resize(many.len() + size, 7);
        }
        let path = ground.file("many", &packed(program, &many));
        ground.refuses(&format!("import-layer -f {path}"), &["No space left", "free some space"]);
    }
}

#[test]
fn zeros_without_end_need_little_memory() {
    let Some(ground) = small_ground(96) else { return };
    let pieces = if long() { 128 } else { 6 };
    for program in ["gzip", "zstd", "xz", "bzip2"] {
        // Behind the end marker, where they belong to the layer's digest all the same.
        let path = bomb(&ground, program, &Tar::default().file("f", "x").end(), pieces);
        let (kib, run) = ground.measured(&format!("import-layer -i {program} -f {path}"));
        assert_eq!(run.code, 0, "{run:?}");
        assert!(kib < MEMORY, "{program}: {kib} KiB");
        let told = ground.ok("layers -j");
        assert!(told.contains(&format!("\"diff-size\":{}", 2048 + pieces * PIECE)), "{told}");
        ground.ok(&format!("delete-layer {program}"));
        println!("bombs: {} MiB of {program} in {kib} KiB of memory", (pieces * PIECE) >> 20);
    }
}

#[test]
fn nested_compression_is_not_followed() {
    let Some(ground) = small_ground(16) else { return };
    for (inner, outer) in [("gzip", "gzip"), ("zstd", "gzip"), ("gzip", "xz"), ("bzip2", "zstd")] {
        let tar = Tar::default().file("f", "x").end();
        let path = ground.file("nested", &packed(outer, &packed(inner, &tar)));
        ground.refuses(&format!("import-layer -f {path}"), &["tar stream"]);
    }
}

#[test]
fn headers_of_a_gigabyte_are_refused_unread() {
    let Some(ground) = small_ground(16) else { return };
    for kind in [b'x', b'g', b'L', b'K'] {
        let head =
            Tar::default().file("before", "x").raw("monstrous", kind, "", "10000000000", b"").0;
        let path = ground.file("header", &head);
        File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let (kib, run) = ground.measured(&format!("import-layer -f {path}"));
        run.check_refusal(&["extension header", "\"monstrous\"", "1048576"]).unwrap();
        assert!(kib < MEMORY, "{kib} KiB");
        fs::remove_file(path).unwrap();
    }
    // A map of extents beyond that limit, and one that just keeps it.
    let map = |extents: usize| {
        let mut map = format!("{extents}\n");
        (0..extents).for_each(|n| map.push_str(&format!("{}\n0\n", n % 10)));
        map.into_bytes()
    };
    let keys: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"holes"),
        ("GNU.sparse.realsize", b"10"),
    ];
    let million = Tar::default().pax(&keys).add("holes", b'0', "", &map(400_000)).end();
    let path = ground.file("map", &million);
    ground.refuses(&format!("import-layer -f {path}"), &["sparse map", "1048576"]);
}

#[test]
fn members_and_depth_in_number() {
    let Some(ground) = Ground::new() else { return };
    ground.seed();
    let before = snapshot(&ground.path("g"));
    let members = if long() { 300_000 } else { 20_000 };
    let mut tar = Tar::default();
    for n in 0..members {
        tar = tar.file(&format!("{}/{n}", n % 100), "");
    }
    let path = ground.file("members", &tar.end());
    let (kib, run) = ground.measured(&format!("import-layer -i members -f {path}"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(kib < MEMORY + members * 200 / 1024, "{kib} KiB");
    ground.ok("delete-layer members");

    let levels = if long() { 100_000 } else { 20_000 };
    let deep = format!("{}bottom", "d/".repeat(levels));
    let path = ground
        .file("deep", &Tar::default().pax(&[("path", deep.as_bytes())]).file("x", "deep").end());
    let (kib, run) = ground.measured(&format!("import-layer -i deep -f {path}"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(kib < MEMORY, "{kib} KiB");
    ground.ok("diff -u -f /dev/null deep");
    ground.ok("delete-layer deep");
    fs::remove_file(ground.path("deep")).unwrap();
    assert_same(&before, &snapshot(&ground.path("g")), "the imports");
    println!("bombs: {members} members, {levels} levels");
}

#[test]
fn a_tar_split_that_is_a_bomb_is_refused() {
    let Some(ground) = small_ground(64) else { return };
    let file = ground.file("layer.tar", &Tar::default().file("f", "content").end());
    ground.ok(&format!("import-layer -i layer -f {file}"));
    let split = ground.path("g/overlay-layers/layer.tar-split.gz");
    let endless = [b"{\"type\":2,\"payload\":\"".to_vec(), vec![b'A'; PIECE]].concat();
    let bombs = [
        // A line without end, and a file of a size that no file has.
        [packed("gzip", &endless), packed("gzip", &vec![b'A'; PIECE]).repeat(8)].concat(),
        packed("gzip", b"{\"type\":1,\"name\":\"f\",\"size\":9223372036854775807,\"payload\":\"AAAAAAAAAAE=\",\"position\":1}\n"),
        packed("gzip", b"{\"type\":1,\"name\":\"f\",\"size\":-1,\"payload\":null,\"position\":0}\n"),
        packed("gzip", b"{\"type\":1,\"name\":\"../../../../outside/canary\",\"size\":9,\"payload\":\"AAAAAAAAAAE=\",\"position\":1}\n"),
        packed("gzip", b"{\"type\":1,\"name\":\"f\",\"size\":7,\"payload\":\"AAAAAAAAAAE=\",\"position\":9000000000000000000}\n"),
        // More than the layer had.
        packed("gzip", format!("{{\"type\":2,\"payload\":\"{}\",\"position\":0}}\n", "AAAA".repeat(1 << 20)).repeat(16).as_bytes()),
    ];
    for bomb in bombs {
        fs::write(&split, bomb).unwrap();
        let (kib, run) = ground.measured("diff -u -f /dev/null layer");
        run.check_refusal(&["layer.tar-split.gz"]).unwrap();
        assert!(kib < 160 << 10, "{kib} KiB");
    }
    ground.ok("delete-layer layer");
}
