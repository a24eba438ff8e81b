//! `thin.json`: which layers an image is made of.

use std::collections::BTreeSet;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::url::{CvmfsUrl, Repository};
use crate::record::json::to_go_string;
use crate::{Digest, Error, ErrorKind, Result};

/// The name of the one file of a thin layer.
pub const FILE_NAME: &str = "thin.json";

/// The most layers of an image: more the kernel's overlay does not take.
pub const MAX_LAYERS: usize = 500;

/// The most bytes of a document: each layer as long as it can be.
const MAX_BYTES: u64 = 4 << 20;

/// The version that is written.
const VERSION: &str = "1.0";

/// The first number of the versions that can be read.
const MAJOR: u32 = 1;

/// One layer of a thin image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinLayer {
    /// The sha256 of the layer's archive, of which the document has the hexadecimal digits alone.
    pub digest: Digest,
    /// Where the layer lies unpacked. The format can do without; a mount cannot.
    pub url: Option<CvmfsUrl>,
}

/// What `thin.json` says (`overlay-driver.md` 18.1).
///
/// ```
/// use orlop::thin::{CvmfsUrl, ThinImage, ThinLayer};
/// use orlop::Digest;
/// let url = CvmfsUrl::parse("cvmfs://unpacked.cern.ch/layers/0a")?;
/// let image = ThinImage::of([ThinLayer { digest: Digest::sha256(b"layer"), url: Some(url) }]);
/// assert_eq!(ThinImage::read(image.to_json()?.as_bytes())?, image);
/// # Ok::<(), orlop::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinImage {
    /// The version of the format that the document follows.
    pub version: String,
    /// The oldest version of the format whose readers understand the document; empty if any does.
    pub min_version: String,
    /// What the image was made from; empty if nobody says.
    pub origin: String,
    /// The layers in the order of a manifest: the base first.
    pub layers: Vec<ThinLayer>,
    /// A remark, or nothing.
    pub comment: String,
}

impl ThinImage {
    /// An image of these layers, base first.
    pub fn of(layers: impl IntoIterator<Item = ThinLayer>) -> Self {
        Self {
            version: VERSION.to_owned(),
            min_version: String::new(),
            origin: String::new(),
            layers: layers.into_iter().collect(),
            comment: String::new(),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for what is no such document, or one whose layers cannot be: with digests that are none, addresses that
    /// lead elsewhere, or more than [`MAX_LAYERS`]; [`ErrorKind::NotSupported`] if it is for readers of a later format.
    pub fn read(document: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        document
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::new(ErrorKind::Io, ACTION).caused_by(e))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(damaged(format!("it has more than {MAX_BYTES} bytes")));
        }
        let written: Written = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Corrupt, ACTION).detail("it is no list of layers").caused_by(e)
        })?;
        written.check()
    }

    /// The document, as the Go programs write it.
    ///
    /// # Errors
    /// [`ErrorKind::MaxDepth`] for more than [`MAX_LAYERS`] layers.
    pub fn to_json(&self) -> Result<String> {
        if self.layers.len() > MAX_LAYERS {
            return Err(Error::new(ErrorKind::MaxDepth, format!("writing {FILE_NAME}"))
                .detail(format!("{} layers; {MAX_LAYERS} can be mounted", self.layers.len())));
        }
        let layers = self.layers.iter().map(|layer| WrittenLayer {
            digest: layer.digest.hex().to_owned(),
            url: layer.url.as_ref().map(ToString::to_string).unwrap_or_default(),
        });
        to_go_string(&Written {
            version: self.version.clone(),
            min_version: self.min_version.clone(),
            origin: self.origin.clone(),
            layers: layers.collect(),
            comment: self.comment.clone(),
        })
    }

    /// The repositories that the layers lie in, each once.
    pub fn repositories(&self) -> BTreeSet<Repository> {
        self.layers.iter().filter_map(|l| l.url.as_ref()).map(|u| u.repository().clone()).collect()
    }

    /// Where the layers lie, the newest first, as mounts want them.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] for a layer without an address.
    pub fn newest_first(&self) -> Result<Vec<&CvmfsUrl>> {
        if let Some(layer) = self.layers.iter().find(|layer| layer.url.is_none()) {
            return Err(Error::new(ErrorKind::NotSupported, ACTION).detail(format!(
                "the layer {} has no address, and its files can come from nowhere else",
                layer.digest
            )));
        }
        Ok(self.layers.iter().rev().filter_map(|layer| layer.url.as_ref()).collect())
    }
}

const ACTION: &str = "reading thin.json";

fn damaged(why: String) -> Error {
    Error::new(ErrorKind::Corrupt, ACTION).detail(why)
}

/// The document as it is written; in the order of the format.
#[derive(Serialize, Deserialize)]
struct Written {
    version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    min_version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    origin: String,
    layers: Vec<WrittenLayer>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    comment: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenLayer {
    digest: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    url: String,
}

impl Written {
    fn check(self) -> Result<ThinImage> {
        // Who writes a later version for its readers alone says so in `min_version`.
        major(&self.version)?;
        if !self.min_version.is_empty() && major(&self.min_version)? > MAJOR {
            return Err(Error::new(ErrorKind::NotSupported, ACTION).detail(format!(
                "it is for readers of version {:?}, and this one knows {VERSION:?}",
                self.min_version
            )));
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(damaged(format!(
                "it has {} layers, and {MAX_LAYERS} can be mounted",
                self.layers.len()
            )));
        }
        let layers: Result<Vec<_>> = self.layers.into_iter().map(WrittenLayer::check).collect();
        Ok(ThinImage {
            version: self.version,
            min_version: self.min_version,
            origin: self.origin,
            layers: layers?,
            comment: self.comment,
        })
    }
}

impl WrittenLayer {
    fn check(self) -> Result<ThinLayer> {
        let wrong = |e: Error| {
            Error::new(ErrorKind::Corrupt, ACTION)
                .detail(format!("its layer {:?}", self.digest))
                .caused_by(e)
        };
        let digest = Digest::parse(format!("sha256:{}", self.digest)).map_err(wrong)?;
        let url = (!self.url.is_empty()).then(|| CvmfsUrl::parse(&self.url));
        Ok(ThinLayer { digest, url: url.transpose().map_err(wrong)? })
    }
}

/// The first number of a version such as `1.0`.
fn major(version: &str) -> Result<u32> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.all(|n| n.is_ok())) {
        (Some(Ok(major)), true) => Ok(major),
        _ => Err(damaged(format!("the version {version:?} is not of the form \"{VERSION}\""))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn read(text: &str) -> Result<ThinImage> {
        ThinImage::read(text.as_bytes())
    }

    fn of_layers(layers: &str) -> Result<ThinImage> {
        read(&format!(r#"{{"version":"1.0","layers":[{layers}]}}"#))
    }

    #[test]
    fn documents_have_the_form_of_the_go_programs() {
        // 18.1
        let url = CvmfsUrl::parse("cvmfs://r.example/layers/1&2").unwrap();
        let digest = Digest::parse(format!("sha256:{HEX}")).unwrap();
        let mut image = ThinImage::of([
            ThinLayer { digest: digest.clone(), url: Some(url) },
            ThinLayer { digest, url: None },
        ]);
        let text = format!(
            r#"{{"version":"1.0","layers":[{{"digest":"{HEX}","url":"cvmfs://r.example/layers/1\u00262"}},{{"digest":"{HEX}"}}]}}"#
        );
        assert_eq!(image.to_json().unwrap(), text);
        assert_eq!(read(&text).unwrap(), image);
        assert_eq!(ThinImage::of([]).to_json().unwrap(), r#"{"version":"1.0","layers":[]}"#);
        image.layers.clear();
        image.min_version = "1.0".to_owned();
        image.origin = "o".to_owned();
        image.comment = "c".to_owned();
        let full =
            r#"{"version":"1.0","min_version":"1.0","origin":"o","layers":[],"comment":"c"}"#;
        assert_eq!(image.to_json().unwrap(), full);
        assert_eq!(read(full).unwrap(), image);
        // What a later minor version may add is no obstacle.
        assert!(read(r#"{"version":"1.7","layers":[],"tags":["a"]}"#).is_ok());
    }

    #[test]
    fn layers_are_mounted_newest_first_each_repository_once() {
        // CVM-14
        let image = of_layers(&format!(
            r#"{{"digest":"{HEX}","url":"cvmfs://r/1"}},{{"digest":"{HEX}","url":"cvmfs://a/2"}},{{"digest":"{HEX}","url":"cvmfs://r/3"}}"#
        ))
        .unwrap();
        let folders: Vec<_> = image.newest_first().unwrap().iter().map(|u| u.folder()).collect();
        assert_eq!(folders, ["3", "2", "1"]);
        let names: Vec<_> = image.repositories().into_iter().map(|r| r.to_string()).collect();
        assert_eq!(names, ["a", "r"]);
        let homeless = of_layers(&format!(r#"{{"digest":"{HEX}"}}"#)).unwrap();
        let e = homeless.newest_first().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotSupported);
        assert!(e.to_string().contains(HEX), "{e}");
    }

    #[test]
    fn hostile_documents_are_refused() {
        let upper = HEX.to_uppercase();
        let layer = format!(r#"{{"digest":"{HEX}"}}"#);
        let many = vec![layer.as_str(); MAX_LAYERS + 1].join(",");
        for (layers, says) in [
            (r#"{"digest":""}"#, "digest"),
            (r#"{"digest":"../../etc"}"#, "digest"),
            (&format!(r#"{{"digest":"sha256:{HEX}"}}"#), "digest"),
            (&format!(r#"{{"digest":"{upper}"}}"#), "digest"),
            (&format!(r#"{{"digest":"{HEX}0"}}"#), "digest"),
            (&format!(r#"{{"digest":"{HEX}","url":"file:///etc"}}"#), "scheme"),
            (&format!(r#"{{"digest":"{HEX}","url":"cvmfs://r/../x"}}"#), "\"..\""),
            (&format!(r#"{{"digest":"{HEX}","url":"cvmfs://r//x"}}"#), "absolute"),
            (&format!(r#"{{"digest":"{HEX}","url":"cvmfs:///x"}}"#), "it is empty"),
            (&many, "501 layers"),
        ] {
            let e = of_layers(layers).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{layers:.80}");
            assert!(e.to_string().contains(says), "{e}");
        }
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"version":"1.0"}"#,
            r#"{"layers":[]}"#,
            r#"{"version":"","layers":[]}"#,
            r#"{"version":"one","layers":[]}"#,
            r#"{"version":"1.0","layers":null}"#,
            r#"{"version":"1.0","layers":[],"layers":[]}"#,
            r#"{"version":"1.0","layers":[]} x"#,
            &"[".repeat(100_000),
        ] {
            assert_eq!(read(text).unwrap_err().kind(), ErrorKind::Corrupt, "{text:.40}");
        }
        let later = read(r#"{"version":"2.1","min_version":"2.0","layers":[]}"#).unwrap_err();
        assert_eq!(later.kind(), ErrorKind::NotSupported);
        let e = ThinImage::read(std::io::repeat(b' ')).unwrap_err();
        assert!(e.to_string().contains("more than"), "{e}");
        let deep = ThinImage::of(vec![of_layers(&layer).unwrap().layers[0].clone(); 501]);
        assert_eq!(deep.to_json().unwrap_err().kind(), ErrorKind::MaxDepth);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            origin in ".*",
            comment in ".*",
            layers in prop::collection::vec((any::<[u8; 8]>(), "[a-z]{1,9}(\\.[a-z]{1,9})?", "[^/\\x00-\\x1f\\x7f-\\x9f.]{1,40}"), 0..20),
        ) {
            let layers = layers.into_iter().map(|(seed, repository, folder)| ThinLayer {
                digest: Digest::sha256(&seed),
                url: Some(CvmfsUrl::new(Repository::new(repository).unwrap(), folder).unwrap()),
            });
            let image = ThinImage { origin, comment, ..ThinImage::of(layers) };
            prop_assert_eq!(ThinImage::read(image.to_json().unwrap().as_bytes()).unwrap(), image);
        }
    }
}
