//! `usp rm`

use anyhow::Result;
use clap::Args;
use futures::TryStreamExt;
use serde_json::json;
use usp_client::{Client, ListFiles};
use usp_model::limits::LIST_COUNT_MAX;
use usp_model::{ErrorKind, FileRef};

use crate::exit::Ending;
use crate::place::{FileArg, Place};
use crate::prompt;
use crate::session::Session;

/// Deletions on their way at the same time.
const PARALLEL: usize = 8;

/// Delete files, with all their versions
#[derive(Debug, Args)]
#[command(after_help = "\
With -r a place is a prefix, and everything below it goes; that is asked for on a terminal and takes --yes elsewhere.

Example:
  usp rm usp://default/2026/orders.csv
  usp rm -r usp://default/2025/ --yes")]
pub(crate) struct RmArgs {
    /// usp://BUCKET/KEY or file ids; with -r usp://BUCKET/PREFIX
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Delete everything whose key begins with the prefix
    #[arg(long, short)]
    recursive: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(args: RmArgs, session: &Session) -> Result<()> {
    if args.recursive {
        let places = args.files.iter().map(|text| text.parse()).collect::<Result<Vec<Place>, _>>()?;
        return remove_below(&places, args.yes, session).await;
    }
    let files = args.files.iter().map(|text| text.parse()).collect::<Result<Vec<FileArg>, _>>()?;
    let client = session.client()?;
    for FileArg(file) in files {
        match &file {
            FileRef::Id(id) => client.delete(id).await?,
            FileRef::Key(bucket, key) => client.delete_at(bucket, key).await?,
        }
        session.output.outcome(&json!({"deleted": file.to_string()}), || format!("deleted {file}"))?;
    }
    Ok(())
}

async fn remove_below(places: &[Place], is_sure: bool, session: &Session) -> Result<()> {
    let names: Vec<String> = places.iter().map(ToString::to_string).collect();
    let question = format!("Delete every file below {}?", names.join(" and "));
    if !is_sure && !prompt::is_confirmed(&question).await? {
        return Err(Ending::WrongUsage("nothing was deleted: confirm, or say --yes".to_owned()).into());
    }
    let client = session.client()?;
    let mut count = 0_u64;
    for place in places {
        count += remove_place(&client, place).await?;
    }
    session.output.outcome(&json!({"deleted": count}), || format!("deleted {count} files"))
}

async fn remove_place(client: &Client, place: &Place) -> Result<u64> {
    let list = ListFiles { prefix: place.path.clone(), limit: Some(LIST_COUNT_MAX), ..ListFiles::default() };
    let files = client.files(place.bucket.clone(), list);
    let deletions = files
        .map_ok(|file| async move {
            match client.delete(&file.id).await {
                // Someone else was faster.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
                deleted => deleted.map(|()| 1),
            }
        })
        .try_buffer_unordered(PARALLEL);
    Ok(deletions.try_fold(0_u64, |count, deleted| async move { Ok(count + deleted) }).await?)
}
