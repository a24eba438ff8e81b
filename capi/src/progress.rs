//! How far an operation is, for whoever looks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::buffer::{BufferOut, PointerOut, free, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::input::missing;
use crate::json;

/// The progress of one operation, which any thread may read while it runs.
pub struct orlop_progress(Arc<Counters>);

/// What orlop_progress_read fills in.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct orlop_progress_state {
    /// sizeof(struct orlop_progress_state), set by the caller; what is beyond it is not written.
    pub size: usize,
    /// Bytes that have been worked through, of all items.
    pub bytes_done: u64,
    /// Bytes of all items whose size is known.
    pub bytes_total: u64,
    /// Items (layers, files) that have begun.
    pub items_started: u64,
    /// Items that have ended.
    pub items_finished: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    items: Mutex<Vec<Arc<Item>>>,
}

/// One layer or file.
pub(crate) struct Item {
    what: String,
    total: Option<u64>,
    done: AtomicU64,
    note: Mutex<Option<String>>,
}

/// An item as orlop_progress_items prints it.
#[derive(Serialize)]
struct Printed {
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Counters {
    pub(crate) fn begin(&self, what: &str, total: Option<u64>) -> Arc<Item> {
        let item = Arc::new(Item {
            what: what.to_owned(),
            total,
            done: AtomicU64::new(0),
            note: Mutex::new(None),
        });
        self.bytes_total.fetch_add(total.unwrap_or(0), Ordering::Relaxed);
        self.items.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&item));
        item
    }

    pub(crate) fn advance(&self, item: &Item, bytes: u64) {
        item.done.fetch_add(bytes, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn items(&self) -> Vec<Arc<Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> orlop_progress_state {
        let items = self.items();
        let finished = items.iter().filter(|i| i.note().is_some()).count();
        orlop_progress_state {
            size: size_of::<orlop_progress_state>(),
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            items_started: items.len() as u64,
            items_finished: finished as u64,
        }
    }
}

impl Item {
    pub(crate) fn finish(&self, note: &str) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(note.to_owned());
    }

    /// It has ended, whatever became of it.
    pub(crate) fn end(&self) {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }

    fn note(&self) -> Option<String> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The counters behind a pointer that may be absent.
///
/// # Safety
/// `progress` is NULL or has not been freed.
pub(crate) unsafe fn shared(progress: *const orlop_progress) -> Option<Arc<Counters>> {
    // SAFETY: as the caller promises.
    unsafe { progress.as_ref() }.map(|p| Arc::clone(&p.0))
}

/// Makes a progress for one operation.
///
/// Ownership: *progress is the caller's, to be freed with orlop_progress_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_progress_new(
    progress: *mut *mut orlop_progress,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            PointerOut::new(progress, "progress")?.put(orlop_progress(Arc::default()));
            Ok(())
        })
    }
}

/// Tells how far the operation is.
///
/// Ownership: `state` is the caller's struct, its size field set.
/// Threads: any, also while the operation runs.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL, or for a size of less than one field.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_progress_read(
    progress: *const orlop_progress,
    state: *mut orlop_progress_state,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks; no more is written than his struct has.
    unsafe {
        run(error, || {
            let counters = shared(progress).ok_or_else(|| missing("progress"))?;
            if state.is_null() {
                return Err(missing("state"));
            }
            crate::input::fill(state, counters.state())
        })
    }
}

/// Lists the operation's items as a JSON array of {"what", "total", "done", "note"}: a layer or file, its bytes where they are
/// known, those worked through, and how it ended ("done", "already exists"; empty where it failed) once it has.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any, also while the operation runs.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_progress_items(
    progress: *const orlop_progress,
    items: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(items);
            let counters = shared(progress).ok_or_else(|| missing("progress"))?;
            let print = |item: &Arc<Item>| Printed {
                what: item.what.clone(),
                total: item.total,
                done: item.done.load(Ordering::Relaxed),
                note: item.note(),
            };
            out.put(json::text(&counters.items().iter().map(print).collect::<Vec<_>>())?);
            Ok(())
        })
    }
}

/// Frees a progress; NULL is fine. An operation that has it goes on.
///
/// Threads: any; nobody else may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_progress_free(progress: *mut orlop_progress) {
    // SAFETY: NULL or not freed yet.
    unsafe { free(progress) };
}
