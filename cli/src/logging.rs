//! The log on standard error, in the line format of the Go tools.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts the log: everything down to debug messages, or only warnings and errors.
pub(crate) fn start(debug: bool) {
    let level = if debug { Level::DEBUG } else { Level::WARN };
    // It fails only if a log was started before, and then that one serves.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .event_format(LogrusLike)
        .try_init();
}

/// `time="…" level=debug msg="…" key="value"`.
struct LogrusLike;

impl<S, N> FormatEvent<S, N> for LogrusLike
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        writer.write_str("time=\"")?;
        SystemTime.format_time(&mut writer)?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        write!(writer, "\" level={level} msg={:?}", fields.message)?;
        writeln!(writer, "{}", fields.others)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn keep(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.others.push_str(&format!(" {}={text:?}", field.name()));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}"));
    }
}
