//! `policy.json`: which images may be loaded (containers-policy.json(5)).
//!
//! Accepting and rejecting is done here; a demand for a signature cannot be met by a file that carries none, and is an error.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::{Error, ErrorKind, Result};

/// The largest policy file that is read.
const MAX_POLICY: u64 = 4 << 20;

/// Finds the policy that applies: `containers/policy.json` in the user's `config_home` (`$XDG_CONFIG_HOME`, or
/// `$HOME/.config`) if there is one, else `/etc/containers/policy.json`,
/// else `/usr/share/containers/policy.json`; `None` if there is none of them. A file that is there and cannot be read is found all
/// the same: it is no reason to accept everything.
pub fn find_policy(config_home: Option<&Path>) -> Option<PathBuf> {
    config_home
        .map(|home| home.join("containers/policy.json"))
        .into_iter()
        .chain(["/etc/containers/policy.json".into(), "/usr/share/containers/policy.json".into()])
        .find(|path| !path.symlink_metadata().is_err_and(|e| absent(&e)))
}

fn absent(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Where an image comes from, in the words of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    DockerArchive,
    OciArchive,
    OciDir,
}

impl Transport {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive",
            Self::OciArchive => "oci-archive",
            Self::OciDir => "oci",
        }
    }
}

#[derive(Debug)]
pub(super) struct Policy {
    file: PathBuf,
    default: Vec<Requirement>,
    transports: Vec<(String, Vec<Scope>)>,
}

#[derive(Debug)]
struct Scope {
    name: String,
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Accept,
    Reject,
    Signature(String),
}

impl Policy {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let action = || format!("reading the signature policy {file:?}");
        let size = std::fs::metadata(file).map_err(|e| Error::io(action(), file, e))?.len();
        if size > MAX_POLICY {
            return Err(Error::new(ErrorKind::Config, action()).detail("it is larger than 4 MiB"));
        }
        let text = std::fs::read(file).map_err(|e| Error::io(action(), file, e))?;
        Self::parse(&text, file).map_err(|why| {
            Error::new(ErrorKind::Config, action())
                .detail(why)
                .hint("containers-policy.json(5) describes the file")
        })
    }

    pub(super) fn parse(text: &[u8], file: &Path) -> Result<Self, String> {
        let raw: RawPolicy = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let default = requirements(raw.default)?;
        let mut transports = Vec::new();
        for (transport, raw_scopes) in raw.transports.map(|t| t.0).unwrap_or_default() {
            let mut scopes = Vec::new();
            for (name, list) in raw_scopes.0 {
                check_scope(&transport, &name)?;
                scopes.push(Scope { name, requirements: requirements(list)? });
            }
            transports.push((transport, scopes));
        }
        Ok(Self { file: file.to_path_buf(), default, transports })
    }

    /// Whether an image from `transport` at `path` (absolute, without links; absent for a stream) may be loaded.
    pub(super) fn check(&self, transport: Transport, path: Option<&Path>) -> Result<()> {
        let refused = |kind, why: String| {
            Error::new(kind, format!("asking about images of the transport {}", transport.name()))
                .detail(format!("{why} in {}", self.file.display()))
                .hint("change the policy, or have an administrator change it")
        };
        for requirement in self.applying(transport, path) {
            match requirement {
                Requirement::Accept => {}
                Requirement::Reject => {
                    return Err(refused(ErrorKind::PolicyRejected, "it is rejected".into()));
                }
                Requirement::Signature(kind) => {
                    return Err(refused(
                        ErrorKind::PolicyRejected,
                        format!(
                            "a signature is required ({kind}), which an image file does not carry,"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The requirements of the most specific scope: the path itself, then each directory above it, then the transport's default,
    /// then the policy's. The path of a docker archive names no scope.
    fn applying(&self, transport: Transport, path: Option<&Path>) -> &[Requirement] {
        let Some((_, scopes)) = self.transports.iter().find(|(name, _)| name == transport.name())
        else {
            return &self.default;
        };
        let find = |wanted: &str| {
            scopes.iter().find(|s| s.name == wanted).map(|s| s.requirements.as_slice())
        };
        let path = path.filter(|_| transport != Transport::DockerArchive);
        path.into_iter()
            .flat_map(Path::ancestors)
            .filter_map(Path::to_str)
            .find_map(find)
            .or_else(|| find(""))
            .unwrap_or(&self.default)
    }
}

fn check_scope(transport: &str, scope: &str) -> Result<(), String> {
    if scope.is_empty() {
        return Ok(());
    }
    match transport {
        "docker-archive" => {
            Err(format!("{transport} has no scopes but \"\", and {scope:?} is given"))
        }
        "oci" | "oci-archive" | "dir" => {
            let canonical = scope.starts_with('/')
                && scope != "/"
                && !scope.ends_with('/')
                && scope.split('/').skip(1).all(|c| !matches!(c, "" | "." | ".."));
            if canonical {
                Ok(())
            } else {
                Err(format!(
                    "the scope {scope:?} of {transport} is not an absolute path without \".\", \"..\" and empty parts"
                ))
            }
        }
        _ => Ok(()),
    }
}

fn requirements(raw: Vec<StrictMap<serde_json::Value>>) -> Result<Vec<Requirement>, String> {
    if raw.is_empty() {
        return Err("a list of requirements is empty".into());
    }
    raw.into_iter().map(requirement).collect()
}

fn requirement(raw: StrictMap<serde_json::Value>) -> Result<Requirement, String> {
    let kind = raw.0.iter().find(|(key, _)| key == "type").and_then(|(_, v)| v.as_str());
    match kind {
        Some(kind @ ("insecureAcceptAnything" | "reject")) => {
            if let Some((extra, _)) = raw.0.iter().find(|(key, _)| key != "type") {
                return Err(format!("the requirement {kind} has an unknown key {extra:?}"));
            }
            Ok(if kind == "reject" { Requirement::Reject } else { Requirement::Accept })
        }
        Some(kind @ ("signedBy" | "signedBaseLayer" | "sigstoreSigned")) => {
            Ok(Requirement::Signature(kind.to_string()))
        }
        Some(other) => Err(format!("unknown type of requirement {other:?}")),
        None => Err("a requirement has no type".into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    default: Vec<StrictMap<serde_json::Value>>,
    transports: Option<StrictMap<StrictMap<Vec<StrictMap<serde_json::Value>>>>>,
}

/// A JSON object that has no key twice: which of the two applies must not be a matter of the reader.
struct StrictMap<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for StrictMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = StrictMap<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(String, V)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(serde::de::Error::custom(format!(
                            "the key {key:?} occurs twice"
                        )));
                    }
                    entries.push((key, value));
                }
                Ok(StrictMap(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text.as_bytes(), Path::new("/etc/p.json")).unwrap()
    }

    const MIXED: &str = r#"{"default":[{"type":"reject"}],"transports":{
        "docker-archive":{"":[{"type":"insecureAcceptAnything"}]},
        "oci":{"/a/b":[{"type":"insecureAcceptAnything"}],"/a/b/c":[{"type":"reject"}],
               "/signed":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]},
        "docker":{"registry.example/x":[{"type":"sigstoreSigned","keyPath":"/k"}]}}}"#;

    #[test]
    fn the_most_specific_scope_decides() {
        let p = policy(MIXED);
        let ok = |t, path: &str| p.check(t, Some(Path::new(path))).is_ok();
        assert!(ok(Transport::DockerArchive, "/a/b/c"));
        assert!(p.check(Transport::DockerArchive, None).is_ok());
        assert!(ok(Transport::OciDir, "/a/b"));
        assert!(ok(Transport::OciDir, "/a/b/d/e"));
        assert!(!ok(Transport::OciDir, "/a/b/c"));
        assert!(!ok(Transport::OciDir, "/a/b/c/d"));
        assert!(!ok(Transport::OciDir, "/a/bc"));
        assert!(!ok(Transport::OciArchive, "/a/b"));
        assert!(p.check(Transport::OciArchive, None).is_err());
    }

    #[test]
    fn a_demand_for_a_signature_names_the_file() {
        let e = policy(MIXED).check(Transport::OciDir, Some(Path::new("/signed/x"))).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::PolicyRejected);
        assert!(e.to_string().contains("/etc/p.json") && e.to_string().contains("signedBy"), "{e}");
    }

    #[test]
    fn all_requirements_of_a_scope_must_hold() {
        let p = policy(r#"{"default":[{"type":"insecureAcceptAnything"},{"type":"reject"}]}"#);
        assert!(p.check(Transport::OciDir, Some(Path::new("/x"))).is_err());
        let p =
            policy(r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"oci":{}}}"#);
        assert!(p.check(Transport::OciDir, Some(Path::new("/x"))).is_ok());
    }

    #[test]
    fn malformed_policies_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"default":[]}"#,
            r#"{"default":[{"type":"other"}]}"#,
            r#"{"default":[{}]}"#,
            r#"{"default":[{"type":"reject","x":1}]}"#,
            r#"{"default":[{"type":"reject"}],"extra":1}"#,
            r#"{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}"#,
            r#"{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"oci":{"":[{"type":"reject"}],"":[{"type":"reject"}]}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"oci":{"/":[{"type":"reject"}]}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"oci":{"/a/../b":[{"type":"reject"}]}}}"#,
            r#"{"default":[{"type":"reject"}],"transports":{"docker-archive":{"/a":[{"type":"reject"}]}}}"#,
        ] {
            assert!(Policy::parse(text.as_bytes(), Path::new("p")).is_err(), "{text}");
        }
    }

    // A file that is meant to be there and cannot be read must not open the door.
    #[test]
    fn a_policy_that_cannot_be_followed_is_not_skipped() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("containers");
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("policy.json");
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert_eq!(find_policy(Some(home.path())), Some(file.clone()));
        assert!(Policy::read(&file).is_err());
        // A directory above that is none counts as missing, as for any other file.
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::write(&dir, b"").unwrap();
        assert_ne!(find_policy(Some(home.path())), Some(file));
    }
}
