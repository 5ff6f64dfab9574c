//! The one way to standard output and standard error of the commands that people and scripts run.
//!
//! Results go to standard output; progress, notes and errors to standard error. A reader that goes away ends a command
//! that only shows, in order; one that does something goes on. Text that came from elsewhere is shown with its control characters escaped, so that a file name
//! can neither move the cursor nor pretend to be a second line.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use usp_client::ClientError;
use usp_model::error::is_bidi_control;

use crate::exit::Ending;

/// How much a command says, and in which form.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Output {
    /// One JSON document, or one per line for streams.
    pub(crate) json: bool,
    /// Only what was asked for and errors.
    pub(crate) quiet: bool,
}

impl Output {
    /// Whether progress may be drawn over the lines of a terminal.
    pub(crate) fn draws(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// Prints a result: `value` as one line of JSON, or `text` for people.
    pub(crate) fn result(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            return write_line(&serde_json::to_string(value)?);
        }
        let text = text();
        if text.is_empty() { Ok(()) } else { write_line(&text) }
    }

    /// Prints what a command did or found. A reader that went away changes neither what it does nor how it ends.
    pub(crate) fn report(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        went_away_is_fine(self.result(value, text))
    }

    /// Prints what happened on the way to people who did not ask for silence.
    pub(crate) fn outcome(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.quiet && !self.json { Ok(()) } else { self.report(value, text) }
    }

    /// Says something on standard error that is no result and no failure.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            let _unheard = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says on standard error what did not go well although the command goes on. JSON has it in its documents.
    pub(crate) fn complaint(self, text: &str) {
        if !self.json {
            let _unheard = writeln!(io::stderr().lock(), "usp: {text}");
        }
    }

    /// Says on standard error what went wrong.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let mut err = io::stderr().lock();
        let _unheard = match self.json {
            true => writeln!(err, "{}", error_json(error)),
            false => writeln!(err, "usp: {}", lines(&sentence(error))),
        };
    }
}

/// A failure as scripts read it.
pub(crate) fn error_json(error: &anyhow::Error) -> serde_json::Value {
    let client = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    if let Some(problem) = client.and_then(ClientError::problem) {
        return json!({"error": problem});
    }
    if let Some(ending) = error.downcast_ref::<Ending>() {
        return json!({"error": {"code": ending.code(), "detail": ending.to_string()}});
    }
    let kind_of = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<usp_model::Error>() {
        Some(own) => Some(own.kind()),
        None => cause.downcast_ref().map(ClientError::kind),
    };
    let code = error.chain().find_map(kind_of).map(usp_model::ErrorKind::code);
    json!({"error": {"code": code, "detail": sentence(error)}})
}

/// What was tried and why it failed. Errors of ours say all of it themselves; what caused them would say it again.
fn sentence(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        parts.push(cause.to_string());
        if cause.is::<usp_model::Error>() || cause.is::<ClientError>() {
            break;
        }
    }
    parts.join(": ")
}

/// Writes one line to standard output, at once.
pub(crate) fn write_line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    closed_is_an_end(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// Writes to standard output as it is.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<()> {
    closed_is_an_end(io::stdout().lock().write_all(bytes))
}

fn closed_is_an_end(written: io::Result<()>) -> Result<()> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ending::OutputClosed.into()),
        Err(error) => Err(anyhow::Error::from(error).context("failed to write to standard output")),
    }
}

/// For what must go on without its reader.
pub(crate) fn went_away_is_fine(written: Result<()>) -> Result<()> {
    match written {
        Err(error) if matches!(error.downcast_ref(), Some(Ending::OutputClosed)) => Ok(()),
        written => written,
    }
}

/// Text from elsewhere as one line.
pub(crate) fn shown(text: &str) -> String {
    escaped(text, |_| false)
}

/// Text from elsewhere that may have several lines.
fn lines(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() || is_bidi_control(c)) && !is_kept(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor_or_begin_a_line() {
        assert_eq!(shown("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}"), r"a\u{1b}[2Jb\u{d}\u{a}c\u{202e}d\u{9b}");
        assert_eq!(shown("日本 ü.csv"), "日本 ü.csv");
        assert_eq!(lines("a\nb\u{7}"), "a\nb\\u{7}");
    }

    #[test]
    fn a_failure_says_everything_once() {
        let source = io::Error::other("disk on fire");
        let own = usp_model::Error::new(usp_model::ErrorKind::NotFound, "open file")
            .because(source.to_string())
            .caused_by(source);
        let error = anyhow::Error::from(own).context("orders.csv");
        assert_eq!(sentence(&error), "orders.csv: failed to open file: disk on fire");
    }

    #[test]
    fn a_failure_is_json_with_its_code() {
        let error =
            usp_model::Error::new(usp_model::ErrorKind::NotFound, "find file").because("no such file");
        let json = error_json(&ClientError::Local(error).into());
        assert_eq!(json["error"]["code"], "not_found");
        assert_eq!(error_json(&anyhow::anyhow!("x"))["error"], json!({"code": null, "detail": "x"}));
    }
}
