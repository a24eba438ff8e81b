//! The digests by which an image is found (`store-format.md` 4).

use std::collections::BTreeSet;

use super::Image;
use crate::{Digest, Error, Result};

/// Big data items whose key starts so are manifests, and their digests name the image.
const MANIFEST: &str = "manifest";

impl Image {
    /// Every digest by which this image is found: the preferred one and those of its manifests.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidDigest`] if one of them is malformed; the Go library then refuses the whole file.
    pub fn digests(&self) -> Result<BTreeSet<Digest>> {
        let manifests = self.big_data_digests.iter().filter(|(key, _)| key.starts_with(MANIFEST));
        let preferred = Some(&self.digest).filter(|d| !d.is_empty());
        preferred
            .into_iter()
            .chain(manifests.map(|(_, digest)| digest))
            .map(|digest| Digest::parse(digest.as_str()))
            .collect::<Result<_>>()
            .map_err(|e: Error| {
                e.context(format!("reading the digests of the image {:?}", self.id))
            })
    }

    /// Sets the preferred digest where there is none and a manifest has one, and says whether it did: that of the item `manifest` if
    /// there is one (Go takes any).
    pub fn normalize_digest(&mut self) -> bool {
        if !self.digest.is_empty() {
            return false;
        }
        // `manifest` is the first of the keys that start with it.
        let found = self
            .big_data_digests
            .iter()
            .find(|(key, digest)| key.starts_with(MANIFEST) && !digest.is_empty())
            .map(|(_, digest)| digest.clone());
        let found = found.unwrap_or_default();
        self.digest = found;
        !self.digest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn digests_are_those_of_manifests_and_the_preferred_one() {
        let of = |text: &str| Digest::sha256(text.as_bytes());
        let mut image = Image { id: "i".into(), ..Image::default() };
        assert!(image.digests().unwrap().is_empty());
        assert!(!image.normalize_digest());
        for (key, digest) in [
            ("manifest-sha256:0", of("old").as_str().to_owned()),
            ("manifest", of("new").as_str().to_owned()),
            ("sha256:config", "not a digest, not looked at".to_owned()),
        ] {
            image.big_data_digests.insert(key.to_owned(), digest);
        }
        assert_eq!(image.digests().unwrap(), BTreeSet::from([of("old"), of("new")]));
        assert!(image.normalize_digest());
        assert_eq!(image.digest, of("new").as_str());
        assert!(!image.normalize_digest());
        image.digest = of("own").as_str().to_owned();
        assert_eq!(image.digests().unwrap().len(), 3);
        image.big_data_digests.insert("manifest-x".into(), "sha256:UPPER".into());
        let e = image.digests().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidDigest);
        assert!(e.to_string().contains("\"i\""), "{e}");
    }
}
