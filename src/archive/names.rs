//! Names of members: cleaned, taken apart, and shown in messages.

/// Longest part of a name that a message shows.
const SHOWN: usize = 200;

/// The name as a path below the root: no leading or double slash, no `.` or `..` (which stops at the root, UNP-5); empty
/// for the root itself.
pub(super) fn clean(name: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(name.len());
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let end = out.iter().rposition(|b| *b == b'/').unwrap_or(0);
                out.truncate(end);
            }
            _ => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(part);
            }
        }
    }
    out
}

/// The parent and the last component of a cleaned name.
pub(super) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'/') {
        Some(at) => (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default()),
        None => (b"", name),
    }
}

/// A path and one component more.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
    [path, slash, name].concat()
}

/// The last part of a name that is not cleaned.
pub(super) fn last_part(name: &[u8]) -> &[u8] {
    name.rsplit(|b| *b == b'/').find(|part| !part.is_empty()).unwrap_or_default()
}

/// The name for a message: readable, and not longer than a message may be.
pub(super) fn show(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name.get(..SHOWN).unwrap_or(name));
    let more = if name.len() > SHOWN { "…" } else { "" };
    format!("{text:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // UNP-5
    #[test]
    fn cleaning_is_that_of_a_path_below_the_root() {
        for (name, clean_name) in [
            ("a//b/../c", "a/c"),
            ("../evil", "evil"),
            ("/abs/x/", "abs/x"),
            ("./", ""),
            ("", ""),
            ("a/../../..", ""),
            ("...", "..."),
        ] {
            assert_eq!(clean(name.as_bytes()), clean_name.as_bytes(), "{name}");
        }
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }
}
