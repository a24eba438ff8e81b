//! Where a layer lies: a repository, and a folder in it.

use std::fmt;

use crate::{Error, ErrorKind, Result};

/// The one scheme that layers are reached by.
const SCHEME: &str = "cvmfs://";

/// The longest name of a domain (RFC 1035, section 2.3.4).
const REPOSITORY_MAX: usize = 253;

/// The longest path that the kernel takes, with room for the mount point in front of it.
const FOLDER_MAX: usize = 3072;

/// The name of a repository, as a domain name is written: `unpacked.cern.ch`. It is one path component and begins with no dash, so that it
/// can name a mount point, and no program takes it for an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

impl Repository {
    /// Checks `name` and takes it over.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for anything but labels of letters, digits, `-` and `_` with dots between them.
    ///
    /// ```
    /// use orlop::thin::Repository;
    /// assert_eq!(Repository::new("unpacked.cern.ch")?.as_str(), "unpacked.cern.ch");
    /// assert!(Repository::new("../etc").is_err());
    /// # Ok::<(), orlop::Error>(())
    /// ```
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        match why_no_repository(&name) {
            None => Ok(Self(name)),
            Some(why) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("checking the repository {name:?}"),
            )
            .detail(why)
            .hint("a repository is named like a domain, unpacked.cern.ch for example")),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn why_no_repository(name: &str) -> Option<&'static str> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match name {
        "" => Some("it is empty"),
        _ if name.len() > REPOSITORY_MAX => Some("it is longer than 253 bytes"),
        _ if !name.split('.').all(label) => Some("it is not made of letters, digits and dots"),
        _ => None,
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a layer lies unpacked, `cvmfs://<repository>/<folder>`.
///
/// ```
/// use orlop::thin::CvmfsUrl;
/// let url = CvmfsUrl::parse("cvmfs://unpacked.cern.ch/layers/0a")?;
/// assert_eq!((url.repository().as_str(), url.folder()), ("unpacked.cern.ch", "layers/0a"));
/// # Ok::<(), orlop::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CvmfsUrl {
    repository: Repository,
    folder: String,
}

impl CvmfsUrl {
    /// Puts an address together.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a folder that is not a relative path of plain components.
    pub fn new(repository: Repository, folder: impl Into<String>) -> Result<Self> {
        let folder = folder.into();
        match why_no_folder(&folder) {
            None => Ok(Self { repository, folder }),
            Some(why) => Err(wrong(&format!("{SCHEME}{repository}/{folder}"), why)),
        }
    }

    /// Takes an address apart, at the first `/` behind the scheme.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for another scheme, for a name that is no repository's, and for a folder that is absolute, leads
    /// out of the repository, or is none.
    pub fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| {
            wrong(text, "its scheme is not \"cvmfs\"; layers come from no other place")
        })?;
        let (repository, folder) =
            rest.split_once('/').ok_or_else(|| wrong(text, "it names no folder"))?;
        let repository = Repository::new(repository)
            .map_err(|e| e.context(format!("reading the address {text:?}")))?;
        match why_no_folder(folder) {
            None => Ok(Self { repository, folder: folder.to_owned() }),
            Some(why) => Err(wrong(text, why)),
        }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The folder, relative to the repository's root.
    pub fn folder(&self) -> &str {
        &self.folder
    }
}

fn why_no_folder(folder: &str) -> Option<&'static str> {
    match folder {
        "" => Some("it names no folder"),
        _ if folder.starts_with('/') => Some("its folder is absolute"),
        _ if folder.len() > FOLDER_MAX => Some("its folder is longer than 3072 bytes"),
        _ if folder.contains(char::is_control) => Some("its folder has control characters"),
        _ if folder.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            Some("its folder has an empty component, \".\" or \"..\"")
        }
        _ if folder.split('/').any(|part| part.len() > 255) => {
            Some("its folder has a component of more than 255 bytes")
        }
        _ => None,
    }
}

fn wrong(text: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("reading the address {text:?}"))
        .detail(why)
        .hint("a layer's address reads cvmfs://<repository>/<folder>")
}

impl fmt::Display for CvmfsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.repository, self.folder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_cut_at_the_first_slash() {
        // 18.1, URL
        let url = CvmfsUrl::parse("cvmfs://unpacked.cern.ch/.layers/0a/0ab1/layerfs").unwrap();
        assert_eq!(url.repository().as_str(), "unpacked.cern.ch");
        assert_eq!(url.folder(), ".layers/0a/0ab1/layerfs");
        assert_eq!(url.to_string(), "cvmfs://unpacked.cern.ch/.layers/0a/0ab1/layerfs");
        let odd = CvmfsUrl::parse("cvmfs://a_1-b/x:y, z\\").unwrap();
        assert_eq!(odd.folder(), "x:y, z\\");
        let made = CvmfsUrl::new(Repository::new("r").unwrap(), "layers/1").unwrap();
        assert_eq!(made.to_string(), "cvmfs://r/layers/1");
    }

    #[test]
    fn nothing_leads_out_of_a_repository() {
        // CVM-18, 18.3
        let long = format!("cvmfs://r/{}", "x/".repeat(1600) + "x");
        let wide = format!("cvmfs://r/{}", "x".repeat(256));
        for (bad, says) in [
            ("http://r/f", "scheme"),
            ("/cvmfs/r/f", "scheme"),
            ("CVMFS://r/f", "scheme"),
            ("cvmfs:/r/f", "scheme"),
            ("", "scheme"),
            ("cvmfs://", "no folder"),
            ("cvmfs://r", "no folder"),
            ("cvmfs://r/", "no folder"),
            ("cvmfs:///f", "it is empty"),
            ("cvmfs://r//etc", "absolute"),
            ("cvmfs://r/a//b", "empty component"),
            ("cvmfs://r/a/", "empty component"),
            ("cvmfs://r/../../etc", "\"..\""),
            ("cvmfs://r/a/../b", "\"..\""),
            ("cvmfs://r/./a", "\".\""),
            ("cvmfs://r/a\0b", "control"),
            ("cvmfs://r/a\nb", "control"),
            ("cvmfs://../f", "letters"),
            ("cvmfs://a..b/f", "letters"),
            ("cvmfs://-o/f", "letters"),
            ("cvmfs://r'; rm -r x'/f", "letters"),
            (&long, "3072"),
            (&wide, "255"),
        ] {
            let e = CvmfsUrl::parse(bad).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidArgument, "{bad:?}");
            assert!(e.to_string().contains(says), "{e}");
        }
        assert!(Repository::new("x".repeat(254)).is_err());
        assert!(CvmfsUrl::new(Repository::new("r").unwrap(), "../x").is_err());
    }

    proptest! {
        #[test]
        fn an_address_reads_back_as_it_was_put_together(
            repository in "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,9}(\\.[a-z0-9]{1,9}){0,3}",
            folder in prop::collection::vec("[^/\\x00-\\x1f\\x7f-\\x9f.]{1,40}", 1..5),
        ) {
            let url = CvmfsUrl::new(Repository::new(repository).unwrap(), folder.join("/")).unwrap();
            prop_assert_eq!(CvmfsUrl::parse(&url.to_string()).unwrap(), url);
        }

        #[test]
        fn any_text_is_refused_or_leads_into_a_repository(
            parts in prop::collection::vec(
                prop::sample::select(vec!["cvmfs://", "/", ".", "..", "r", "-", "a b", "\0", "\n", "\u{e9}", "layers"]),
                0..9,
            ),
        ) {
            crate::thin::fuzzing::cvmfs_url(parts.concat().as_bytes());
        }
    }
}
