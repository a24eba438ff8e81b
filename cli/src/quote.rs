//! Text and paths in quotes, as Go's `%q` and its JSON encoder write them, whatever bytes they hold.

use std::fmt::Write as _;

/// `bytes` as Go's `%q` prints a string.
pub(crate) fn go_quote(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\x07' => quoted.push_str("\\a"),
                '\x08' => quoted.push_str("\\b"),
                '\x0c' => quoted.push_str("\\f"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\x0b' => quoted.push_str("\\v"),
                c if u32::from(c) < 0x20 || c == '\x7f' => {
                    let _ = write!(quoted, "\\x{:02x}", u32::from(c));
                }
                c if is_printable(c) => quoted.push(c),
                c if u32::from(c) < 0x1_0000 => {
                    let _ = write!(quoted, "\\u{:04x}", u32::from(c));
                }
                c => {
                    let _ = write!(quoted, "\\U{:08x}", u32::from(c));
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

/// `bytes` as a JSON string, each byte that is not UTF-8 as `\ufffd`.
///
/// # Errors
/// None for text; the encoder's are passed on.
pub(crate) fn go_json_string(bytes: &[u8]) -> orlop::Result<String> {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        let text = orlop::record::json::to_go_string(chunk.valid())?;
        quoted.push_str(text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(&text));
        for _ in chunk.invalid() {
            quoted.push_str("\\ufffd");
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// Whether Go prints the character as it is; a combining one needs a letter before it for Rust to say so.
fn is_printable(c: char) -> bool {
    let text: String = ['a', c].into_iter().collect();
    text.escape_debug().eq(text.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        // Expected values: Go 1.26, fmt.Sprintf("%q").
        let cases: [(&[u8], &str); 6] = [
            (b"/plain path", r#""/plain path""#),
            (b"a\"b\\c\n\t\x01\x7f", r#""a\"b\\c\n\t\x01\x7f""#),
            (b"\xff\xc3\xa9\xc3", r#""\xffé\xc3""#),
            ("e\u{301}".as_bytes(), "\"e\u{301}\""),
            ("\u{a0}\u{200b}".as_bytes(), r#""\u00a0\u200b""#),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
        ];
        for (bytes, expected) in cases {
            assert_eq!(go_quote(bytes), expected);
        }
    }

    #[test]
    fn json_strings_replace_each_bad_byte() {
        assert_eq!(go_json_string(b"/a<\xff\xfe").unwrap(), r#""/a\u003c\ufffd\ufffd""#);
    }
}
