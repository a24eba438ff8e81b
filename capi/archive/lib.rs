//! The functions of `orlop-capi` as an archive; of its own there is nothing here.

pub use orlop_capi::*;
