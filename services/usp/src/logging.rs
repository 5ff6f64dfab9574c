//! The log: lines on standard error, for people or for machines.

use std::io::{self, Write};

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use usp_model::error::is_bidi_control;

use crate::config::LogFormat;

/// Installs the log for the life of the process. Errors: a filter that cannot be read.
pub(crate) fn install(format: LogFormat, filter: &str) -> Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("failed to read log.filter '{filter}'"))?;
    // What cannot be written is lost, and nothing else: a complaint about it on the same standard error would panic.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Escaped)
        .with_ansi(false)
        .log_internal_errors(false);
    let installed = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    installed.map_err(|source| anyhow::anyhow!("failed to install the log: {source}"))
}

/// Standard error, where one event stays one line whatever its fields hold.
struct Escaped;

struct EscapedLine(io::Stderr);

impl<'a> MakeWriter<'a> for Escaped {
    type Writer = EscapedLine;

    fn make_writer(&'a self) -> EscapedLine {
        EscapedLine(io::stderr())
    }
}

impl Write for EscapedLine {
    /// Takes a whole event, which is how tracing-subscriber writes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(escape(line).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Escapes every control character but the line end that closes the event.
fn escape(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let body = text.strip_suffix('\n').unwrap_or(&text);
    let mut out = String::with_capacity(text.len());
    for c in body.chars() {
        if c.is_control() || is_bidi_control(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_forge_a_line() {
        let line = escape(b"INFO put key=a\nERROR forged \x1b[31m\n");
        assert_eq!(line, "INFO put key=a\\u{a}ERROR forged \\u{1b}[31m\n");
    }

    #[test]
    fn a_json_event_is_left_as_it_is() {
        assert_eq!(escape(b"{\"a\":\"x\\ny\"}\n"), "{\"a\":\"x\\ny\"}\n");
    }
}
