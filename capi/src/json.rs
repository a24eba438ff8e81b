//! Rich answers as JSON, with the field names of the Go library.

use orlop::Result;
use serde::Serialize;

/// In the very form in which Go writes it.
///
/// # Errors
/// A defect: everything that is handed out has a JSON form.
pub(crate) fn text<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    orlop::record::json::to_go_string(value)
}
