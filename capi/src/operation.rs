//! What long operations have in common: somebody may watch them, and call them off.

use std::sync::Arc;

use orlop::Result;
use orlop::progress::{Progress, ProgressItem};

use crate::cancel::{self, Cancel, orlop_cancel};
use crate::input::{Options, options};
use crate::progress::{self, Counters, Item, orlop_progress};

/// How a long operation is watched and called off. NULL in its place: not at all.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_operation {
    /// sizeof(struct orlop_operation).
    pub size: usize,
    /// By which the operation can be called off; may be NULL.
    pub cancel: *const orlop_cancel,
    /// Where it tells how far it is; may be NULL.
    pub progress: *const orlop_progress,
}

// SAFETY: pointers which may be NULL, `size` first.
unsafe impl Options for orlop_operation {
    const NAME: &'static str = "orlop_operation";
}

/// A running operation: the library's end of the caller's token and progress.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) cancel: Option<Arc<Cancel>>,
    counters: Option<Arc<Counters>>,
}

impl Watch {
    /// # Safety
    /// `operation` is NULL or a struct of the caller's with the size that it says and living handles.
    ///
    /// # Errors
    /// When it has an option that this version does not know; when it has been called off already.
    pub(crate) unsafe fn new(operation: *const orlop_operation) -> Result<Self> {
        // SAFETY: as the caller promises.
        let given = unsafe { options(operation) }?;
        // SAFETY: as the caller promises.
        let cancel = unsafe { cancel::shared(given.cancel) };
        // SAFETY: as the caller promises.
        let counters = unsafe { progress::shared(given.progress) };
        if cancel.as_ref().is_some_and(|c| c.is_asked()) {
            return Err(cancel::cancelled());
        }
        Ok(Self { cancel, counters })
    }
}

impl Progress for Watch {
    fn start(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressItem> {
        let counted = self.counters.as_ref().map(|c| (Arc::clone(c), c.begin(what, total)));
        Box::new(Watched { cancel: self.cancel.clone(), counted })
    }
}

struct Watched {
    cancel: Option<Arc<Cancel>>,
    counted: Option<(Arc<Counters>, Arc<Item>)>,
}

impl ProgressItem for Watched {
    fn advance(&self, bytes: u64) {
        if let Some((counters, item)) = &self.counted {
            counters.advance(item, bytes);
        }
    }

    fn finish(&self, note: &str) {
        if let Some((_, item)) = &self.counted {
            item.finish(note);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(|c| c.is_asked())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // An item that nobody finished has ended all the same.
        if let Some((_, item)) = &self.counted {
            item.end();
        }
    }
}
