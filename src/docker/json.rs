//! The JSON of what is read and of what was done, the same for the command and for C and Go programs.
//!
//! Fields are only ever added. Ids are written without `sha256:`, digests of layers' tars with it.

use serde::{Serialize, Serializer};

use super::{
    ContainerRecord, Finished, ImageRecord, LayerRecord, MigratedImage, MigratedLayer, Migration,
    Outcome,
};
use crate::Digest;

#[derive(Serialize)]
struct Image<'a> {
    id: &'a str,
    names: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(rename = "diff-digests")]
    diffs: Vec<&'a str>,
}

impl Serialize for ImageRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Image {
            id: self.id.hex(),
            names: &self.names,
            parent: self.parent.as_ref().map(Digest::hex),
            created: self.created.as_deref(),
            diffs: self.diffs.iter().map(Digest::as_str).collect(),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Layer<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    #[serde(rename = "diff-digest")]
    diff: &'a str,
    #[serde(rename = "cache-id")]
    cache_id: &'a str,
    size: u64,
}

impl Serialize for LayerRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Layer {
            id: self.chain_id.hex(),
            parent: self.parent.as_ref().map(Digest::hex),
            diff: self.diff.as_str(),
            cache_id: &self.cache_id,
            size: self.size,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Container<'a> {
    id: &'a str,
    name: &'a str,
    image: &'a str,
    running: bool,
    created: &'a str,
    layer: &'a str,
}

impl Serialize for ContainerRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Container {
            id: &self.id,
            name: &self.name,
            image: self.image.hex(),
            running: self.running,
            created: &self.created,
            layer: &self.mount_id,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    images: &'a [MigratedImage],
    #[serde(skip_serializing_if = "Finished::is_empty")]
    finished: &'a Finished,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished: Option<&'a str>,
}

impl Serialize for Migration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Report {
            images: &self.images,
            finished: &self.finished,
            unfinished: self.unfinished.as_deref(),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Taken<'a> {
    id: &'a str,
    names: &'a [String],
    #[serde(rename = "names-left-out", skip_serializing_if = "<[String]>::is_empty")]
    left_out: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    layers: &'a [MigratedLayer],
    moved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Serialize for MigratedImage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Taken {
            id: &self.id,
            names: &self.names,
            left_out: &self.left_out,
            container: self.container.as_deref(),
            layers: &self.layers,
            moved: self.moved,
            kept: self.kept.as_deref(),
            error: self.error.as_deref(),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct TakenLayer<'a> {
    id: &'a str,
    #[serde(rename = "diff-digest")]
    diff: &'a str,
    outcome: Outcome,
    bytes: u64,
}

impl Serialize for MigratedLayer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TakenLayer {
            id: &self.id,
            diff: self.diff.as_str(),
            outcome: self.outcome,
            bytes: self.bytes,
        }
        .serialize(serializer)
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json::to_go_string;

    #[test]
    fn what_does_not_apply_is_left_out() {
        let id = Digest::sha256(b"");
        let hex = id.hex();
        let image = ImageRecord {
            id: id.clone(),
            names: vec!["a:1".into()],
            parent: None,
            created: None,
            diffs: vec![id.clone()],
        };
        assert_eq!(
            to_go_string(&image).unwrap(),
            format!(r#"{{"id":"{hex}","names":["a:1"],"diff-digests":["{id}"]}}"#)
        );
        let layer = LayerRecord {
            chain_id: id.clone(),
            diff: id.clone(),
            parent: Some(id.clone()),
            cache_id: "c".into(),
            size: 7,
        };
        assert_eq!(
            to_go_string(&layer).unwrap(),
            format!(
                r#"{{"id":"{hex}","parent":"{hex}","diff-digest":"{id}","cache-id":"c","size":7}}"#
            )
        );
    }

    #[test]
    fn a_report_has_what_went_wrong() {
        let diff = Digest::sha256(b"");
        let layer =
            MigratedLayer { id: "l".into(), diff: diff.clone(), outcome: Outcome::Moved, bytes: 3 };
        let whole = MigratedImage {
            id: "i".into(),
            names: vec!["n".into()],
            left_out: Vec::new(),
            container: None,
            layers: vec![layer],
            error: None,
            moved: true,
            kept: None,
        };
        let refused = MigratedImage {
            names: Vec::new(),
            left_out: vec!["o".into()],
            container: Some("c".into()),
            layers: Vec::new(),
            error: Some("e".into()),
            moved: false,
            kept: Some("k".into()),
            ..whole.clone()
        };
        let mut report = Migration { images: vec![whole], ..Migration::default() };
        let first = format!(
            r#"{{"id":"i","names":["n"],"layers":[{{"id":"l","diff-digest":"{diff}","outcome":"moved","bytes":3}}],"moved":true}}"#
        );
        assert_eq!(to_go_string(&report).unwrap(), format!(r#"{{"images":[{first}]}}"#));
        report.images.push(refused);
        report.finished = Finished { images: vec!["f".into()], layers: 2 };
        report.unfinished = Some("u".into());
        let second = r#"{"id":"i","names":[],"names-left-out":["o"],"container":"c","layers":[],"moved":false,"kept":"k","error":"e"}"#;
        assert_eq!(
            to_go_string(&report).unwrap(),
            format!(
                r#"{{"images":[{first},{second}],"finished":{{"images":["f"],"layers":2}},"unfinished":"u"}}"#
            )
        );
    }
}
