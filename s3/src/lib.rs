//! Brings layers of thin images to a bucket of the S3 protocol, from where they are published in a CernVM-FS repository
//! (`overlay-driver.md` CVM-19 to CVM-22).
//!
//! A crate of its own, so that nothing of a network is in the library. It blocks, as the library does, and reads no environment:
//! neither for a proxy nor for credentials.
//!
//! ```no_run
//! use orlop::Error;
//! use orlop::progress::Silent;
//! use orlop::thin::{PackedLayer, Patience, publish};
//! use orlop_s3::{Config, S3Upload};
//! # fn main() -> orlop::Result<()> {
//! let upload = S3Upload::new(Config::read(Config::USUAL.as_ref())?)?;
//! let layer = PackedLayer::pack("/var/tmp".as_ref(), |out| {
//!     let mut tar = std::fs::File::open("layer.tar").map_err(|e| Error::io("opening", "layer.tar", e))?;
//!     std::io::copy(&mut tar, out).map(drop).map_err(|e| Error::io("packing", "layer.tar", e))
//! })?;
//! let published = publish(&layer, &upload, &Patience::default(), &Silent)?;
//! println!("{}", published.url.map(|url| url.to_string()).unwrap_or_default());
//! # Ok(())
//! # }
//! ```

mod client;
mod config;

pub use client::S3Upload;
pub use config::Config;
