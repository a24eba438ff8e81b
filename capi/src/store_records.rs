//! Records as JSON: the text of the files, and behind it what the store knows beside.

use orlop::record::{Container, Extra};
use orlop::store::{ImageInfo, LayerInfo, Object};
use orlop::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::json;

/// The keys of what is no field of the files.
const MOUNT_POINT: &str = "mountpoint";
const MOUNT_COUNT: &str = "mount-count";
const READ_ONLY: &str = "read-only";

/// Something that has a JSON form of its own.
pub(crate) trait Print {
    fn print(&self) -> Result<String>;
}

/// Puts fields behind those of an object.
fn extended(record: &impl Serialize, more: &Extra) -> Result<String> {
    let mut text = json::text(record)?;
    let more = json::text(more)?;
    // An object is never without the id.
    if let Some(more) = more.strip_prefix('{').filter(|m| *m != "}")
        && text.pop() == Some('}')
    {
        text.push(',');
        text.push_str(more);
    }
    Ok(text)
}

/// A key stands once, whatever a newer program has put into the record.
fn known_once(extra: &mut Extra) {
    for key in [MOUNT_POINT, MOUNT_COUNT, READ_ONLY] {
        extra.shift_remove(key);
    }
}

impl Print for LayerInfo {
    fn print(&self) -> Result<String> {
        let mut record = self.record.clone();
        known_once(&mut record.extra);
        let mut more = Extra::new();
        if let Some(path) = &self.mount_point {
            more.insert(MOUNT_POINT.into(), path.to_string_lossy().into());
        }
        if self.mount_count != 0 {
            more.insert(MOUNT_COUNT.into(), self.mount_count.into());
        }
        if self.read_only {
            more.insert(READ_ONLY.into(), true.into());
        }
        extended(&record, &more)
    }
}

impl Print for ImageInfo {
    fn print(&self) -> Result<String> {
        let mut record = self.record.clone();
        known_once(&mut record.extra);
        let mut more = Extra::new();
        if self.read_only {
            more.insert(READ_ONLY.into(), true.into());
        }
        extended(&record, &more)
    }
}

impl Print for Container {
    fn print(&self) -> Result<String> {
        json::text(self)
    }
}

impl Print for Object {
    fn print(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Found {
            kind: &'static str,
            record: Box<RawValue>,
        }
        let (kind, record) = match self {
            Self::Layer(layer) => ("layer", layer.print()?),
            Self::Image(image) => ("image", image.print()?),
            Self::Container(container) => ("container", container.print()?),
        };
        let record = RawValue::from_string(record).map_err(|e| {
            Error::new(ErrorKind::Internal, "writing a record as JSON").caused_by(e)
        })?;
        json::text(&Found { kind, record })
    }
}

impl<T: Print> Print for [T] {
    fn print(&self) -> Result<String> {
        let all = self.iter().map(T::print).collect::<Result<Vec<_>>>()?;
        Ok(format!("[{}]", all.join(",")))
    }
}
