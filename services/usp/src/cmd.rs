//! The verbs, one file each: what they take, and what they do.

pub(crate) mod admin;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod ls;
pub(crate) mod put;
pub(crate) mod rm;
pub(crate) mod rules;
pub(crate) mod runs;
pub(crate) mod serve;
pub(crate) mod stat;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod watch;

use anyhow::Result;
use usp_client::Client;
use usp_model::{FileId, FileRef};

/// The id of a file that was named by id or by place.
async fn id_of(client: &Client, file: &FileRef) -> Result<FileId> {
    Ok(match file {
        FileRef::Id(id) => *id,
        FileRef::Key(bucket, key) => client.file_at(bucket, key).await?.id,
    })
}
