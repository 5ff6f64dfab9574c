//! `usp ls`

use anyhow::Result;
use clap::Args;
use futures::TryStreamExt;
use serde_json::json;
use usp_client::ListFiles;
use usp_client::types::File;
use usp_model::FileState;
use usp_model::limits::LIST_COUNT_MAX;

use crate::output::shown;
use crate::place::Place;
use crate::render::{size, table};
use crate::session::Session;

/// List files
#[derive(Debug, Args)]
#[command(after_help = "\
One key per line, in order; --long adds id, state, size and time. `usp admin bucket ls` lists buckets.

Example:
  usp ls
  usp ls usp://default/2026/ --long
  usp ls usp://default --delimiter / --limit 20")]
pub(crate) struct LsArgs {
    /// usp://BUCKET/PREFIX; the bucket `default` without it
    place: Option<Place>,
    /// One line with id, state, size and time per file
    #[arg(long, short)]
    long: bool,
    /// Show keys up to this text behind the prefix once, as a folder
    #[arg(long, value_name = "TEXT")]
    delimiter: Option<String>,
    /// Only files in this state: stored, processing, ready, failed, quarantined, rejected
    #[arg(long)]
    state: Option<FileState>,
    /// Only this media type, or a pattern such as text/*
    #[arg(long = "type", value_name = "TYPE")]
    media_type: Option<String>,
    /// Stop after so many entries
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

pub(crate) async fn run(args: LsArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    let place = args.place.map_or_else(Place::default_bucket, Ok)?;
    let mut left = args.limit.unwrap_or(usize::MAX);
    let page_size = u32::try_from(left).unwrap_or(LIST_COUNT_MAX).clamp(1, LIST_COUNT_MAX);
    let list = ListFiles {
        prefix: place.path,
        delimiter: args.delimiter,
        state: args.state,
        media_type: args.media_type,
        limit: Some(page_size),
        cursor: None,
    };
    let mut pages = std::pin::pin!(client.pages(place.bucket, list));
    while left > 0
        && let Some(page) = pages.try_next().await?
    {
        for prefix in page.prefixes.iter().take(left) {
            session.output.result(&json!({"prefix": prefix}), || shown(prefix))?;
        }
        left = left.saturating_sub(page.prefixes.len());
        let files = page.items.get(..left.min(page.items.len())).unwrap_or_default();
        left -= files.len();
        if args.long && !session.output.json {
            // Columns line up within a page; the whole list may be longer than memory.
            let rows: Vec<_> = files.iter().map(long_row).collect();
            session.output.result(&(), || table(&rows))?;
            continue;
        }
        for file in files {
            session.output.result(file, || shown(file.key.as_str()))?;
        }
    }
    Ok(())
}

fn long_row(file: &File) -> Vec<String> {
    vec![
        file.id.to_string(),
        file.state.to_string(),
        size(file.size),
        file.updated_at.to_string(),
        file.key.to_string(),
    ]
}
