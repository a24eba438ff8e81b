//! Records against the Go library's own types and encoder: `tests/go/records` decodes and encodes what it is given, and nothing may
//! change (`store-format.md` 2-6).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test, helpers included"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop::IdMap;
use orlop::record::{
    Container, Flags, Image, Layer, MountPoint, Timestamp, containers, images, layers, mountpoints,
};
use serde_json::{Value, json};

/// Builds the Go program; `None`, with the reason printed, where that cannot be done.
fn build(target: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/records");
    let program = target.join("records");
    let built = Command::new("go")
        .args(["build", "-tags", "exclude_graphdriver_btrfs containers_image_openpgp", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .output();
    match built {
        Err(e) => println!("skipped: no Go toolchain: {e}"),
        Ok(out) if !out.status.success() => {
            let why = String::from_utf8_lossy(&out.stderr).into_owned();
            // Without its modules it cannot be built; anything else is a defect of the program.
            assert!(
                why.contains("proxy") || why.contains("dial") || why.contains("lookup"),
                "{why}"
            );
            println!("skipped: the Go modules cannot be had: {why}");
        }
        Ok(_) => return Some(program),
    }
    None
}

/// What Go makes of each of the files.
fn go(program: &Path, files: &[(&str, Vec<u8>)]) -> Vec<Result<Vec<u8>, String>> {
    let mut child =
        Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: String =
        files.iter().map(|(kind, file)| format!("{kind} {}\n", STANDARD.encode(file))).collect();
    let feeder = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let answers: Vec<_> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| {
            let line = line.unwrap();
            match line.strip_prefix("error ") {
                Some(why) => Err(why.to_owned()),
                None => Ok(STANDARD.decode(line).unwrap()),
            }
        })
        .collect();
    feeder.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(answers.len(), files.len());
    answers
}

/// What we make of a file.
fn ours(kind: &str, file: &[u8]) -> orlop::Result<Vec<u8>> {
    match kind {
        "layers" => layers::parse(file).map(|all| layers::write(&all)),
        "images" => images::parse(file).map(|all| images::write(&all)),
        "containers" => containers::parse(file).map(|all| containers::write(&all)),
        _ => mountpoints::parse(file).map(|all| mountpoints::write(&all)),
    }
}

/// Records by chance, the same on every run.
struct Chance(u64);

impl Chance {
    /// The generator splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn text(&mut self) -> String {
        let length = self.below(12);
        (0..length)
            .map(|_| match self.below(8) {
                0 => char::from(u8::try_from(self.below(0x20)).unwrap()),
                1 => ['"', '\\', '/', '<', '>', '&', '\u{7f}', '\u{80}'][self.below(8) as usize],
                2 => ['\u{2027}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{feff}', '\u{fffd}']
                    [self.below(6) as usize],
                3 => char::from_u32(self.below(0x11_0000) as u32).unwrap_or('\u{ffff}'),
                _ => char::from(b' ' + u8::try_from(self.below(95)).unwrap()),
            })
            .collect()
    }

    fn some<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    fn map<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> BTreeMap<String, T> {
        self.some(4, |c| (c.text(), one(c))).into_iter().collect()
    }

    fn integer(&mut self) -> i64 {
        match self.below(4) {
            0 => 0,
            1 => -1,
            2 => self.below(100_000) as i64,
            _ => self.next() as i64,
        }
    }

    fn time(&mut self) -> Timestamp {
        let days = 1 + self.below(28);
        let fraction = match self.below(4) {
            0 => String::new(),
            1 => format!(".{:09}", self.below(1_000_000_000)),
            _ => format!(".{}", self.below(1000)),
        };
        let zone = match self.below(3) {
            0 => "Z".to_owned(),
            n => format!(
                "{}{:02}:{:02}",
                if n == 1 { '+' } else { '-' },
                self.below(24),
                self.below(60)
            ),
        };
        let text = format!(
            "{:04}-{:02}-{days:02}T{:02}:{:02}:{:02}{fraction}{zone}",
            self.below(10_000),
            1 + self.below(12),
            self.below(24),
            self.below(60),
            self.below(60)
        );
        Timestamp::parse(&text).unwrap()
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth > 3 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.text()),
            3 => json!(self.next() as i64),
            4 => json!(self.below(1000)),
            5 => {
                let float = f64::from_bits(self.next());
                if float.is_finite() { json!(float) } else { json!(1e-6) }
            }
            6 => Value::Array(self.some(3, |c| c.value(depth + 1))),
            _ => Value::Object(
                self.some(3, |c| (c.text(), c.value(depth + 1))).into_iter().collect(),
            ),
        }
    }

    fn flags(&mut self) -> Flags {
        self.map(|c| c.value(0))
    }

    fn id_maps(&mut self) -> Vec<IdMap> {
        self.some(2, |c| IdMap {
            container_id: c.next() as u32,
            host_id: c.next() as u32,
            size: c.next() as u32,
        })
    }

    fn layer(&mut self) -> Layer {
        Layer {
            id: self.text(),
            names: self.some(3, Self::text),
            parent: self.text(),
            metadata: self.text(),
            mount_label: self.text(),
            created: self.time(),
            compressed_digest: self.text(),
            compressed_size: self.integer(),
            diff_digest: self.text(),
            toc_digest: self.text(),
            diff_size: self.integer(),
            compression: self.below(5) as i64,
            uid_set: self.some(3, |c| c.next() as u32),
            gid_set: self.some(3, |c| c.next() as u32),
            flags: self.flags(),
            uid_map: self.id_maps(),
            gid_map: self.id_maps(),
            big_data_names: self.some(3, Self::text),
            ..Layer::default()
        }
    }

    fn image(&mut self) -> Image {
        Image {
            id: self.text(),
            digest: self.text(),
            names: self.some(3, Self::text),
            names_history: self.some(3, Self::text),
            layer: self.text(),
            mapped_layers: self.some(3, Self::text),
            metadata: self.text(),
            big_data_names: self.some(3, Self::text),
            big_data_sizes: self.map(Self::integer),
            big_data_digests: self.map(Self::text),
            created: self.time(),
            flags: self.flags(),
            ..Image::default()
        }
    }

    fn container(&mut self) -> Container {
        Container {
            id: self.text(),
            names: self.some(3, Self::text),
            image: self.text(),
            layer: self.text(),
            metadata: self.text(),
            big_data_names: self.some(3, Self::text),
            big_data_sizes: self.map(Self::integer),
            big_data_digests: self.map(Self::text),
            created: self.time(),
            uid_map: self.id_maps(),
            gid_map: self.id_maps(),
            flags: self.flags(),
            ..Container::default()
        }
    }

    fn mount_point(&mut self) -> MountPoint {
        MountPoint { id: self.text(), path: self.text(), count: self.integer() }
    }
}

/// Files as no program writes them: what both make of them must agree, refusals included.
fn oddities() -> Vec<(&'static str, Vec<u8>)> {
    let field = |key: &str, value: &str| {
        ("layers", format!(r#"[{{"id":"a","{key}":{value}}}]"#).into_bytes())
    };
    let mut files = vec![
        ("layers", b"".to_vec()),
        ("layers", b"null".to_vec()),
        ("images", b" [ ]\n".to_vec()),
        ("layers", b"[] []".to_vec()),
        ("layers", b"[{\"id\":\"a\"},]".to_vec()),
        ("layers", b"{}".to_vec()),
        ("containers", b"[{\"ID\":\"a\",\"Image\":\"b\",\"LAYER\":null,\"cReAtEd\":null}]".to_vec()),
        ("images", b"[{\"id\":\"a\xff\xe2\x82b\\u0000\"}]".to_vec()),
        ("images", br#"[{"big-data-sizes":{"b":1},"big-data-sizes":{"a":2},"big-data-digests":{"x":null}}]"#.to_vec()),
        ("mountpoints", br#"[{"count":1,"path":"/x","id":"y"},{}]"#.to_vec()),
        ("mountpoints", br#"[{"count":1.5}]"#.to_vec()),
        ("layers", br#"[{"uidmap":[{"HOST_ID":5},{}]}]"#.to_vec()),
    ];
    for number in [
        "0",
        "-0",
        "1.0",
        "1e5",
        "1E+5",
        "1e-5",
        "0.000001",
        "0.00000099",
        "1e20",
        "1e21",
        "123456789012345678",
        "0.1",
        "2.50",
        "1152921504606846977",
        "18446744073709551616",
        "5e-324",
        "2.2250738585072014e-308",
        "1e-400",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "+1",
        "1e400",
        "0.30000000000000004",
        "9007199254740993",
        "179769313486231570000",
    ] {
        files.push(field("flags", &format!("{{\"n\":{number}}}")));
    }
    for number in [
        "0",
        "-0",
        "7",
        "-7",
        "9223372036854775807",
        "9223372036854775808",
        "1.5",
        "1e3",
        "\"1\"",
        "null",
        "01",
    ] {
        files.push(field("diff-size", number));
        files.push(field("uidset", &format!("[{number}]")));
    }
    for text in [
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\ude00\ud83d""#,
        r#""\/\b\f""#,
        r#""\x""#,
        r#""\u12""#,
        "null",
        "7",
        "[]",
        "\"a\nb\"",
        "true",
        "\"",
    ] {
        files.push(field("parent", text));
        files.push(field("names", &format!("[{text}]")));
    }
    for time in [
        "2020-01-02T03:04:05Z",
        "2020-01-02T03:04:05.120Z",
        "2020-01-02T03:04:05+00:00",
        "2020-01-02T03:04:05-00:00",
        "2020-01-02T03:04:05+23:59",
        "2020-01-02T03:04:05+24:00",
        "2020-01-02T03:04:05+23:60",
        "2020-01-02T03:04:05+02:60",
        "2020-01-02T03:04:05+02:61",
        "2020-01-02T003:04:05Z",
        "2020-01-02T:04:05Z",
        "0000-01-01T00:00:00+12:00",
        "2020-02-30T03:04:05Z",
        "2020-01-02T03:04:05.1234567891Z",
        "2020-01-02T03:04:05,5Z",
        "2020-01-02T3:04:05Z",
        "2020-01-02t03:04:05z",
        "2020-01-02 03:04:05Z",
        "2020-01-02T24:00:00Z",
        "2020-01-02T03:04:60Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999-23:59",
        "2020-01-02T03:04:05.Z",
        "2020-01-02T03:04:05+0100",
        "",
    ] {
        files.push(field("created", &format!("\"{time}\"")));
    }
    files
}

#[test]
fn go_decodes_and_encodes_our_records_to_the_same_bytes() {
    let target = tempfile::tempdir().unwrap();
    let Some(program) = build(target.path()) else { return };
    let mut chance = Chance(3);
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    for _ in 0..50 {
        files.push(("layers", layers::write(&chance.some(3, Chance::layer))));
        files.push(("images", images::write(&chance.some(3, Chance::image))));
        files.push(("containers", containers::write(&chance.some(3, Chance::container))));
        files.push(("mountpoints", mountpoints::write(&chance.some(3, Chance::mount_point))));
    }
    let answers = go(&program, &files);
    for ((kind, file), answer) in files.iter().zip(answers) {
        let text = String::from_utf8_lossy(file);
        let answer = answer.unwrap_or_else(|e| panic!("{kind} {text}: {e}"));
        assert_eq!(String::from_utf8_lossy(&answer), text, "{kind}");
        assert_eq!(String::from_utf8_lossy(&ours(kind, file).unwrap()), text, "{kind}");
    }
    let files = oddities();
    let answers = go(&program, &files);
    let mut different = Vec::new();
    for ((kind, file), answer) in files.iter().zip(answers) {
        // Go keeps bytes that are not UTF-8 till it writes, and then writes the escape of what we keep as a character.
        let answer = answer.map(|a| String::from_utf8(a).unwrap().replace("\\ufffd", "\u{fffd}"));
        let mine = ours(kind, file).map(|a| String::from_utf8(a).unwrap());
        if answer.as_ref().ok() != mine.as_ref().ok() {
            different.push(format!(
                "{kind} {}\n  Go   {answer:?}\n  ours {mine:?}",
                String::from_utf8_lossy(file)
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
