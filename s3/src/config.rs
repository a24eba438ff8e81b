//! The file that says where layers go (CVM-19).

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use orlop::thin::Repository;
use orlop::{Error, ErrorKind, Result};
use serde::Deserialize;

/// Far more than such a file has.
const MAX_BYTES: u64 = 64 * 1024;

/// Where buckets are whose servers do not ask for a region.
const REGION: &str = "us-east-1";

/// The server, the credentials, the repository, and who tells of publishing.
#[derive(Clone)]
pub struct Config {
    /// Of the server's account.
    pub access_key: String,
    /// What requests are signed with.
    pub access_secret: String,
    /// Name and, where it is not the usual one, port of the server.
    pub host: String,
    /// Where layers are published.
    pub repository: Repository,
    /// Whether the server is spoken to by TLS.
    pub tls: bool,
    /// The address to which a layer's digest is added to learn what has become of it.
    pub status_url: String,
    /// The region that requests are signed for.
    pub region: String,
}

impl fmt::Debug for Config {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("access_key", &self.access_key)
            .field("host", &self.host)
            .field("repository", &self.repository)
            .field("tls", &self.tls)
            .field("status_url", &self.status_url)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// The names of the file's keys.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    access_key: String,
    access_secret: String,
    host: String,
    cvmfs_repo: String,
    #[serde(rename = "SSL", default)]
    ssl: bool,
    #[serde(rename = "PublishStatusURL")]
    publish_status_url: String,
    /// Not known to the Go programs.
    #[serde(default)]
    region: String,
}

impl Config {
    /// Where the file is, unless somebody says otherwise.
    pub const USUAL: &'static str = "/minio_ext_config/config.json";

    /// Reads the file at `path`: JSON with `AccessKey`, `AccessSecret`, `Host`, `CvmfsRepo`, `SSL`, `PublishStatusURL`, and perhaps
    /// `Region`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a file that is missing, malformed or incomplete; none of its values are in the text.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || {
            Error::new(ErrorKind::Config, format!("reading {path:?}")).path(path).hint(
                "it says where the layers of thin images are sent; orlop's docs/dialects/cvmfs.md has an example",
            )
        };
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text))
            .map_err(|e| failed().caused_by(e))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(failed().detail(format!("it has more than {MAX_BYTES} bytes")));
        }
        // Not the cause itself, whose text may quote a value.
        let written: Written = serde_json::from_slice(&text).map_err(|e| {
            failed().detail(format!(
                "line {}, column {}: it is no JSON object with the keys AccessKey, AccessSecret, Host, CvmfsRepo, SSL and PublishStatusURL",
                e.line(),
                e.column()
            ))
        })?;
        written.check().map_err(|(key, why)| failed().detail(format!("{key}: {why}")))
    }
}

impl Written {
    fn check(self) -> std::result::Result<Config, (&'static str, String)> {
        for (key, value) in [
            ("AccessKey", &self.access_key),
            ("AccessSecret", &self.access_secret),
            ("Host", &self.host),
            ("CvmfsRepo", &self.cvmfs_repo),
            ("PublishStatusURL", &self.publish_status_url),
        ] {
            if value.is_empty() {
                return Err((key, "it is empty".to_owned()));
            }
        }
        if self.host.contains(['/', '@', '?', '#']) {
            return Err((
                "Host",
                "it is a name and perhaps a port, without scheme or path".to_owned(),
            ));
        }
        if !["http://", "https://"].iter().any(|s| self.publish_status_url.starts_with(s)) {
            return Err((
                "PublishStatusURL",
                "it begins with neither http:// nor https://".to_owned(),
            ));
        }
        let repository =
            Repository::new(self.cvmfs_repo).map_err(|e| ("CvmfsRepo", e.to_string()))?;
        Ok(Config {
            access_key: self.access_key,
            access_secret: self.access_secret,
            host: self.host,
            repository,
            tls: self.ssl,
            status_url: self.publish_status_url.trim_end_matches('/').to_owned(),
            region: if self.region.is_empty() { REGION.to_owned() } else { self.region },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"AccessKey":"ann","AccessSecret":"s3cret","Host":"minio.example:9000","CvmfsRepo":"r.example",
        "SSL":true,"PublishStatusURL":"http://status.example/layers/"}"#;

    fn read(text: &str) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn the_file_of_the_go_programs_is_read() {
        // CVM-19
        let config = read(WHOLE).unwrap();
        assert_eq!((config.access_key.as_str(), config.access_secret.as_str()), ("ann", "s3cret"));
        assert_eq!((config.host.as_str(), config.tls), ("minio.example:9000", true));
        assert_eq!(config.repository.as_str(), "r.example");
        assert_eq!(config.status_url, "http://status.example/layers");
        assert_eq!(config.region, "us-east-1");
        let other = WHOLE.replace("\"SSL\":true", "\"Region\":\"eu-west-1\"");
        let config = read(&other).unwrap();
        assert_eq!((config.tls, config.region.as_str()), (false, "eu-west-1"));
        assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_told() {
        // CVM-19
        for (from, to, says) in [
            ("\"ann\"", "\"\"", "AccessKey: it is empty"),
            ("minio.example:9000", "http://minio.example", "Host: it is a name"),
            ("r.example", "../r", "CvmfsRepo"),
            ("http://status", "status", "PublishStatusURL: it begins"),
            ("\"AccessSecret\":\"s3cret\"", "\"AccessSecret\":12345", "line 1"),
            ("\"Host\"", "\"Hosts\"", "no JSON object with the keys"),
            ("{", "", "line 1"),
        ] {
            let e = read(&WHOLE.replacen(from, to, 1)).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config, "{e}");
            assert!(e.to_string().contains(says), "{e}");
            assert!(!e.to_string().contains("s3cret") && !e.to_string().contains("12345"), "{e}");
        }
        let e = Config::read("/no/such/config.json".as_ref()).unwrap_err();
        assert!(e.to_string().contains("/no/such/config.json"), "{e}");
    }
}
