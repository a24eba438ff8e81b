//! Validated identifiers: a layer's id, a content digest.

use std::fmt;

use crate::{Error, ErrorKind, Result};

/// The id of a layer: one path component, never empty, `.` or `..` (`overlay-driver.md` ADD-1).
///
/// By convention 64 lower-case hexadecimal digits; others are accepted because the Go library accepts them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(String);

impl LayerId {
    /// Checks `id` and takes it over.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it could not be a directory name: empty, `.`, `..`, over 255 bytes, with `/` or NUL, or
    /// one of the names that a store's directories keep for their own files (`l`, `tempdirs`, `layers.json` …).
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        check_component(&id)?;
        Ok(Self(id))
    }

    /// A fresh random id: 32 random bytes as 64 lower-case hexadecimal digits, whose first 12 are not a decimal number
    /// (`store-format.md` 11).
    pub fn random() -> Self {
        Self(random_hex_id())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<std::path::Path> for LayerId {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}

/// What the directories that hold one entry for each layer, image or container hold beside (`store-format.md` 1.1): an id that
/// reads so, in a damaged record, must not make a removal of the object remove these.
const RESERVED: [&str; 15] = [
    ".",
    "..",
    "l",
    "staging",
    "tempdirs",
    "tmp",
    "layers.json",
    "layers.lock",
    "volatile-layers.json",
    "images.json",
    "images.lock",
    "containers.json",
    "containers.lock",
    "volatile-containers.json",
    "lost+found",
];

/// Refuses an id that is not one plain path component, or that is the name of another file of the store.
pub(crate) fn check_component(id: &str) -> Result<()> {
    let why = match id {
        "" => "it is empty",
        _ if RESERVED.contains(&id) => "it is a reserved name",
        _ if id.ends_with(".tar-split.gz") => "it is the name of a layer's tar-split file",
        _ if id.starts_with(".tmp-") => "it is the name of a temporary file",
        _ if id.len() > 255 => "it is longer than 255 bytes",
        _ if id.contains(['/', '\0']) => "it contains '/' or NUL",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidArgument, format!("checking the id {id:?}"))
        .detail(why)
        .hint("an id is one path component, by convention 64 lower-case hexadecimal digits"))
}

/// 64 lower-case hexadecimal digits from 32 random bytes, the first 12 of which do not read as a decimal number.
pub(crate) fn random_hex_id() -> String {
    loop {
        let id: String = rand::random::<[u8; 32]>().iter().map(|b| format!("{b:02x}")).collect();
        if !id.as_bytes().iter().take(12).all(u8::is_ascii_digit) {
            return id;
        }
    }
}

/// A content digest, `algorithm:hex`, of sha256, sha384 or sha512.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Checks `text` and takes it over.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidDigest`] for another algorithm, a wrong length or anything but lower-case hexadecimal digits.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let length = match text.split_once(':') {
            Some(("sha256", hex)) => (hex, 64),
            Some(("sha384", hex)) => (hex, 96),
            Some(("sha512", hex)) => (hex, 128),
            _ => ("", 1),
        };
        let ok = length.0.len() == length.1
            && length.0.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if ok {
            Ok(Self(text))
        } else {
            Err(Error::new(ErrorKind::InvalidDigest, format!("checking the digest {text:?}")).hint(
                "a digest reads sha256:, sha384: or sha512: and then lower-case hexadecimal digits",
            ))
        }
    }

    /// The sha256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_sha256(sha2::Sha256::digest(bytes).as_slice())
    }

    /// The digest whose 32 raw bytes are `raw`, as a hasher gives them.
    pub(crate) fn from_sha256(raw: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for b in raw {
            let _ = write!(text, "{b:02x}");
        }
        Self(text)
    }

    /// The digest as text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the colon.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The part before the colon.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_single_components() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "a\0",
            "l",
            "tmp",
            "images.json",
            "a.tar-split.gz",
            ".tmp-x",
        ]
        .into_iter()
        .chain([&*"x".repeat(256)])
        {
            assert_eq!(
                LayerId::new(bad).unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{bad:?}"
            );
        }
        assert_eq!(LayerId::new("Weird:id..").unwrap().as_str(), "Weird:id..");
    }

    #[test]
    fn random_ids_are_64_hex_and_differ() {
        let (a, b) = (LayerId::random(), LayerId::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 64);
        assert!(a.as_str().bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
    }

    #[test]
    fn digests_are_checked() {
        let good = Digest::sha256(b"");
        assert_eq!(
            good.as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(Digest::parse(good.as_str()).unwrap(), good);
        let upper = good.as_str().to_uppercase();
        for bad in ["", "sha256:", "md5:00", "sha256:zz", upper.as_str(), &good.as_str()[..70]] {
            assert_eq!(Digest::parse(bad).unwrap_err().kind(), ErrorKind::InvalidDigest, "{bad:?}");
        }
    }
}
