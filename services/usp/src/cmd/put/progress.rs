//! Bars on a terminal: one for everything, one for each file that is on its way. Nothing anywhere else.

use std::sync::Arc;

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressStyle};
use usp_client::ProgressFn;

use super::sources::Sources;
use crate::output::Output;
use crate::render::short_key;

const TOTAL: &str = "{wide_bar} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta}  {msg}";
const FILE: &str = "  {msg:40} {bar:20} {binary_bytes} of {binary_total_bytes}";
const WAITING: &str = "  {spinner} {wide_msg}";

/// What is drawn, if anything is.
pub(super) struct Progress(Option<Drawn>);

struct Drawn {
    bars: MultiProgress,
    total: ProgressBar,
}

/// The bar of one file; gone when it is dropped.
pub(super) struct FileBar(Option<(ProgressBar, ProgressBar)>);

impl Progress {
    /// Measures the sources first, if there is someone to show it to.
    pub(super) async fn begin(output: Output, sources: &Sources) -> Result<Self> {
        if !output.draws() {
            return Ok(Self(None));
        }
        let sources = sources.clone();
        let (count, bytes) = tokio::task::spawn_blocking(move || sources.measure()).await?;
        let bars = MultiProgress::new();
        // Also an interrupt leaves the terminal as it was.
        let total = ProgressBar::new(bytes).with_style(style(TOTAL)).with_finish(ProgressFinish::AndClear);
        let total = bars.add(total);
        total.set_message(if count == 1 { "1 file".to_owned() } else { format!("{count} files") });
        Ok(Self(Some(Drawn { bars, total })))
    }

    /// Prints lines without tearing the bars.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(drawn) => drawn.bars.suspend(print),
            None => print(),
        }
    }

    pub(super) fn file(&self, name: &str, size_bytes: Option<u64>) -> FileBar {
        FileBar(self.0.as_ref().map(|drawn| {
            let bar =
                size_bytes.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style(FILE));
            let bar = drawn.bars.insert_before(&drawn.total, bar);
            bar.set_message(short_key(name));
            (bar, drawn.total.clone())
        }))
    }

    /// A line that says what a stored file waits for.
    pub(super) fn waiting(&self) -> FileBar {
        FileBar(self.0.as_ref().map(|drawn| {
            let bar =
                drawn.bars.insert_before(&drawn.total, ProgressBar::new_spinner().with_style(style(WAITING)));
            (bar, drawn.total.clone())
        }))
    }

    pub(super) fn end(&self) {
        if let Some(drawn) = &self.0 {
            drawn.total.finish_and_clear();
        }
    }
}

impl FileBar {
    /// Moves the file's bar, and the total by as much.
    pub(super) fn counter(&self) -> Option<ProgressFn> {
        let (bar, total) = self.0.clone()?;
        Some(Arc::new(move |sent_bytes| {
            let before = bar.position();
            bar.set_position(sent_bytes);
            // An attempt that begins anew takes back what it had counted.
            match sent_bytes.checked_sub(before) {
                Some(more) => total.inc(more),
                None => total.set_position(total.position().saturating_sub(before - sent_bytes)),
            }
        }))
    }

    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        if let Some((bar, _)) = &self.0 {
            bar.set_message(text());
            bar.tick();
        }
    }
}

impl Drop for FileBar {
    fn drop(&mut self) {
        if let Some((bar, _)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a wrong one shows plain bars.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
