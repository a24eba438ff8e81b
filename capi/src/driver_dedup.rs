//! Equal files of a driver's layers that share their space.

use orlop::driver::DedupMethod;
use orlop::{LayerId, Result};

use crate::buffer::put;
use crate::driver::orlop_driver;
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle;
use crate::input::{self, orlop_strings, strings};

/// Files are compared by size and a check sum, and then by the kernel.
pub const ORLOP_DEDUP_CRC: u32 = 0;
/// By their size, and then by the kernel.
pub const ORLOP_DEDUP_SIZE: u32 = 1;
/// By size and SHA-256, and then by the kernel.
pub const ORLOP_DEDUP_SHA256: u32 = 2;

/// # Errors
/// For a number that stands for no method.
fn method(number: u32) -> Result<DedupMethod> {
    match number {
        ORLOP_DEDUP_CRC => Ok(DedupMethod::Crc),
        ORLOP_DEDUP_SIZE => Ok(DedupMethod::Size),
        ORLOP_DEDUP_SHA256 => Ok(DedupMethod::Sha256),
        other => Err(input::invalid("method").detail(format!("{other} is no ORLOP_DEDUP_*"))),
    }
}

/// Has equal files of these layers share their space on the disk, where the file system can (btrfs, xfs with reflinks); elsewhere it
/// does nothing. Layers of additional stores, and ids of no layer, are passed over. `method` is one of ORLOP_DEDUP_*. *bytes, unless
/// `bytes` is NULL, is how much is shared now, with what was before.
///
/// Ownership: everything stays the caller's.
/// Threads: any, under the caller's lock.
/// Errors: ORLOP_ERR_IO when content cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_driver_dedup(
    driver: *const orlop_driver,
    layers: orlop_strings,
    method: u32,
    bytes: *mut u64,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let driver = handle::borrow(driver)?;
            let layers: Vec<LayerId> =
                strings(layers, "layers")?.into_iter().map(LayerId::new).collect::<Result<_>>()?;
            put(bytes, driver.dedup(&layers, self::method(method)?)?);
            Ok(())
        })
    }
}
