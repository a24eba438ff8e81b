//! Which names a stream has had: none may come twice.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// The cleaned names that have been seen.
///
/// Of each name only 128 bits are kept, from two hash functions with random keys of their own (SipHash, the standard
/// library's): nobody can choose names that collide, and by chance two of ten million do with a probability of 10^-25.
/// That is 16 bytes a name, some 20 to 40 in the table and 60 for the moment in which it grows, however long names are.
#[derive(Debug, Default)]
pub(crate) struct Names {
    seen: HashSet<u128>,
    keys: [RandomState; 2],
    cleaned: Vec<u8>,
}

impl Names {
    /// Notes a name; false if it was there already.
    pub(crate) fn insert(&mut self, name: &[u8]) -> bool {
        clean(name, &mut self.cleaned);
        let [high, low] = &self.keys;
        let high = u128::from(high.hash_one(&self.cleaned));
        let low = u128::from(low.hash_one(&self.cleaned));
        self.seen.insert(high << 64 | low)
    }
}

/// What Go's `path.Clean` makes of a name: no empty parts, no `.`, no `..` but at the front of a relative name.
fn clean(name: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let rooted = name.starts_with(b"/");
    if rooted {
        out.push(b'/');
    }
    let root = out.len();
    // Up to here `out` holds only what a `..` cannot take back.
    let mut fixed = root;
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if out.len() > fixed => {
                let end = out.iter().rposition(|&b| b == b'/').unwrap_or(0);
                out.truncate(end.max(fixed));
            }
            b".." if rooted => {}
            _ => {
                if out.len() > root {
                    out.push(b'/');
                }
                out.extend_from_slice(part);
                if part == b".." {
                    fixed = out.len();
                }
            }
        }
    }
    if out.is_empty() {
        out.push(b'.');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_as_go_does() {
        for (name, cleaned) in [
            ("", "."),
            ("./", "."),
            ("a", "a"),
            ("./a/", "a"),
            ("a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("a/b/../..", "."),
            ("..", ".."),
            ("../../a/..", "../.."),
            ("../a/../..", "../.."),
            ("/", "/"),
            ("//a", "/a"),
            ("/..", "/"),
            ("/../a/../b", "/b"),
            ("...", "..."),
        ] {
            let mut out = Vec::new();
            clean(name.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), cleaned, "{name:?}");
        }
    }

    #[test]
    fn a_name_comes_once() {
        let mut names = Names::default();
        assert!(names.insert(b"a"));
        assert!(names.insert(b"/a"));
        assert!(!names.insert(b"./a/"));
    }
}
