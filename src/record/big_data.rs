//! File names of big data items (`store-format.md` 7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, ErrorKind, Result};

/// The longest file name of Linux, in bytes.
const NAME_MAX: usize = 255;

/// The name of the file, in the directory of its layer, image or container, that holds the item `key`.
///
/// The key itself if nothing but its last character is other than `.`, `0` to `9` and `a` to `z`; else `=` and the padded base64 of
/// its bytes. A `/` at the end is dropped, as by Go, which takes the name for a path: `a/` and `a` are one file.
///
/// # Errors
/// [`ErrorKind::InvalidDataName`] for an empty key, and for one whose name is that of a directory, has a `/` inside (Go looks for a
/// subdirectory, which is never there), a NUL, or over 255 bytes.
///
/// ```
/// use orlop::record::big_data::file_name;
/// assert_eq!(file_name("manifest")?, "manifest");
/// assert_eq!(file_name("Weird Key")?, "=V2VpcmQgS2V5");
/// # Ok::<(), orlop::Error>(())
/// ```
pub fn file_name(key: &str) -> Result<String> {
    let refused = |why: &str| {
        Err(Error::new(
            ErrorKind::InvalidDataName,
            format!("naming the file of the big data item {key:?}"),
        )
        .detail(why))
    };
    if key.is_empty() {
        return refused("the key is empty");
    }
    let mut name =
        if is_literal(key) { key.to_owned() } else { format!("={}", STANDARD.encode(key)) };
    name.truncate(name.trim_end_matches('/').len());
    match name.as_str() {
        "" | "." | ".." => refused("it would be the name of a directory"),
        _ if name.contains(['/', '\0']) => refused("its file name would contain '/' or NUL"),
        _ if name.len() > NAME_MAX => refused("its file name would be longer than 255 bytes"),
        _ => Ok(name),
    }
}

/// Go stops at the first character that is out of the set, and encodes if something is left after it.
fn is_literal(key: &str) -> bool {
    let odd = |c: char| !matches!(c, '.' | '0'..='9' | 'a'..='z');
    match key.char_indices().find(|(_, c)| odd(*c)) {
        Some((at, c)) => at + c.len_utf8() == key.len(),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_go_library() {
        // store-format.md 16.22
        // As found on disk after `set-image-data` of the Go command, current and 1.43.
        for (key, name) in [
            ("manifest", "manifest"),
            ("a.1", "a.1"),
            ("A", "A"),
            ("ab-", "ab-"),
            ("abA", "abA"),
            ("é", "é"),
            ("aé", "aé"),
            ("a/", "a"),
            ("aAb", "=YUFi"),
            ("AB?", "=QUI"),
            ("Weird Key", "=V2VpcmQgS2V5"),
            ("zstd-chunked-manifest", "=enN0ZC1jaHVua2VkLW1hbmlmZXN0"),
            ("zstd-chunked-layer-data", "=enN0ZC1jaHVua2VkLWxheWVyLWRhdGE="),
            ("chunked-manifest-cache", "=Y2h1bmtlZC1tYW5pZmVzdC1jYWNoZQ=="),
        ] {
            assert_eq!(file_name(key).unwrap(), name, "{key:?}");
        }
    }

    #[test]
    fn names_that_are_no_file_of_the_directory_are_refused() {
        for key in
            ["", ".", "..", "./", "../", "/", "AB?D", "a\0", &"a".repeat(256), &"A".repeat(200)]
        {
            assert_eq!(file_name(key).unwrap_err().kind(), ErrorKind::InvalidDataName, "{key:?}");
        }
        assert_eq!(file_name(&"a".repeat(255)).unwrap().len(), 255);
        assert_eq!(file_name("../x").unwrap(), "=Li4veA==");
        assert_eq!(file_name("/etc/passwd").unwrap(), "=L2V0Yy9wYXNzd2Q=");
    }
}
