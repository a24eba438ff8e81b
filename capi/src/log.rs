//! The log, for hosts that want one; without, the library is silent.

use std::ffi::{CString, c_char, c_void};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use orlop::{Error, ErrorKind};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::error::orlop_error;
use crate::guard::run;

/// Nothing.
pub const ORLOP_LOG_OFF: u32 = 0;
/// What went wrong and could not be reported otherwise.
pub const ORLOP_LOG_ERROR: u32 = 1;
/// What somebody should look at.
pub const ORLOP_LOG_WARN: u32 = 2;
/// What was decided.
pub const ORLOP_LOG_INFO: u32 = 3;
/// Each step.
pub const ORLOP_LOG_DEBUG: u32 = 4;

/// Receives a line of the log: its level (ORLOP_LOG_*), and the text, which is only valid during the call.
///
/// It is called on the thread of the call or on one of the library's, several at once, and must not call the library.
pub type orlop_log_fn =
    Option<unsafe extern "C" fn(level: u32, line: *const c_char, userdata: *mut c_void)>;

#[derive(Clone, Copy)]
struct Sink {
    function: unsafe extern "C" fn(u32, *const c_char, *mut c_void),
    userdata: *mut c_void,
}

// SAFETY: the header asks for a function and data that any thread may use.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

static SINK: RwLock<Option<Sink>> = RwLock::new(None);
static LEVEL: AtomicU32 = AtomicU32::new(ORLOP_LOG_OFF);
static STARTED: AtomicBool = AtomicBool::new(false);

/// Sends the library's log to `function`, lines up to `level` (ORLOP_LOG_*); NULL or ORLOP_LOG_OFF silences it, as it is at
/// first. It holds for the whole process.
///
/// Ownership: `userdata` stays the caller's and must live until another function is set.
/// Threads: any; when it returns, the former function is not called any more.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for another level.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_set_log(
    function: orlop_log_fn,
    userdata: *mut c_void,
    level: u32,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: a pointer of the caller's, as the header asks.
    unsafe {
        run(error, || {
            if level > ORLOP_LOG_DEBUG {
                return Err(Error::new(ErrorKind::InvalidArgument, "setting the log")
                    .detail(format!("{level} is no level")));
            }
            let sink = function.map(|function| Sink { function, userdata });
            let level = if sink.is_some() { level } else { ORLOP_LOG_OFF };
            // Both under the lock, so that of two calls at once one holds altogether.
            let mut place = SINK.write().unwrap_or_else(PoisonError::into_inner);
            *place = sink;
            LEVEL.store(level, Ordering::Release);
            drop(place);
            if level != ORLOP_LOG_OFF && !STARTED.swap(true, Ordering::AcqRel) {
                // It fails when the program is a Rust one with a log of its own, which then gets the lines.
                let _ = tracing::subscriber::set_global_default(
                    tracing_subscriber::registry().with(ToSink),
                );
            }
            tracing::callsite::rebuild_interest_cache();
            Ok(())
        })
    }
}

struct ToSink;

fn number(level: &Level) -> u32 {
    match *level {
        Level::ERROR => ORLOP_LOG_ERROR,
        Level::WARN => ORLOP_LOG_WARN,
        Level::INFO => ORLOP_LOG_INFO,
        Level::DEBUG | Level::TRACE => ORLOP_LOG_DEBUG,
    }
}

impl<S: Subscriber> Layer<S> for ToSink {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() != Level::TRACE
            && number(metadata.level()) <= LEVEL.load(Ordering::Acquire)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Acquire) {
            ORLOP_LOG_OFF => LevelFilter::OFF,
            ORLOP_LOG_ERROR => LevelFilter::ERROR,
            ORLOP_LOG_WARN => LevelFilter::WARN,
            ORLOP_LOG_INFO => LevelFilter::INFO,
            _ => LevelFilter::DEBUG,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.message + &line.fields;
        let text = CString::new(text.replace('\0', "")).unwrap_or_default();
        if let Some(sink) = *SINK.read().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: a function of the host's for this very purpose; the text lives until it returns.
            unsafe {
                (sink.function)(number(event.metadata().level()), text.as_ptr(), sink.userdata)
            };
        }
    }
}

/// The message and then `key="value"`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
