//! What layers, images and containers have in common as records.

use crate::record::{self, Container, Image, Layer};
use crate::{ErrorKind, Result};

/// What the three kinds of records have in common.
pub(crate) trait Record: Clone + Send + Sync + 'static {
    /// `layer`, `image` or `container`.
    const KIND: &'static str;
    /// The error class for one that does not exist.
    const UNKNOWN: ErrorKind;
    fn id(&self) -> &str;
    fn names(&self) -> &[String];
    fn names_mut(&mut self) -> &mut Vec<String>;
    fn parse(bytes: &[u8]) -> Result<Vec<Self>>;
    /// As `parse`, but hands each record to `each` as soon as it is read, those before what is malformed too.
    fn read_each(bytes: &[u8], each: impl FnMut(Self)) -> Result<()>;
    fn write(records: &[Self]) -> Vec<u8>;
    /// Whether the record is there only because its making or deleting was cut short.
    fn is_incomplete(&self) -> bool {
        false
    }
    /// Mends or refuses what is read, record by record.
    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

macro_rules! record {
    ($type:ident, $module:ident, $kind:literal, $unknown:ident $(, $extra:item)*) => {
        impl Record for $type {
            const KIND: &'static str = $kind;
            const UNKNOWN: ErrorKind = ErrorKind::$unknown;
            fn id(&self) -> &str {
                &self.id
            }
            fn names(&self) -> &[String] {
                &self.names
            }
            fn names_mut(&mut self) -> &mut Vec<String> {
                &mut self.names
            }
            fn parse(bytes: &[u8]) -> Result<Vec<Self>> {
                record::$module::parse(bytes)
            }
            fn read_each(bytes: &[u8], each: impl FnMut(Self)) -> Result<()> {
                record::$module::read_each(bytes, each)
            }
            fn write(records: &[Self]) -> Vec<u8> {
                record::$module::write(records)
            }
            $($extra)*
        }
    };
}

record!(
    Layer,
    layers,
    "layer",
    LayerUnknown,
    fn is_incomplete(&self) -> bool {
        self.flags.get(INCOMPLETE) == Some(&serde_json::Value::Bool(true))
    }
);
record!(
    Image,
    images,
    "image",
    ImageUnknown,
    fn check(&mut self) -> Result<()> {
        self.digests()?;
        self.normalize_digest();
        Ok(())
    }
);
record!(Container, containers, "container", ContainerUnknown);

/// The flag of a layer whose making or deleting is under way (`store-format.md` 10.2).
pub(crate) const INCOMPLETE: &str = "incomplete";

/// Our own flag of a layer that is whole, whose container, or image if it is a mapped copy, does not have it on record yet. The Go
/// library, which deletes what is [`INCOMPLETE`] without a look at who has it, leaves it alone.
pub(crate) const AWAITS_OWNER: &str = "orlop-awaits-container";

impl Layer {
    /// Whether recovery has to finish it or to take it away.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_incomplete() || self.flags.contains_key(AWAITS_OWNER)
    }
}
