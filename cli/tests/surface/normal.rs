//! Takes out of an output what differs from run to run: roots, times, random ids.

use std::path::Path;

/// `text` with the sandbox's folder, creation times and random ids replaced; ids are numbered as they appear in `ids`.
pub fn normal(text: &str, root: &Path, ids: &mut Vec<String>) -> String {
    let text = text.replace(root.to_str().unwrap(), "ROOT");
    number_ids(&without_times(&text), ids)
}

fn without_times(text: &str) -> String {
    const KEY: &str = "\"created\":\"";
    let mut parts = text.split(KEY);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').unwrap_or((part, ""));
        assert!(is_utc_time(time), "{time:?} is no UTC time in RFC 3339");
        result.push_str(&format!("{KEY}TIME\"{rest}"));
    }
    result
}

fn is_utc_time(text: &str) -> bool {
    let digits = |c: char| c.is_ascii_digit();
    let shape = text.replace(digits, "9");
    shape.starts_with("9999-99-99T99:99:99")
        && shape.ends_with('Z')
        && shape[19..].trim_start_matches('.').trim_end_matches('Z').chars().all(|c| c == '9')
}

fn number_ids(text: &str, ids: &mut Vec<String>) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_hex) {
        result.push_str(&rest[..start]);
        let tail = &rest[start..];
        let end = tail.find(|c| !is_hex(c)).unwrap_or(tail.len());
        let (run, after) = tail.split_at(end);
        if run.len() == 64 {
            let known = ids.iter().position(|id| id == run).unwrap_or_else(|| {
                ids.push(run.to_owned());
                ids.len() - 1
            });
            result.push_str(&format!("ID{known}"));
        } else {
            result.push_str(run);
        }
        rest = after;
    }
    result + rest
}

#[test]
fn takes_out_what_varies() {
    let id = "ab".repeat(32);
    let text = format!(
        "/tmp/x/g {id} {{\"created\":\"2026-01-02T03:04:05.123456789Z\",\"a\":\"abc\"}} {id}"
    );
    let normal = normal(&text, Path::new("/tmp/x"), &mut Vec::new());
    assert_eq!(normal, "ROOT/g ID0 {\"created\":\"TIME\",\"a\":\"abc\"} ID0");
}
