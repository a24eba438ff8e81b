//! The codecs of orlop as one library for C: zlib-rs with the interface of zlib, and the libzstd of the zstd crate.
//!
//! The floor (`benches/floor/`) is linked with it, so that it decodes exactly as fast as orlop can.

use libz_rs_sys as _;
use zstd as _;
