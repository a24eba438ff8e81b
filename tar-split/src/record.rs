//! The lines of a tar-split file: written as Go's JSON encoder writes them, and read.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};

use crate::error::Error;

/// Go does not look at the bits of the last digit that carry nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Writes the lines of a tar-split file.
#[derive(Debug)]
pub(crate) struct Log<W> {
    out: W,
    /// Whether anybody wants the lines.
    is_kept: bool,
    line: String,
    position: u64,
}

impl<W: Write> Log<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, is_kept: true, line: String::new(), position: 0 }
    }

    /// A log that formats nothing.
    pub(crate) fn discarding(out: W) -> Self {
        Self { is_kept: false, ..Self::new(out) }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Raw bytes of the stream.
    pub(crate) fn segment(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.is_kept {
            return Ok(());
        }
        self.line.push_str(r#"{"type":2,"payload":""#);
        STANDARD.encode_string(bytes, &mut self.line);
        self.line.push('"');
        self.finish_line()
    }

    /// A member: its name, the size of its payload and, where that is not 0, the payload's checksum.
    pub(crate) fn file(&mut self, name: &[u8], size: u64, checksum: u64) -> Result<(), Error> {
        if !self.is_kept {
            return Ok(());
        }
        self.line.push_str(r#"{"type":1"#);
        match std::str::from_utf8(name) {
            Ok("") => {}
            Ok(name) => {
                self.line.push_str(r#","name":"#);
                push_string(&mut self.line, name);
            }
            Err(_) => {
                self.line.push_str(r#","name_raw":""#);
                STANDARD.encode_string(name, &mut self.line);
                self.line.push('"');
            }
        }
        if size == 0 {
            self.line.push_str(r#","payload":null"#);
        } else {
            push_number(&mut self.line, r#","size":"#, size);
            self.line.push_str(r#","payload":""#);
            STANDARD.encode_string(checksum.to_be_bytes(), &mut self.line);
            self.line.push('"');
        }
        self.finish_line()
    }

    fn finish_line(&mut self) -> Result<(), Error> {
        push_number(&mut self.line, r#","position":"#, self.position);
        self.line.push_str("}\n");
        self.position += 1;
        let written = self.out.write_all(self.line.as_bytes());
        self.line.clear();
        written.map_err(|source| Error::Io { action: "writing the tar-split file", source })
    }

    /// Flushes and gives back the writer.
    pub(crate) fn finish(mut self) -> Result<W, Error> {
        match self.out.flush() {
            Ok(()) => Ok(self.out),
            Err(source) => Err(Error::Io { action: "writing the tar-split file", source }),
        }
    }
}

fn push_number(line: &mut String, key: &str, number: u64) {
    line.push_str(key);
    // Writing to a string cannot fail.
    let _ = write!(line, "{number}");
}

/// A JSON string as Go's `encoding/json` writes it, with what is special in HTML escaped.
fn push_string(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\u{8}' => line.push_str("\\b"),
            '\u{c}' => line.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

/// A line of a tar-split file; strings are borrowed from it where they hold no escapes.
#[derive(Debug, Default)]
pub(crate) struct Record<'a> {
    pub(crate) kind: i64,
    name: Cow<'a, str>,
    name_raw: Cow<'a, str>,
    pub(crate) size: i64,
    payload: Cow<'a, str>,
}

impl<'a> Record<'a> {
    pub(crate) const FILE: i64 = 1;
    pub(crate) const SEGMENT: i64 = 2;

    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, Cow<'static, str>> {
        serde_json::from_slice(line).map_err(|e| e.to_string().into())
    }

    /// The member's name.
    pub(crate) fn name(&self) -> Result<Vec<u8>, Cow<'static, str>> {
        if self.name_raw.is_empty() {
            return Ok(self.name.as_bytes().to_vec());
        }
        LENIENT.decode(self.name_raw.as_bytes()).map_err(|e| format!("the name: {e}").into())
    }

    /// Replaces the content of `out` by the payload: a segment's bytes, a file's checksum.
    pub(crate) fn payload(&self, out: &mut Vec<u8>) -> Result<(), Cow<'static, str>> {
        out.clear();
        LENIENT
            .decode_vec(self.payload.as_bytes(), out)
            .map_err(|e| format!("the payload: {e}").into())
    }
}

/// By hand for what a derived implementation refuses and Go accepts: a key twice, in other letters' case, or `null`.
impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Record<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tar-split entry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record<'de>, A::Error> {
                let mut record = Record::default();
                while let Some(Text(key)) = map.next_key()? {
                    let is = |name| key.eq_ignore_ascii_case(name);
                    if is("type") {
                        set(&mut record.kind, map.next_value()?);
                    } else if is("size") {
                        set(&mut record.size, map.next_value()?);
                    } else if is("name") {
                        set(&mut record.name, map.next_value::<Option<Text>>()?.map(|t| t.0));
                    } else if is("name_raw") {
                        record.name_raw = map.next_value::<Option<Text>>()?.unwrap_or_default().0;
                    } else if is("payload") {
                        record.payload = map.next_value::<Option<Text>>()?.unwrap_or_default().0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(record)
            }
        }

        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// A string that is borrowed where it can be.
#[derive(Default, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(write: impl FnOnce(&mut Log<Vec<u8>>)) -> String {
        let mut log = Log::new(Vec::new());
        write(&mut log);
        String::from_utf8(log.finish().unwrap()).unwrap()
    }

    #[test]
    fn lines_are_those_of_go() {
        // store-format 8: the example, the raw name and the check value of "hello\n".
        let text = lines(|log| {
            log.segment(b"\0\xff").unwrap();
            log.file(b"./etc/hello", 6, 0x614c_3eee_e2d8_1000).unwrap();
            log.file(b"./etc/bad\xff", 0, 0).unwrap();
            log.file(b"", 0, 0).unwrap();
        });
        assert_eq!(
            text,
            concat!(
                "{\"type\":2,\"payload\":\"AP8=\",\"position\":0}\n",
                "{\"type\":1,\"name\":\"./etc/hello\",\"size\":6,\"payload\":\"YUw+7uLYEAA=\",\"position\":1}\n",
                "{\"type\":1,\"name_raw\":\"Li9ldGMvYmFk/w==\",\"payload\":null,\"position\":2}\n",
                "{\"type\":1,\"payload\":null,\"position\":3}\n",
            )
        );
    }

    #[test]
    fn names_are_escaped_as_go_does() {
        let name = "a<b>&c\"\\\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}\u{2028}\u{2029}/é\u{10ffff}";
        let text = lines(|log| log.file(name.as_bytes(), 0, 0).unwrap());
        let escaped = r#""a\u003cb\u003e\u0026c\"\\\n\r\t\b\f\u0001\u001f"#.to_owned()
            + "\u{7f}\\u2028\\u2029/é\u{10ffff}\"";
        assert!(text.contains(&escaped), "{text}");
        assert_eq!(Record::parse(text.as_bytes()).unwrap().name().unwrap(), name.as_bytes());
    }

    #[test]
    fn records_are_read_leniently() {
        let line = br#" {"Type":1,"new":{"a":[1]},"name":"x","name":"y","size":3,"payload":null,"position":-4} "#;
        let record = Record::parse(line).unwrap();
        assert_eq!((record.kind, record.size), (Record::FILE, 3));
        assert_eq!(record.name().unwrap(), b"y");
        let mut payload = vec![1];
        record.payload(&mut payload).unwrap();
        assert!(payload.is_empty());
        for bad in [&b"{"[..], b"[]", b"{} x", br#"{"type":"1"}"#, br#"{"size":1.5}"#] {
            assert!(Record::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
