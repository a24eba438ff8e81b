//! JSON for programs, in the manner in which the Go library and its command write it.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

use super::write;
use crate::{Error, ErrorKind, Result};

/// Writes `value` as one line of JSON without white space: `<`, `>`, `&`, U+2028 and U+2029 escaped, BS and FF as `\u0008` and `\u000c`,
/// floating-point numbers in Go's form (`store-format.md` 2).
///
/// # Errors
/// [`ErrorKind::Internal`] if the value has no JSON form, such as a map whose keys are no strings.
///
/// ```
/// let mut layer = orlop::record::Layer { id: "a<b".into(), ..Default::default() };
/// assert_eq!(orlop::record::json::to_go_string(&[layer])?, r#"[{"id":"a\u003cb","created":"0001-01-01T00:00:00Z"}]"#);
/// # Ok::<(), orlop::Error>(())
/// ```
pub fn to_go_string<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Internal, "writing a value as JSON").caused_by(e)
    };
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoForm);
    value.serialize(&mut serializer).map_err(|e| failed(e.into()))?;
    String::from_utf8(out).map_err(|e| failed(e.into()))
}

struct GoForm;

impl Formatter for GoForm {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(write::float(value).as_bytes())
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut out = Vec::with_capacity(fragment.len());
        write::escape_into(&mut out, fragment);
        writer.write_all(&out)
    }

    fn write_char_escape<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let byte = match escape {
            CharEscape::Quote => b'"',
            CharEscape::ReverseSolidus => b'\\',
            CharEscape::Solidus => b'/',
            CharEscape::Backspace => 8,
            CharEscape::FormFeed => 12,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(byte) => byte,
        };
        let mut out = Vec::with_capacity(6);
        write::escape_into(&mut out, char::from(byte).encode_utf8(&mut [0; 4]));
        writer.write_all(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Image, Layer};

    #[test]
    fn escapes_and_numbers_are_those_of_the_records() {
        let text = "\u{8}\u{c}\u{1}\u{7f}\n\r\t\"\\/<>&\u{2028}\u{2029}é\u{10ffff}";
        let json = to_go_string(&(text, 1e-7, 1e21, 0.5, 7_u64)).unwrap();
        let escaped = r#""\u0008\u000c\u0001"#.to_owned()
            + "\u{7f}"
            + r#"\n\r\t\"\\/\u003c\u003e\u0026\u2028\u2029é"#
            + "\u{10ffff}\"";
        assert_eq!(json, format!("[{escaped},1e-07,1e+21,0.5,7]"));
    }

    #[test]
    fn records_keep_their_form_inside_other_values() {
        #[derive(Serialize)]
        struct Both<'a> {
            layer: &'a Layer,
            images: Vec<Image>,
        }
        let layer = Layer { id: "l".into(), diff_size: -1, ..Layer::default() };
        let json = to_go_string(&Both { layer: &layer, images: vec![Image::default()] }).unwrap();
        assert_eq!(
            json,
            r#"{"layer":{"id":"l","created":"0001-01-01T00:00:00Z","diff-size":-1},"images":[{"id":"","created":"0001-01-01T00:00:00Z"}]}"#
        );
        assert_eq!(
            to_go_string(&std::collections::BTreeMap::from([((1, 2), 3)])).unwrap_err().kind(),
            ErrorKind::Internal
        );
    }
}
