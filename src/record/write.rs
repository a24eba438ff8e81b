//! Writing JSON as json-iterator does in the mode that the Go library uses (`store-format.md` 2).

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::{Number, Value};

use super::Timestamp;
use crate::IdMap;

/// Appends `text` with json-iterator's escapes, without the quotes.
pub(super) fn escape_into(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let (skip, escaped): (usize, &[u8]) = match byte {
            b'"' => (1, b"\\\""),
            b'\\' => (1, b"\\\\"),
            b'\n' => (1, b"\\n"),
            b'\r' => (1, b"\\r"),
            b'\t' => (1, b"\\t"),
            b'<' => (1, b"\\u003c"),
            b'>' => (1, b"\\u003e"),
            b'&' => (1, b"\\u0026"),
            0..0x20 => (1, b""),
            // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, 0xa8]) => (3, b"\\u2028"),
                Some([0x80, 0xa9]) => (3, b"\\u2029"),
                _ => continue,
            },
            _ => continue,
        };
        out.extend_from_slice(bytes.get(start..at).unwrap_or_default());
        match escaped {
            [] => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.extend_from_slice(escaped),
        }
        start = at + skip;
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape_into(out, text);
    out.push(b'"');
}

/// The shortest decimal form that reads back the same: plain from 1e-6 to below 1e21, else with an exponent of at least two digits.
pub(super) fn float(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return number.to_string();
    }
    let form = format!("{number:e}");
    match form.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(e) => ('-', e),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => form,
    }
}

/// Whose value is written: Go has all numbers of flags as floating-point ones, and sorts the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As Go keeps it after reading.
    Flags,
    /// As it was read, for fields that we do not know.
    Verbatim,
}

/// Recurses as deep as the value is nested: values come from our reader, which bounds that, or from the program.
pub(super) fn value(out: &mut Vec<u8>, v: &Value, style: Style) {
    match v {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Number(n) => out.extend_from_slice(numeral(n, style).as_bytes()),
        Value::String(s) => string(out, s),
        Value::Array(items) => list(out, items, |out, item| value(out, item, style)),
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            if style == Style::Flags {
                members.sort_unstable_by_key(|(key, _)| *key);
            }
            braced(out, members, |out, v| value(out, v, style));
        }
    }
}

fn numeral(n: &Number, style: Style) -> String {
    match n.as_f64() {
        Some(f) if style == Style::Flags || n.is_f64() => float(f),
        _ => n.to_string(),
    }
}

pub(super) fn list<T>(out: &mut Vec<u8>, items: &[T], item: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, one) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(b']');
}

fn braced<'a, T: 'a>(
    out: &mut Vec<u8>,
    members: impl IntoIterator<Item = (&'a String, &'a T)>,
    item: impl Fn(&mut Vec<u8>, &T),
) {
    out.push(b'{');
    for (i, (key, one)) in members.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
        item(out, one);
    }
    out.push(b'}');
}

/// An object under construction. The methods named after plurals and [`Object::text`] omit what is empty.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        string(self.out, key);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text_always(&mut self, key: &str, text: &str) {
        string(self.key(key), text);
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.text_always(key, text);
        }
    }

    pub(super) fn texts(&mut self, key: &str, texts: &[String]) {
        if !texts.is_empty() {
            list(self.key(key), texts, |out, text| string(out, text));
        }
    }

    pub(super) fn integer_always(&mut self, key: &str, n: i64) {
        let _ = write!(self.key(key), "{n}");
    }

    pub(super) fn integer(&mut self, key: &str, n: i64) {
        if n != 0 {
            self.integer_always(key, n);
        }
    }

    pub(super) fn integers(&mut self, key: &str, all: &[u32]) {
        if !all.is_empty() {
            list(self.key(key), all, |out, n| {
                let _ = write!(out, "{n}");
            });
        }
    }

    pub(super) fn time(&mut self, key: &str, time: &Timestamp) {
        let _ = write!(self.key(key), "\"{time}\"");
    }

    pub(super) fn sizes(&mut self, key: &str, sizes: &BTreeMap<String, i64>) {
        if !sizes.is_empty() {
            braced(self.key(key), sizes, |out, n| {
                let _ = write!(out, "{n}");
            });
        }
    }

    pub(super) fn digests(&mut self, key: &str, digests: &BTreeMap<String, String>) {
        if !digests.is_empty() {
            braced(self.key(key), digests, |out, digest| string(out, digest));
        }
    }

    pub(super) fn flags(&mut self, key: &str, flags: &BTreeMap<String, Value>) {
        if !flags.is_empty() {
            braced(self.key(key), flags, |out, flag| value(out, flag, Style::Flags));
        }
    }

    pub(super) fn id_maps(&mut self, key: &str, maps: &[IdMap]) {
        if !maps.is_empty() {
            list(self.key(key), maps, |out, map| {
                let mut object = Object::new(out);
                object.integer_always("container_id", map.container_id.into());
                object.integer_always("host_id", map.host_id.into());
                object.integer_always("size", map.size.into());
                object.end();
            });
        }
    }

    pub(super) fn extra(&mut self, extra: &super::Extra) {
        for (key, v) in extra {
            value(self.key(key), v, Style::Verbatim);
        }
    }
}
