//! The keys' values, gathered from one file after the other (`storage-conf.md` 2).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::keys::{KEYS, Key, Kind, Table, same_folded};
use crate::{Error, ErrorKind, Result};

/// The value of a key after all files so far.
#[derive(Debug)]
enum Value {
    Text(String),
    Flag(bool),
    Number(u32),
    List { items: Vec<String>, append: bool },
    Map(BTreeMap<String, String>),
}

/// A key's value, and the last file that had a say in it.
#[derive(Debug)]
struct Setting {
    value: Value,
    file: PathBuf,
}

/// All keys that were set.
#[derive(Debug, Default)]
pub(super) struct Settings {
    set: HashMap<(Table, &'static str), Setting>,
    /// What the user should know of, in the order found.
    pub(super) warnings: Vec<String>,
    /// Keys that are unknown, for whoever asks.
    pub(super) ignored: Vec<String>,
}

impl Settings {
    /// A string key; empty if it was not set.
    pub(super) fn text(&self, table: Table, name: &'static str) -> &str {
        match self.value(table, name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// A boolean key; false if it was not set.
    pub(super) fn flag(&self, table: Table, name: &'static str) -> bool {
        matches!(self.value(table, name), Some(Value::Flag(true)))
    }

    /// A number; 0 if it was not set.
    pub(super) fn number(&self, table: Table, name: &'static str) -> u32 {
        match self.value(table, name) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    /// A list; empty if it was not set.
    pub(super) fn list(&self, table: Table, name: &'static str) -> &[String] {
        match self.value(table, name) {
            Some(Value::List { items, .. }) => items,
            _ => &[],
        }
    }

    /// A table of strings; empty if it was not set.
    pub(super) fn map(&self, table: Table, name: &'static str) -> BTreeMap<String, String> {
        match self.value(table, name) {
            Some(Value::Map(map)) => map.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// The last file that set a key.
    pub(super) fn file(&self, table: Table, name: &'static str) -> Option<&Path> {
        self.set.get(&(table, name)).map(|setting| setting.file.as_path())
    }

    fn value(&self, table: Table, name: &'static str) -> Option<&Value> {
        debug_assert!(KEYS.iter().any(|key| key.table == table && key.name == name));
        self.set.get(&(table, name)).map(|setting| &setting.value)
    }

    /// Adds what one more file says. On an error the settings are of no more use.
    pub(super) fn merge(&mut self, file: &Path, bytes: &[u8]) -> Result<()> {
        let source = Source::new(file, bytes)?;
        let root = DeTable::parse(source.text)
            .map_err(|e| source.error(e.span().map_or(0, |span| span.start), e.message()))?;
        source.check_numbers(root.get_ref())?;
        // First in, first out: what a key of exact spelling says stays behind its folded namesakes on every level.
        let mut tables = VecDeque::from([(Table::Root, root.get_ref())]);
        while let Some((table, entries)) = tables.pop_front() {
            let mut folded = Vec::new();
            let mut exact = Vec::new();
            for (name, value) in entries {
                match known(table, name.get_ref()) {
                    Some((entry, true)) => exact.push((entry, name, value)),
                    Some((entry, false)) => folded.push((entry, name, value)),
                    None => {
                        let (key, table) = (name.get_ref(), table.path());
                        let text = format!("{}: key {key:?} in table {table:?}", file.display());
                        tracing::debug!("{text} is unknown and ignored");
                        self.ignored.push(text);
                    }
                }
            }
            for (entry, name, value) in folded.into_iter().chain(exact) {
                match (entry, value.get_ref()) {
                    (Entry::Table(child), DeValue::Table(entries)) => {
                        tables.push_back((child, entries));
                    }
                    (Entry::Table(child), other) => {
                        let at = name.span().start;
                        let found = with_article(other.type_str());
                        return Err(source.mismatch(at, child.path(), "a table", &found));
                    }
                    (Entry::Key(key), _) => self.set(&source, key, name.span().start, value)?,
                }
            }
        }
        Ok(())
    }

    fn set(
        &mut self,
        source: &Source<'_>,
        key: &'static Key,
        at: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<()> {
        let mismatch = || {
            let name = format!("{}.{}", key.table.path(), key.name);
            let found = match value.get_ref() {
                DeValue::Integer(number) => format!("the integer {number}"),
                other => with_article(other.type_str()),
            };
            let error = source.mismatch(at, &name, &key.kind.to_string(), &found);
            match advice(key.kind, value.get_ref()) {
                Some(advice) => error.hint(advice),
                None => error,
            }
        };
        let before = self.set.remove(&(key.table, key.name)).map(|setting| setting.value);
        let value = match (key.kind, value.get_ref()) {
            (Kind::Text, DeValue::String(text)) => Value::Text(text.clone().into_owned()),
            (Kind::Flag, DeValue::Boolean(flag)) => Value::Flag(*flag),
            (Kind::Number, DeValue::Integer(number)) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                Value::Number(number.and_then(|n| n.try_into().ok()).ok_or_else(mismatch)?)
            }
            (Kind::List, DeValue::Array(array)) => source.list(key, array, before)?,
            (Kind::Map, DeValue::Table(table)) => source.map(key, table, before)?,
            (Kind::Map, other) => {
                // The Go loader passes over it in silence; refusing here would break what works there.
                self.warnings.push(format!(
                    "{}: line {}: {}.{} is ignored: it must be {}, not {}",
                    source.file.display(),
                    source.line(at),
                    key.table.path(),
                    key.name,
                    key.kind,
                    with_article(other.type_str()),
                ));
                match before {
                    Some(before) => before,
                    None => return Ok(()),
                }
            }
            _ => return Err(mismatch()),
        };
        let setting = Setting { value, file: source.file.to_path_buf() };
        self.set.insert((key.table, key.name), setting);
        Ok(())
    }
}

/// What a name stands for in a table.
enum Entry {
    Table(Table),
    Key(&'static Key),
}

/// What a name stands for, and whether it is spelled exactly so.
fn known(table: Table, name: &str) -> Option<(Entry, bool)> {
    for (parent, known, child) in Table::CHILDREN {
        if parent == table && same_folded(known, name) {
            return Some((Entry::Table(child), known == name));
        }
    }
    let mut keys = KEYS.iter().filter(|key| key.table == table);
    let key = keys.find(|key| same_folded(key.name, name))?;
    Some((Entry::Key(key), key.name == name))
}

/// A file's text, to be pointed at in errors.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> Source<'a> {
    fn new(file: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        std::str::from_utf8(bytes).map(|text| Self { file, text }).map_err(|e| {
            let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
            Error::new(ErrorKind::Config, "parsing configuration")
                .path(file)
                .detail(format!("line {line}: not UTF-8"))
        })
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|&b| b == b'\n').count()
    }

    fn error(&self, at: usize, detail: impl AsRef<str>) -> Error {
        Error::new(ErrorKind::Config, "parsing configuration").path(self.file).detail(format!(
            "line {}: {}",
            self.line(at),
            detail.as_ref()
        ))
    }

    fn mismatch(&self, at: usize, key: &str, wanted: &str, found: &str) -> Error {
        self.error(at, format!("{key} must be {wanted}, not {found}"))
    }

    /// Numbers that Go cannot hold are errors there wherever they stand, under unknown keys too.
    fn check_numbers(&self, root: &DeTable<'_>) -> Result<()> {
        let mut tables = vec![root];
        let mut arrays: Vec<&DeArray<'_>> = Vec::new();
        loop {
            let values: Vec<&Spanned<DeValue<'_>>> = match (tables.pop(), arrays.pop()) {
                (Some(table), array) => {
                    arrays.extend(array);
                    table.iter().map(|(_, value)| value).collect()
                }
                (None, Some(array)) => array.iter().collect(),
                (None, None) => return Ok(()),
            };
            for value in values {
                let fits = match value.get_ref() {
                    DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).is_ok(),
                    DeValue::Float(n) => {
                        n.as_str().contains("inf")
                            || !n.as_str().parse::<f64>().is_ok_and(f64::is_infinite)
                    }
                    DeValue::Table(table) => {
                        tables.push(table);
                        true
                    }
                    DeValue::Array(array) => {
                        arrays.push(array);
                        true
                    }
                    _ => true,
                };
                if !fits {
                    return Err(self.error(value.span().start, "number out of range"));
                }
            }
        }
    }

    /// A list: replaces what was there, or adds to it once `{append=true}` was said.
    fn list(&self, key: &Key, array: &DeArray<'_>, before: Option<Value>) -> Result<Value> {
        let (mut items, mut append) = match before {
            Some(Value::List { items, append }) => (items, append),
            _ => (Vec::new(), false),
        };
        let mut added = Vec::new();
        for item in array {
            let at = item.span().start;
            let wrong =
                |what: &str| self.error(at, format!("{}.{}: {what}", key.table.path(), key.name));
            match item.get_ref() {
                DeValue::String(text) => added.push(text.clone().into_owned()),
                // A `[[table]]` is no list; its item begins with the header.
                DeValue::Table(marks) if self.text.as_bytes().get(at) == Some(&b'{') => {
                    for (name, value) in marks {
                        match (&**name.get_ref(), value.get_ref()) {
                            ("append", DeValue::Boolean(mark)) => append = *mark,
                            ("append", _) => return Err(wrong("append must be true or false")),
                            (name, _) => {
                                return Err(wrong(&format!("{name:?} is unknown, not append")));
                            }
                        }
                    }
                }
                other => {
                    let found = with_article(other.type_str());
                    return Err(wrong(&format!("{found} among the strings")));
                }
            }
        }
        if append {
            items.extend(added);
        } else {
            items = added;
        }
        Ok(Value::List { items, append })
    }

    /// A table of strings: merged key by key.
    fn map(&self, key: &Key, table: &DeTable<'_>, before: Option<Value>) -> Result<Value> {
        let mut map = match before {
            Some(Value::Map(map)) => map,
            _ => BTreeMap::new(),
        };
        for (name, value) in table {
            let DeValue::String(text) = value.get_ref() else {
                let path = format!("{}.{}.{}", key.table.path(), key.name, name.get_ref());
                let found = with_article(value.get_ref().type_str());
                let error = self.mismatch(name.span().start, &path, "a string", &found);
                return Err(match advice(Kind::Text, value.get_ref()) {
                    Some(advice) => error.hint(advice),
                    None => error,
                });
            };
            map.insert(name.get_ref().clone().into_owned(), text.clone().into_owned());
        }
        Ok(Value::Map(map))
    }
}

/// How to write a value that is of another type than its key.
fn advice(kind: Kind, value: &DeValue<'_>) -> Option<&'static str> {
    match (kind, value) {
        (Kind::Text, DeValue::Boolean(_) | DeValue::Integer(_) | DeValue::Float(_)) => {
            Some("put the value in quotes")
        }
        (Kind::Flag, DeValue::String(_)) => Some("leave out the quotes"),
        (Kind::Number, DeValue::String(_)) => {
            Some("leave out the quotes; octal digits are written 0o755")
        }
        (Kind::List, DeValue::String(_)) => Some("put the value in brackets"),
        _ => None,
    }
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
