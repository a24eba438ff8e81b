//! Names of images: the grammar of docker references, and how a name is completed to the one that is recorded.
//!
//! A reference reads `[domain[:port]/]path[:tag][@digest]`; a path is made of `/`-separated components of lower-case letters
//! and digits, which `.`, `_`, `__` or any number of `-` may separate.

use std::fmt;

use crate::{Digest, Error, ErrorKind, Result};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// The longest name, domain and path together, without tag and digest.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A parsed reference to an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses `text` as it stands, completing nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it does not follow the grammar.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Err(Error::new(ErrorKind::InvalidArgument, format!("reading the image name {text:?}"))
                .detail(why.to_string())
                .hint("an image name reads [domain[:port]/]path[:tag][@digest], the path in lower case"))
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => match Digest::parse(digest) {
                Ok(digest) => (rest, Some(digest)),
                Err(_) => return bad("what follows '@' is no digest"),
            },
            None => (text, None),
        };
        let after_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let colon =
            rest.get(after_slash..).and_then(|last| last.find(':')).map(|at| at + after_slash);
        let (name, tag) = match colon {
            Some(at) => match (rest.get(..at), rest.get(at + 1..)) {
                (Some(name), Some(tag)) if is_tag(tag) => (name, Some(tag.to_string())),
                _ => return bad("what follows ':' is no tag"),
            },
            None => (rest, None),
        };
        if name.len() > MAX_NAME {
            return bad("it is longer than 255 bytes");
        }
        let (domain, path) = match name.split_once('/') {
            Some((domain, path)) if is_domain(domain) => (Some(domain.to_string()), path),
            _ => (None, name),
        };
        if !path.split('/').all(is_component) {
            return bad(
                "its path is not made of lower-case letters, digits and separators between them",
            );
        }
        Ok(Self { domain, path: path.to_string(), tag, digest })
    }

    /// Parses `text` and completes what is missing as docker does: the domain `docker.io`, and there the path `library/`. The tag
    /// is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it does not follow the grammar, or is 64 hexadecimal digits, which are an image's id.
    pub fn parse_docker(text: &str) -> Result<Self> {
        if text.len() == 64
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("reading the image name {text:?}"),
            )
            .detail("64 hexadecimal digits are an id, not a name"));
        }
        let (domain, rest) = match text.split_once('/') {
            Some((domain, rest)) if domain.contains(['.', ':']) || domain == "localhost" => {
                (domain, rest)
            }
            _ => (DEFAULT_DOMAIN, text),
        };
        let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
        let library = domain == DEFAULT_DOMAIN && !rest.contains('/');
        let full = if library {
            format!("{domain}/{OFFICIAL}/{rest}")
        } else {
            format!("{domain}/{rest}")
        };
        Self::parse(&full)
    }

    /// Parses `text` and completes it to the name that podman gives an image it loads, builds or commits: a name without a
    /// registry is one of `localhost`, one without tag and digest is tagged `latest`, and a digest drops the tag beside it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it does not follow the grammar.
    pub fn normalize(text: &str) -> Result<Self> {
        let plain = Self::parse(text)?;
        let domain = plain.domain.as_deref().unwrap_or("");
        let full = if domain.contains(['.', ':']) || domain == "localhost" {
            Self::parse_docker(text)?
        } else {
            Self::parse_docker(&format!("localhost/{plain}"))?
        };
        Ok(full.with_default_tag())
    }

    /// The same with the tag `latest` if it has neither tag nor digest, and without its tag if it has both.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.digest.is_some() {
            self.tag = None;
        } else if self.tag.is_none() {
            self.tag = Some(DEFAULT_TAG.to_string());
        }
        self
    }

    /// Domain and path.
    pub fn name(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{domain}/{}", self.path),
            None => self.path.clone(),
        }
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Runs of lower-case letters and digits, with `.`, `_`, `__` or `-`s between two of them.
fn is_component(component: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_plain =
        component.bytes().next().is_some_and(plain) && component.bytes().last().is_some_and(plain);
    ends_plain
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        let long = "a/".repeat(127) + "a";
        for (text, domain, path) in [
            ("short", None, "short"),
            ("simple/name", Some("simple"), "name"),
            ("aa/aa/bb/bb", Some("aa"), "aa/bb/bb"),
            ("foo.com", None, "foo.com"),
            ("foo.com:8080/bar", Some("foo.com:8080"), "bar"),
            ("localhost:8080/bar", Some("localhost:8080"), "bar"),
            ("sub-dom1.foo.com/bar/baz/quux", Some("sub-dom1.foo.com"), "bar/baz/quux"),
            ("aa-a/a", Some("aa-a"), "a"),
            ("foo_bar", None, "foo_bar"),
            ("foo_bar.com", None, "foo_bar.com"),
            ("foo.com/foo_bar", Some("foo.com"), "foo_bar"),
            ("b.gcr.io/test.example.com/my-app", Some("b.gcr.io"), "test.example.com/my-app"),
            ("xn--n3h.com/myimage", Some("xn--n3h.com"), "myimage"),
            (
                "example.com/some_separator__underscore/myimage",
                Some("example.com"),
                "some_separator__underscore/myimage",
            ),
            ("do__cker/docker", None, "do__cker/docker"),
            (
                "registry.io/foo/project--id.module--name.ver---sion--name",
                Some("registry.io"),
                "foo/project--id.module--name.ver---sion--name",
            ),
            ("Asdf.com/foo/bar", Some("Asdf.com"), "foo/bar"),
            (&long, Some("a"), &long[2..]),
        ] {
            let r = Reference::parse(text).unwrap();
            assert_eq!((r.domain.as_deref(), r.path.as_str()), (domain, path), "{text}");
            assert_eq!(r.to_string(), text);
        }
        for text in [
            "",
            "a/a/a/a/",
            "a//a/a",
            "foo.com/",
            "foo.com:http/bar",
            "a^a",
            "aa/asdf$$^/aa",
            "a-/a/a/a",
            "foo.com/a-/a/a",
            "-foo/bar",
            "foo/bar-",
            "foo-/bar",
            "foo/-bar",
            "_foo/bar",
            "foo_bar.com:8080/app",
            "____/____",
            "_docker/_docker",
            "example.com/__underscore/myimage",
            "example.com/..dots/myimage",
            "example.com/.dots/x",
            "example.com/nodouble..dots/x",
            "docker./docker",
            ".docker/docker",
            "do..cker/docker",
            "do__cker:8080/docker",
            "Foo/FarB",
            "a___b",
            "a\nb",
            "é",
            "/a",
            "a:",
            "a:-x",
            "a:tag:tag",
            "a@sha256:bad",
            "@",
            "a@",
            &("a".repeat(256)),
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn tags_and_digests_are_split_off() {
        let digest = "sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912";
        let r = Reference::parse(&format!("registry.com:8080/myapp:tag2@{digest}")).unwrap();
        assert_eq!(r.name(), "registry.com:8080/myapp");
        assert_eq!(r.tag(), Some("tag2"));
        assert_eq!(r.digest().unwrap().as_str(), digest);
        assert_eq!(Reference::parse("a:80").unwrap().tag(), Some("80"));
        assert_eq!(Reference::parse("a:_x.y-Z").unwrap().tag(), Some("_x.y-Z"));
    }

    #[test]
    fn docker_names_are_completed() {
        for (text, full) in [
            ("x:tag", "docker.io/library/x:tag"),
            ("a/b", "docker.io/a/b"),
            ("docker.io/x", "docker.io/library/x"),
            ("index.docker.io/x", "docker.io/library/x"),
            ("localhost/x", "localhost/x"),
            ("host:5000/x", "host:5000/x"),
            ("quay.io/a/b:c", "quay.io/a/b:c"),
        ] {
            assert_eq!(Reference::parse_docker(text).unwrap().to_string(), full);
        }
        assert!(Reference::parse_docker(&"a".repeat(64)).is_err());
        assert!(Reference::parse_docker("X").is_err());
    }

    /// The names that podman 4.3 gave when it loaded archives with these tags.
    #[test]
    fn loaded_names_are_completed_as_podman_does() {
        let digest = "sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912";
        for (text, full) in [
            ("x:tag", "localhost/x:tag".to_string()),
            ("x", "localhost/x:latest".to_string()),
            ("foo/bar:baz", "localhost/foo/bar:baz".to_string()),
            ("quay.io/a/b:c", "quay.io/a/b:c".to_string()),
            ("docker.io/alpine", "docker.io/library/alpine:latest".to_string()),
            ("docker.io/library/x:tag", "docker.io/library/x:tag".to_string()),
            ("localhost/x", "localhost/x:latest".to_string()),
            (&format!("x:tag@{digest}"), format!("localhost/x@{digest}")),
        ] {
            assert_eq!(Reference::normalize(text).unwrap().to_string(), full);
        }
    }
}
