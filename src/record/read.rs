//! Reading JSON as leniently as the Go library does (`store-format.md` 2): `null` for any absent value, lone surrogates, bytes that are
//! not UTF-8, and numbers rounded correctly.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

/// How deep a value of a caller's flags or of an unknown field may be nested; bounds the recursion.
const MAX_DEPTH: usize = 256;

/// What is wrong with the text, and at which byte.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

type Result<T> = std::result::Result<T, Flaw>;

/// A place in a JSON text.
pub(super) struct Reader<'a> {
    text: &'a [u8],
    /// The whole of it, if it is UTF-8: looked at once, since a look at each of its many short strings takes longer.
    utf8: Option<&'a str>,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, utf8: std::str::from_utf8(text).ok(), at: 0 }
    }

    pub(super) fn flaw<T>(&self, what: &'static str) -> Result<T> {
        Err(Flaw { at: self.at, what })
    }

    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b) = self.text.get(self.at) {
            if !matches!(b, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*b);
            }
            self.at += 1;
        }
        None
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn null(&mut self) -> bool {
        self.word("null")
    }

    /// Calls `item` for each element of the array that follows; `null` is an empty one.
    pub(super) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.null() {
            return Ok(());
        }
        if !self.take(b'[') {
            return self.flaw("expected an array");
        }
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.flaw("expected a comma or the end of the array");
            }
        }
    }

    /// Calls `member` for each key of the object that follows, to read the value; `null` is an empty one.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>,
    ) -> Result<()> {
        if self.null() {
            return Ok(());
        }
        if !self.take(b'{') {
            return self.flaw("expected an object");
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.flaw("expected a key");
            }
            let key = self.text()?;
            if !self.take(b':') {
                return self.flaw("expected a colon");
            }
            member(self, key)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.flaw("expected a comma or the end of the object");
            }
        }
    }

    /// A string; `null` is an empty one.
    pub(super) fn string(&mut self) -> Result<String> {
        self.text().map(Cow::into_owned)
    }

    /// As [`Reader::string`], for a look only: what has no escapes is not copied.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>> {
        match self.peek() {
            Some(b'"') => self.at += 1,
            _ if self.null() => return Ok(Cow::Borrowed("")),
            _ => return self.flaw("expected a string"),
        }
        let mut bytes = Vec::new();
        loop {
            let start = self.at;
            let rest = self.text.get(start..).unwrap_or_default();
            let plain = plain_prefix(rest);
            let part = rest.get(..plain).unwrap_or_default();
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') if bytes.is_empty() => {
                    let text = self.utf8.and_then(|text| text.get(start..self.at));
                    self.at += 1;
                    return Ok(text.map_or_else(|| into_text(part.to_vec()).into(), Cow::Borrowed));
                }
                Some(b'"') => {
                    self.at += 1;
                    bytes.extend_from_slice(part);
                    return Ok(into_text(bytes).into());
                }
                Some(b'\\') => {
                    self.at += 1;
                    bytes.extend_from_slice(part);
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => return self.flaw("a control character in a string"),
                None => return self.flaw("the text ends in a string"),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char> {
        let Some(kind) = self.text.get(self.at) else {
            return self.flaw("the text ends in a string");
        };
        let c = match kind {
            b'"' | b'\\' | b'/' => char::from(*kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.code_point(),
            _ => return self.flaw("an unknown escape in a string"),
        };
        self.at += 1;
        Ok(c)
    }

    /// `uXXXX`, or the two of a surrogate pair. Half a pair is U+FFFD, as in Go.
    fn code_point(&mut self) -> Result<char> {
        let Some(high) = self.unit() else { return self.flaw("expected four hexadecimal digits") };
        let mut code = high;
        if (0xd800..0xdc00).contains(&high) && self.text.get(self.at) == Some(&b'\\') {
            let before = self.at;
            self.at += 1;
            match self.unit() {
                Some(low @ 0xdc00..0xe000) => {
                    code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                }
                _ => self.at = before,
            }
        }
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..)?.strip_prefix(b"u")?.get(..4)?;
        let unit = digits.iter().try_fold(0, |n, b| Some(n * 16 + char::from(*b).to_digit(16)?))?;
        self.at += 5;
        Some(unit)
    }

    /// The text of a number, checked against the grammar.
    fn number(&mut self) -> Result<&'a str> {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digits =
            |from: usize| rest.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
        let mut end = usize::from(rest.first() == Some(&b'-'));
        let whole = digits(end);
        if whole == 0 || (whole > 1 && rest.get(end) == Some(&b'0')) {
            return self.flaw("expected a number");
        }
        end += whole;
        if rest.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if fraction == 0 {
                return self.flaw("a number without digits after the point");
            }
            end += 1 + fraction;
        }
        if matches!(rest.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent == 0 {
                return self.flaw("a number without digits in the exponent");
            }
            end += 1 + sign + exponent;
        }
        match rest.get(..end).map(std::str::from_utf8) {
            Some(Ok(text)) => {
                self.at += end;
                Ok(text)
            }
            _ => self.flaw("expected a number"),
        }
    }

    /// An integer; `null` is 0.
    pub(super) fn integer<N: std::str::FromStr + Default>(&mut self) -> Result<N> {
        if self.null() {
            return Ok(N::default());
        }
        let at = self.at;
        let text = self.number()?;
        text.parse().or(Err(Flaw { at, what: "expected an integer in the range of the field" }))
    }

    /// Any value. Integers beyond 64 bits become floating-point numbers.
    pub(super) fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return self.flaw("values are nested too deeply");
        }
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'[') => {
                let mut items = Vec::new();
                self.array(|r| {
                    items.push(r.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Value::Array(items))
            }
            Some(b'{') => {
                let mut members = Map::new();
                self.object(|r, key| {
                    members.insert(key.into_owned(), r.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Value::Object(members))
            }
            Some(b'-' | b'0'..=b'9') => {
                let at = self.at;
                let text = self.number()?;
                exact(text).map(Value::Number).ok_or(Flaw { at, what: "a number out of range" })
            }
            _ if self.null() => Ok(Value::Null),
            _ if self.word("true") => Ok(Value::Bool(true)),
            _ if self.word("false") => Ok(Value::Bool(false)),
            _ => self.flaw("expected a value"),
        }
    }
}

/// How many bytes stand for themselves before the end of a string, an escape or what does not belong into one.
fn plain_prefix(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let special = |b: &u8| matches!(b, b'"' | b'\\' | 0..0x20);
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// Looks at eight bytes at once: the lowest bit set is the highest bit of the first one that is special. A borrow can set
/// bits above that one, never below it.
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero_in = |w: u64| w.wrapping_sub(ONES) & !w;
    let quotes = zero_in(word ^ (ONES * b'"' as u64));
    let escapes = zero_in(word ^ (ONES * b'\\' as u64));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | escapes | controls) & HIGH
}

fn exact(text: &str) -> Option<Number> {
    // The sign of -0 exists in floating point only.
    if text != "-0" {
        if let Ok(n) = text.parse::<i64>() {
            return Some(n.into());
        }
        if let Ok(n) = text.parse::<u64>() {
            return Some(n.into());
        }
    }
    Number::from_f64(text.parse().ok()?)
}

/// As Go does when it writes the text again: each byte that is not part of UTF-8 becomes one U+FFFD.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| {
        let mut text = String::new();
        for chunk in e.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        text
    })
}
