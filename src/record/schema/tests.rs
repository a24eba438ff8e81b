//! Byte-exact files, and what is lenient and what is an error in reading them (`store-format.md` 2-6).

use serde_json::json;

use super::*;

fn unchanged<R: Record>(file: &str) -> Vec<R> {
    let records = parse::<R>(file.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(write_all(&records)).unwrap(), file);
    records
}

#[test]
fn files_of_the_specification_survive() {
    let all = unchanged::<Layer>(
        r#"[{"id":"160bb2c1","created":"2026-11-21T07:02:46.410142566Z","compressed-diff-digest":"sha256:160bb2c1","compressed-size":30720,"diff-digest":"sha256:160bb2c1","diff-size":30720,"uidset":[0],"gidset":[0]},{"id":"cfbad466","parent":"5dd5ee54","created":"2026-11-21T07:02:46Z","uidmap":[{"container_id":0,"host_id":100000,"size":65536}],"gidmap":[{"container_id":0,"host_id":4294967295,"size":65536}]}]"#,
    );
    assert_eq!(all[0].compressed_size, 30720);
    assert_eq!(all[1].gid_map, [IdMap { container_id: 0, host_id: u32::MAX, size: 65536 }]);
    let all = unchanged::<Image>(
        r#"[{"id":"bdb05031","digest":"sha256:0e967c93","names":["localhost/base:1"],"names-history":["localhost/base:1"],"layer":"160bb2c1","metadata":"{\"signatures-sizes\":{\"sha256:0e967c93\":[]}}","big-data-names":["sha256:bdb05031","manifest","signature-0e967c93"],"big-data-sizes":{"manifest":341,"sha256:bdb05031":1,"signature-0e967c93":0},"big-data-digests":{"manifest":"sha256:0e967c93"},"created":"2026-11-21T07:02:46.178108918Z"}]"#,
    );
    assert_eq!(all[0].big_data_sizes["signature-0e967c93"], 0);
    let all = unchanged::<Container>(
        r#"[{"id":"d289cf7e","names":["c2"],"image":"375c17f9","layer":"243b2a25","created":"2026-11-21T07:04:25.625949301Z","flags":{"MountLabel":"","MountOpts":["nodev"],"ProcessLabel":"","Volatile":true}},{"id":"x","image":"","layer":"","created":"0001-01-01T00:00:00Z"}]"#,
    );
    assert_eq!(all[0].flags["Volatile"], json!(true));
    let all = unchanged::<MountPoint>(
        r#"[{"id":"d1211294","path":"/g/overlay/d1211294/merged","count":1}]"#,
    );
    assert_eq!(all[0].count, 1);
    unchanged::<MountPoint>(r#"[{"id":"","path":"","count":0}]"#);
    unchanged::<Layer>("[]");
}

#[test]
fn every_key_in_its_place() {
    unchanged::<Layer>(
        r#"[{"id":"i","names":["n","m"],"parent":"p","metadata":"m","mountlabel":"l","created":"2020-01-02T03:04:05.6+02:00","compressed-diff-digest":"c","compressed-size":-5,"diff-digest":"d","toc-digest":"t","diff-size":-1,"compression":4,"uidset":[0,4294967295],"gidset":[1],"flags":{"incomplete":true},"uidmap":[{"container_id":0,"host_id":1,"size":2}],"gidmap":[{"container_id":3,"host_id":4,"size":5}],"big-data-names":["b"]}]"#,
    );
    unchanged::<Image>(
        r#"[{"id":"i","digest":"d","names":["n"],"names-history":["h"],"layer":"l","mapped-layers":["m"],"metadata":"x","big-data-names":["b"],"big-data-sizes":{"A":1,"a":-2},"big-data-digests":{"b":"c"},"created":"2020-01-02T03:04:05-11:30","flags":{"f":null}}]"#,
    );
    unchanged::<Container>(
        r#"[{"id":"i","names":["n"],"image":"g","layer":"l","metadata":"x","big-data-names":["b"],"big-data-sizes":{"b":1},"big-data-digests":{"b":"c"},"created":"2020-01-02T03:04:05Z","uidmap":[{"container_id":0,"host_id":1,"size":2}],"gidmap":[{"container_id":3,"host_id":4,"size":5}],"flags":{"f":{"a":[]}}}]"#,
    );
}

#[test]
fn strings_of_every_length_end_where_they_end() {
    for length in 0..70 {
        for special in ["", "\n", "\"", "é", "\\"] {
            let id = format!("{}{special}{}", "a".repeat(length), "b".repeat(length / 3));
            let layer = Layer { id, ..Layer::default() };
            let text = layers::write(std::slice::from_ref(&layer));
            assert_eq!(layers::parse(&text).unwrap(), [layer]);
        }
        let raw = format!("[{{\"id\":\"{}\u{1}\"}}]", "a".repeat(length));
        assert!(layers::parse(raw.as_bytes()).unwrap_err().to_string().contains("control"));
    }
}

#[test]
fn escapes_are_those_of_json_iterator() {
    // store-format.md 16.16
    let name = "\u{8}\u{c}\u{0}\u{1f}\n\r\t\"\\/<>&\u{2028}\u{2029}\u{2027}\u{7f}é\u{1f600}";
    let layer = Layer { id: name.into(), ..Layer::default() };
    let expected = r#"[{"id":"\u0008\u000c\u0000\u001f\n\r\t\"\\/\u003c\u003e\u0026\u2028\u2029"#
        .to_owned()
        + "\u{2027}\u{7f}é\u{1f600}"
        + r#"","created":"0001-01-01T00:00:00Z"}]"#;
    assert_eq!(String::from_utf8(layers::write(std::slice::from_ref(&layer))).unwrap(), expected);
    assert_eq!(layers::parse(expected.as_bytes()).unwrap(), [layer]);
}

#[test]
fn flags_are_floating_point_and_sorted() {
    let read = r#"[{"id":"","created":"0001-01-01T00:00:00Z","flags":{"z":[1.0,1.5e30,1e21,1e-7,0.000001,1152921504606846977,-0,123456789012345678901,0.1,5e-324,1.7976931348623157e308,100000000000000000000],"a":{"y":1,"x":2}}}]"#;
    let written = r#"[{"id":"","created":"0001-01-01T00:00:00Z","flags":{"a":{"x":2,"y":1},"z":[1,1.5e+30,1e+21,1e-07,0.000001,1152921504606847000,-0,123456789012345680000,0.1,5e-324,1.7976931348623157e+308,100000000000000000000]}}]"#;
    assert_eq!(
        String::from_utf8(layers::write(&layers::parse(read.as_bytes()).unwrap())).unwrap(),
        written
    );
    unchanged::<Layer>(written);
}

#[test]
fn unknown_fields_survive_behind_the_known_ones() {
    let read = r#"[{"zeta":{"b":1,"a":[9007199254740993,18446744073709551615]},"id":"i","created":"2020-01-02T03:04:05Z","Alpha":null,"names":["n"],"beta":-1.50}]"#;
    let all = images::parse(read.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(images::write(&all)).unwrap(),
        r#"[{"id":"i","names":["n"],"created":"2020-01-02T03:04:05Z","zeta":{"b":1,"a":[9007199254740993,18446744073709551615]},"Alpha":null,"beta":-1.5}]"#
    );
}

#[test]
fn what_go_accepts() {
    for empty in ["", "null", "[]", " [ ] \n"] {
        assert!(layers::parse(empty.as_bytes()).unwrap().is_empty(), "{empty:?}");
    }
    let file = " [ {\n\t\"ID\" : \"i\" , \"Names\":[null,\"n\"],\"PARENT\":null,\"created\":null,\"flags\":null,\
        \"uidset\":null,\"Diff-Size\":null,\"uidmap\":[{\"HOST_ID\":1,\"x\":[{}]}], \"metadata\":\"\\/\\b\\f\\ud83d\\ude00\\u00e9\"}\r\n] ";
    let all = layers::parse(file.as_bytes()).unwrap();
    let expected = Layer {
        id: "i".into(),
        names: vec![String::new(), "n".into()],
        uid_map: vec![IdMap { container_id: 0, host_id: 1, size: 0 }],
        metadata: "/\u{8}\u{c}\u{1f600}é".into(),
        ..Layer::default()
    };
    assert_eq!(all, [expected]);
    // Half surrogate pairs, and bytes that are not UTF-8: one U+FFFD each.
    let halves = br#"[{"id":"\ud83d-\ude00\ud83d\u0041\ud83d\n"},{"id":"#;
    let bytes = b"\"a\xff\xe2\x82b\"}]";
    let all = layers::parse(&[&halves[..], bytes].concat()).unwrap();
    assert_eq!(all[0].id, "\u{fffd}-\u{fffd}\u{fffd}A\u{fffd}\n");
    assert_eq!(all[1].id, "a\u{fffd}\u{fffd}\u{fffd}b");
    // The last of a repeated key counts; a repeated map adds.
    let twice = br#"[{"id":"a","id":"b","flags":{"x":1},"flags":{"y":2}}]"#;
    let all = layers::parse(twice).unwrap();
    assert_eq!((all[0].id.as_str(), all[0].flags.len()), ("b", 2));
}

#[test]
fn malformed_records_are_named() {
    for (file, place) in [
        (r#"[] x"#, "more text"),
        (r#"[{"id":"a"}] ]"#, "more text"),
        (r#"{"id":"a"}"#, "expected an array"),
        (r#"[null]"#, "record 0: expected an object"),
        (r#"[{"id":"a"},7]"#, "record 1: expected an object"),
        (
            r#"[{"id":"a"},{"id":"b","names":"n"}]"#,
            "record 1, field \"names\" of \"b\": expected an array",
        ),
        (r#"[{"id":7}]"#, "record 0, field \"id\": expected a string"),
        (r#"[{"id":"a","created":"yesterday"}]"#, "field \"created\" of \"a\": expected a time"),
        (r#"[{"id":"a","diff-size":1.5}]"#, "field \"diff-size\" of \"a\": expected an integer"),
        (r#"[{"id":"a","diff-size":9223372036854775808}]"#, "in the range"),
        (r#"[{"id":"a","uidset":[-1]}]"#, "field \"uidset\" of \"a\": expected an integer"),
        (r#"[{"id":"a","uidset":[4294967296]}]"#, "expected an integer"),
        (r#"[{"id":"a","flags":{"x":01}}]"#, "field \"flags\""),
        (r#"[{"id":"a","flags":{"x":1.}}]"#, "without digits after the point"),
        (r#"[{"id":"a","flags":{"x":1e}}]"#, "without digits in the exponent"),
        (r#"[{"id":"a","flags":{"x":1e999}}]"#, "out of range"),
        (r#"[{"id":"a","flags":{"x":tru}}]"#, "expected a value"),
        (r#"[{"id":"a","other":nope}]"#, "field \"other\" of \"a\": expected a value"),
        (r#"[{"id":"a" "names":[]}]"#, "expected a comma"),
        (r#"[{"id":"a",}]"#, "expected a key"),
        (r#"[{"id""a"}]"#, "expected a colon"),
        (r#"[{"id":"a"},]"#, "record 1: expected an object"),
        (r#"[{"id":"a"}"#, "expected a comma or the end of the array"),
        (r#"[{"id":"a"#, "the text ends in a string"),
        (r#"[{"id":"a\"#, "the text ends in a string"),
        (r#"[{"id":"a\x"}]"#, "unknown escape"),
        (r#"[{"id":"a\u00g0"}]"#, "four hexadecimal digits"),
        ("[{\"id\":\"a\nb\"}]", "control character"),
        ("\u{feff}[]", "expected an array"),
    ] {
        let e = layers::parse(file.as_bytes()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        assert!(e.to_string().contains(place), "{file}: {e}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    for open in ["[", "{\"a\":"] {
        let file = format!(r#"[{{"id":"a","flags":{{"x":{}"#, open.repeat(100_000));
        let e = layers::parse(file.as_bytes()).unwrap_err();
        assert!(e.to_string().contains("nested too deeply"), "{e}");
    }
}

proptest::proptest! {
    /// Whatever stands in a file is read without a panic, and what is read is written so that it reads the same.
    #[test]
    fn damaged_files_are_errors_or_stable(at in 0_usize..400, byte: u8, cut in 0_usize..400, rest in ".{0,40}") {
        let file = r#"[{"id":"a\u00e9","names":["n\ud83d\ude00"],"created":"2020-01-02T03:04:05.6+02:00","diff-size":-1,"uidset":[0,7],"flags":{"x":[1.5e-7,{"y":null}],"z":true},"uidmap":[{"container_id":0,"host_id":1,"size":2}],"unknown":{"b":-0.0}}]"#;
        let mut damaged = file.as_bytes().to_vec();
        if let Some(b) = damaged.get_mut(at) {
            *b = byte;
        }
        damaged.truncate(cut);
        if cut < file.len() {
            damaged.extend_from_slice(rest.as_bytes());
        }
        if let Ok(read) = layers::parse(&damaged) {
            let written = layers::write(&read);
            proptest::prop_assert_eq!(layers::write(&layers::parse(&written).unwrap()), written);
        }
    }
}

#[test]
fn one_long_record_takes_the_room_of_few() {
    let text = format!(r#"[{{"id":"a","metadata":"{}"}}]"#, "x".repeat(8 << 20));
    let read = layers::parse(text.as_bytes()).unwrap();
    assert_eq!(read.len(), 1);
    assert!(read.capacity() <= 1 << 14, "{}", read.capacity());
    // Of more records than there is room for at first, none is lost.
    let many = format!("[{}]", vec![r#"{"id":"a"}"#; 20_000].join(","));
    assert_eq!(layers::parse(many.as_bytes()).unwrap().len(), 20_000);
}

#[test]
fn two_thousand_layers_are_quick() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let layers: Vec<Layer> = (0..2000)
        .map(|n| Layer {
            id: format!("{n:064x}"),
            parent: format!("{:064x}", n + 1),
            names: vec![format!("layer-{n}")],
            created: Timestamp::now(),
            compressed_digest: digest.clone(),
            diff_digest: digest.clone(),
            diff_size: n,
            uid_set: vec![0, 1, 2],
            gid_set: vec![0],
            big_data_names: vec!["zstd-chunked-manifest".into()],
            ..Layer::default()
        })
        .collect();
    let start = std::time::Instant::now();
    let file = layers::write(&layers);
    assert_eq!(layers::parse(&file).unwrap(), layers);
    // 15 ms in a release build on a quiet machine; room for a debug build on a busy one.
    assert!(start.elapsed().as_secs() < 5, "{:?} for {} bytes", start.elapsed(), file.len());
}
