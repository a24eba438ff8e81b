//! What must hold of any file of records.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test for any input")]

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Timestamp, containers, images, layers, mountpoints};
use crate::{ErrorKind, Result};

/// What was read is written so that it reads the same (but for the form of numbers in flags and unknown members, `1e2` and
/// `100`), and the same is written again; members that we do not know are still there; a refusal is about the file. All four
/// kinds are tried.
pub(crate) fn records(data: &[u8]) {
    macro_rules! check {
        ($kind:ident $(, $flags:ident, $extra:ident)?) => {
            if let Some(records) = accepted($kind::parse(data)) {
                let text = $kind::write(&records);
                let mut both = [$kind::parse(&text).unwrap(), records];
                assert_eq!($kind::write(&both[0]), text);
                $(
                    keys_survive(&text, both[1].iter().map(|r| &r.$extra));
                    for record in both.iter_mut().flatten() {
                        record.$flags.clear();
                        record.$extra.clear();
                    }
                )?
                both.reverse();
                assert_eq!(both[0], both[1], "{}", String::from_utf8_lossy(&text));
            }
        };
    }
    check!(layers, flags, extra);
    check!(images, flags, extra);
    check!(containers, flags, extra);
    check!(mountpoints);
    unknown_members_survive(data);
}

fn accepted<T>(outcome: Result<Vec<T>>) -> Option<Vec<T>> {
    outcome.map_err(|e| assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}")).ok()
}

/// What we hold for unknown is in the file, as another reader sees it.
fn keys_survive<'a>(text: &[u8], extras: impl Iterator<Item = &'a super::Extra>) {
    // That reader has less patience with nesting.
    let Ok(Value::Array(written)) = serde_json::from_slice(text) else { return };
    for (record, extra) in written.iter().zip(extras) {
        for key in extra.keys() {
            assert!(record.get(key).is_some(), "the unknown member {key:?} is gone");
        }
    }
}

/// The members of each object in the file that no version knows, as another reader sees them, are in what is written.
fn unknown_members_survive(data: &[u8]) {
    let (Ok(Value::Array(read)), Ok(records)) = (serde_json::from_slice(data), images::parse(data))
    else {
        return;
    };
    let text = images::write(&records);
    let Ok(Value::Array(written)) = serde_json::from_slice(&text) else { return };
    assert_eq!(read.len(), written.len());
    for (before, after) in read.iter().zip(&written) {
        let unknown = |value: &Value| -> BTreeSet<String> {
            let members = value.as_object().into_iter().flatten();
            members.map(|(key, _)| key.clone()).filter(|key| key.starts_with('x')).collect()
        };
        assert_eq!(unknown(before), unknown(after));
    }
}

/// A time that is read is written so that it reads the same.
pub(crate) fn timestamp(text: &str) {
    let Ok(time) = Timestamp::parse(text) else { return };
    let written = time.to_string();
    assert_eq!(Timestamp::parse(&written).unwrap(), time, "{text:?} {written:?}");
    assert_eq!(time.to_utc().unix_seconds(), time.unix_seconds());
}
