//! Looking one record up while the list is read, without keeping the others.

use super::kind::Record;
use super::names;

/// Finds in a list that goes by what [`super::table::Lists::find`] finds in one that was kept and mended.
pub(super) struct Seek<'k, T> {
    key: &'k str,
    by_id: Option<T>,
    by_name: Option<T>,
    by_prefix: Option<T>,
    /// How many have the prefix.
    prefixed: usize,
}

impl<'k, T: Record> Seek<'k, T> {
    pub(super) fn new(key: &'k str) -> Self {
        Self { key, by_id: None, by_name: None, by_prefix: None, prefixed: 0 }
    }

    /// Takes note of the next record of the list.
    pub(super) fn see(&mut self, record: T) {
        // A name that two records have stays with the later one, be that incomplete (11).
        let found = [&mut self.by_id, &mut self.by_name, &mut self.by_prefix];
        for earlier in found.into_iter().flatten() {
            earlier.names_mut().retain(|n| !record.names().contains(n));
        }
        let complete = !record.is_incomplete();
        if complete && has_prefix(&record, self.key) {
            self.prefixed += 1;
            self.by_prefix = Some(record.clone()).filter(|_| self.prefixed == 1);
        }
        if record.names().iter().any(|n| n == self.key) {
            self.by_name = Some(record.clone());
        }
        if complete && self.by_id.is_none() && record.id() == self.key {
            self.by_id = Some(record);
        }
    }

    /// By exact id, then exact name, then unique prefix of an id (`store-format.md` 11).
    pub(super) fn found(self) -> Option<T> {
        let by_name = self.by_name.filter(|r| !r.is_incomplete());
        let mut found = self.by_id.or(by_name).or(self.by_prefix)?;
        *found.names_mut() = names::unique(found.names());
        Some(found)
    }
}

/// Whether the record's id begins with `prefix`, so that this could stand for it.
pub(super) fn has_prefix<T: Record>(record: &T, prefix: &str) -> bool {
    !prefix.is_empty() && record.id().starts_with(prefix) && !record.id().contains(' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::kind::INCOMPLETE;
    use super::super::table::Lists;
    use super::*;
    use crate::record::Layer;

    fn layer() -> impl Strategy<Value = Layer> {
        let words = prop::collection::vec("[ab]{1,2}", 0..4);
        ("[ab ]{0,3}", words, prop::bool::weighted(0.2)).prop_map(|(id, names, incomplete)| {
            let flag = incomplete.then(|| (INCOMPLETE.to_owned(), true.into()));
            Layer { id, names, flags: flag.into_iter().collect(), ..Layer::default() }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_list_that_goes_by_gives_what_a_list_that_was_kept_gives(
            layers in prop::collection::vec(layer(), 0..6), key in "[ab ]{0,3}",
        ) {
            let mut seek = Seek::new(&key);
            layers.iter().cloned().for_each(|layer| seek.see(layer));
            prop_assert_eq!(seek.found(), Lists::of(vec![layers]).find(&key).cloned());
        }
    }
}
