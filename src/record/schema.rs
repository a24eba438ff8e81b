//! The four files of records: which field has which key, in Go's order (`store-format.md` 3-6).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::read::{Flaw, Reader};
use super::write::{self, Object};
use super::{Container, Extra, Flags, Image, Layer, MountPoint, Timestamp};
use crate::IdMap;
use crate::{Error, ErrorKind, Result};

type Read<T> = std::result::Result<T, Flaw>;

/// One kind of record.
trait Record: Default {
    /// In the plural, for messages.
    const WHAT: &'static str;

    fn id(&self) -> &str;

    /// Reads the value of `key`, which is in lower case; `false` if there is no such field.
    fn read(&mut self, key: &str, from: &mut Reader<'_>) -> Read<bool>;

    fn extra(&mut self) -> Option<&mut Extra>;

    fn write(&self, to: &mut Object<'_>);
}

/// About the bytes of a record that says next to nothing.
const SHORT: usize = 128;

/// For how many records there is room from the start, at most: a long text may be one record.
const MAX_RESERVED: usize = 1 << 14;

fn parse<R: Record>(bytes: &[u8]) -> Result<Vec<R>> {
    // A list that grew as it went would be copied again and again.
    let mut records = Vec::with_capacity((bytes.len() / SHORT + 1).min(MAX_RESERVED));
    read_each(bytes, |record| records.push(record))?;
    Ok(records)
}

fn read_each<R: Record>(bytes: &[u8], mut each: impl FnMut(R)) -> Result<()> {
    let mut reader = Reader::new(bytes);
    if reader.peek().is_none() {
        return Ok(());
    }
    // Where the reader is: kept for the message.
    let (mut index, mut place) = (0_usize, Cow::Borrowed(""));
    let outcome = reader.array(|reader| {
        place = Cow::Borrowed("");
        if reader.peek() != Some(b'{') {
            return reader.flaw("expected an object");
        }
        let mut record = R::default();
        let outcome = reader.object(|reader, key| {
            place = key;
            let mut known = record.read(&place, reader)?;
            if !known && place.bytes().any(|b| b.is_ascii_uppercase()) {
                known = record.read(&place.to_ascii_lowercase(), reader)?;
            }
            if !known {
                let value = reader.value(0)?;
                if let Some(extra) = record.extra() {
                    extra.insert(std::mem::take(&mut place).into_owned(), value);
                }
            }
            place = Cow::Borrowed("");
            Ok(())
        });
        match outcome {
            Ok(()) => {
                index += 1;
                each(record);
            }
            Err(_) if !record.id().is_empty() => {
                place = format!("{place}\" of \"{}", record.id()).into();
            }
            Err(_) => {}
        }
        outcome
    });
    outcome
        .and_then(|()| {
            if reader.peek().is_none() { Ok(()) } else { reader.flaw("more text after the list") }
        })
        .map_err(|flaw| {
            let field =
                if place.is_empty() { String::new() } else { format!(", field \"{place}\"") };
            Error::new(ErrorKind::Corrupt, format!("reading the {}", R::WHAT))
                .detail(format!("record {index}{field}: {} (byte {})", flaw.what, flaw.at))
        })
}

fn write_all<R: Record>(records: &[R]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.len().saturating_mul(600).saturating_add(2));
    write::list(&mut out, records, write_one);
    out
}

fn write_one<R: Record>(out: &mut Vec<u8>, record: &R) {
    let mut object = Object::new(out);
    record.write(&mut object);
    object.end();
}

macro_rules! file {
    ($module:ident, $record:ident, $what:literal $(, $each:ident)?) => {
        #[doc = concat!("The ", $what, " of a store as a file.")]
        pub mod $module {
            use super::*;

            #[doc = concat!("Reads the ", $what, ". An empty file and `null` are an empty list.")]
            ///
            /// # Errors
            /// [`ErrorKind::Corrupt`], naming record (from 0) and field, if the text is not a JSON array of such records and nothing more.
            pub fn parse(bytes: &[u8]) -> Result<Vec<$record>> {
                super::parse(bytes)
            }

            $(
                /// As [`parse`], but hands each record to `each` as soon as it is read, those before what is malformed too.
                pub(crate) fn $each(bytes: &[u8], each: impl FnMut($record)) -> Result<()> {
                    super::read_each(bytes, each)
                }
            )?

            #[doc = concat!("Writes the ", $what, " as the Go library does: no white space, no newline at the end.")]
            pub fn write(records: &[$record]) -> Vec<u8> {
                write_all(records)
            }
        }

        /// As in the file. Only for `serde_json`, which takes over the text; [`super::json::to_go_string`] writes all else in the
        /// same manner.
        impl Serialize for $record {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                let mut out = Vec::new();
                write_one(&mut out, self);
                let text = String::from_utf8(out).map_err(S::Error::custom)?;
                RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
            }
        }
    };
}

file!(layers, Layer, "layer records", read_each);
file!(images, Image, "image records", read_each);
file!(containers, Container, "container records", read_each);
file!(mountpoints, MountPoint, "mount point records");

impl Record for Layer {
    const WHAT: &'static str = "layer records";

    fn id(&self) -> &str {
        &self.id
    }

    fn read(&mut self, key: &str, from: &mut Reader<'_>) -> Read<bool> {
        match key {
            "id" => self.id = from.string()?,
            "names" => self.names = texts(from)?,
            "parent" => self.parent = from.string()?,
            "metadata" => self.metadata = from.string()?,
            "mountlabel" => self.mount_label = from.string()?,
            "created" => time(from, &mut self.created)?,
            "compressed-diff-digest" => self.compressed_digest = from.string()?,
            "compressed-size" => self.compressed_size = from.integer()?,
            "diff-digest" => self.diff_digest = from.string()?,
            "toc-digest" => self.toc_digest = from.string()?,
            "diff-size" => self.diff_size = from.integer()?,
            "compression" => self.compression = from.integer()?,
            "uidset" => self.uid_set = integers(from)?,
            "gidset" => self.gid_set = integers(from)?,
            "flags" => flags(from, &mut self.flags)?,
            "uidmap" => self.uid_map = id_maps(from)?,
            "gidmap" => self.gid_map = id_maps(from)?,
            "big-data-names" => self.big_data_names = texts(from)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn extra(&mut self) -> Option<&mut Extra> {
        Some(&mut self.extra)
    }

    fn write(&self, to: &mut Object<'_>) {
        to.text_always("id", &self.id);
        to.texts("names", &self.names);
        to.text("parent", &self.parent);
        to.text("metadata", &self.metadata);
        to.text("mountlabel", &self.mount_label);
        to.time("created", &self.created);
        to.text("compressed-diff-digest", &self.compressed_digest);
        to.integer("compressed-size", self.compressed_size);
        to.text("diff-digest", &self.diff_digest);
        to.text("toc-digest", &self.toc_digest);
        to.integer("diff-size", self.diff_size);
        to.integer("compression", self.compression);
        to.integers("uidset", &self.uid_set);
        to.integers("gidset", &self.gid_set);
        to.flags("flags", &self.flags);
        to.id_maps("uidmap", &self.uid_map);
        to.id_maps("gidmap", &self.gid_map);
        to.texts("big-data-names", &self.big_data_names);
        to.extra(&self.extra);
    }
}

impl Record for Image {
    const WHAT: &'static str = "image records";

    fn id(&self) -> &str {
        &self.id
    }

    fn read(&mut self, key: &str, from: &mut Reader<'_>) -> Read<bool> {
        match key {
            "id" => self.id = from.string()?,
            "digest" => self.digest = from.string()?,
            "names" => self.names = texts(from)?,
            "names-history" => self.names_history = texts(from)?,
            "layer" => self.layer = from.string()?,
            "mapped-layers" => self.mapped_layers = texts(from)?,
            "metadata" => self.metadata = from.string()?,
            "big-data-names" => self.big_data_names = texts(from)?,
            "big-data-sizes" => map(from, &mut self.big_data_sizes, |r| r.integer())?,
            "big-data-digests" => map(from, &mut self.big_data_digests, |r| r.string())?,
            "created" => time(from, &mut self.created)?,
            "flags" => flags(from, &mut self.flags)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn extra(&mut self) -> Option<&mut Extra> {
        Some(&mut self.extra)
    }

    fn write(&self, to: &mut Object<'_>) {
        to.text_always("id", &self.id);
        to.text("digest", &self.digest);
        to.texts("names", &self.names);
        to.texts("names-history", &self.names_history);
        to.text("layer", &self.layer);
        to.texts("mapped-layers", &self.mapped_layers);
        to.text("metadata", &self.metadata);
        to.texts("big-data-names", &self.big_data_names);
        to.sizes("big-data-sizes", &self.big_data_sizes);
        to.digests("big-data-digests", &self.big_data_digests);
        to.time("created", &self.created);
        to.flags("flags", &self.flags);
        to.extra(&self.extra);
    }
}

impl Record for Container {
    const WHAT: &'static str = "container records";

    fn id(&self) -> &str {
        &self.id
    }

    fn read(&mut self, key: &str, from: &mut Reader<'_>) -> Read<bool> {
        match key {
            "id" => self.id = from.string()?,
            "names" => self.names = texts(from)?,
            "image" => self.image = from.string()?,
            "layer" => self.layer = from.string()?,
            "metadata" => self.metadata = from.string()?,
            "big-data-names" => self.big_data_names = texts(from)?,
            "big-data-sizes" => map(from, &mut self.big_data_sizes, |r| r.integer())?,
            "big-data-digests" => map(from, &mut self.big_data_digests, |r| r.string())?,
            "created" => time(from, &mut self.created)?,
            "uidmap" => self.uid_map = id_maps(from)?,
            "gidmap" => self.gid_map = id_maps(from)?,
            "flags" => flags(from, &mut self.flags)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn extra(&mut self) -> Option<&mut Extra> {
        Some(&mut self.extra)
    }

    fn write(&self, to: &mut Object<'_>) {
        to.text_always("id", &self.id);
        to.texts("names", &self.names);
        to.text_always("image", &self.image);
        to.text_always("layer", &self.layer);
        to.text("metadata", &self.metadata);
        to.texts("big-data-names", &self.big_data_names);
        to.sizes("big-data-sizes", &self.big_data_sizes);
        to.digests("big-data-digests", &self.big_data_digests);
        to.time("created", &self.created);
        to.id_maps("uidmap", &self.uid_map);
        to.id_maps("gidmap", &self.gid_map);
        to.flags("flags", &self.flags);
        to.extra(&self.extra);
    }
}

impl Record for MountPoint {
    const WHAT: &'static str = "mount point records";

    fn id(&self) -> &str {
        &self.id
    }

    fn read(&mut self, key: &str, from: &mut Reader<'_>) -> Read<bool> {
        match key {
            "id" => self.id = from.string()?,
            "path" => self.path = from.string()?,
            "count" => self.count = from.integer()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn extra(&mut self) -> Option<&mut Extra> {
        None
    }

    fn write(&self, to: &mut Object<'_>) {
        to.text_always("id", &self.id);
        to.text_always("path", &self.path);
        to.integer_always("count", self.count);
    }
}

fn items<T>(from: &mut Reader<'_>, read: impl Fn(&mut Reader<'_>) -> Read<T>) -> Read<Vec<T>> {
    let mut all = Vec::new();
    from.array(|r| {
        let item = read(r)?;
        if all.is_empty() {
            // Most lists have one.
            all.reserve_exact(1);
        }
        all.push(item);
        Ok(())
    })?;
    Ok(all)
}

fn texts(from: &mut Reader<'_>) -> Read<Vec<String>> {
    items(from, |r| r.string())
}

fn integers(from: &mut Reader<'_>) -> Read<Vec<u32>> {
    items(from, |r| r.integer())
}

fn id_maps(from: &mut Reader<'_>) -> Read<Vec<IdMap>> {
    items(from, |r| {
        let mut map = IdMap { container_id: 0, host_id: 0, size: 0 };
        r.object(|r, key| {
            match key.to_ascii_lowercase().as_str() {
                "container_id" => map.container_id = r.integer()?,
                "host_id" => map.host_id = r.integer()?,
                "size" => map.size = r.integer()?,
                _ => drop(r.value(0)?),
            }
            Ok(())
        })?;
        Ok(map)
    })
}

/// Reads a map. As in Go, `null` empties it and a second one adds to the first.
fn map<T>(
    from: &mut Reader<'_>,
    to: &mut BTreeMap<String, T>,
    read: impl Fn(&mut Reader<'_>) -> Read<T>,
) -> Read<()> {
    if from.null() {
        to.clear();
        return Ok(());
    }
    from.object(|r, key| {
        to.insert(key.into_owned(), read(r)?);
        Ok(())
    })
}

fn flags(from: &mut Reader<'_>, to: &mut Flags) -> Read<()> {
    map(from, to, |r| r.value(0))
}

fn time(from: &mut Reader<'_>, to: &mut Timestamp) -> Read<()> {
    if from.null() {
        return Ok(());
    }
    let text = from.text()?;
    match Timestamp::parse(&text) {
        Ok(time) => *to = time,
        Err(_) => return from.flaw("expected a time, such as 2006-01-02T15:04:05Z"),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
