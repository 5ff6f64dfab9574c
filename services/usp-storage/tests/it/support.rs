//! A storage in a directory of its own, the people who use it, and contents to give it.

mod content;
mod engine;
mod house;
mod people;

pub(crate) use content::{broken_after, pieces, random_bytes, sha256_of, tap};
pub(crate) use house::{CHECKPOINT_BYTES, Door, House, LEASE_TIME, NODE_SECRET, node_client};
pub(crate) use people::{admin, in_all_buckets, in_bucket, stranger, worker};

use usp_model::{BucketName, FileKey, LabelKey, RuleName, UserName};
use usp_testkit::{PATIENCE, until};

/// Asks again and again until there is an answer; a minute of silence fails the test.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    until(what, PATIENCE, async || Ok(ask().await)).await.unwrap()
}

/// Waits for what should take moments.
pub(crate) async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, awaited).await.unwrap()
}

pub(crate) fn bucket(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}

pub(crate) fn key(text: &str) -> FileKey {
    FileKey::parse(text).unwrap()
}

pub(crate) fn label(text: &str) -> LabelKey {
    LabelKey::parse(text).unwrap()
}

pub(crate) fn rule(name: &str) -> RuleName {
    RuleName::parse(name).unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}
