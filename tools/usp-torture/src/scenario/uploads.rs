//! Uploads in parts, at the same time, ended, joined.

use anyhow::Result;
use futures::future::try_join_all;

use super::{Stage, longer_than_a_checkpoint, small};
use crate::content::Content;

pub(super) async fn upload_in_parts(Stage { actor, .. }: Stage) -> Result<()> {
    actor.upload("u", "k/0", &longer_than_a_checkpoint(40), &[1, 700, 30_000, 30_001]).await
}

pub(super) async fn upload_with_checkpoints(Stage { actor, .. }: Stage) -> Result<()> {
    actor.upload("u", "k/0", &longer_than_a_checkpoint(40), &[]).await
}

pub(super) async fn uploads_joined(Stage { actor, .. }: Stage) -> Result<()> {
    let content = longer_than_a_checkpoint(40);
    actor.join("k/0", &[small(41), content, Content::of(43, 30_000)]).await?;
    actor.join("p/0", &[Content::of(44, 0), small(45)]).await?;
    Ok(())
}

pub(super) async fn upload_ended(Stage { actor, .. }: Stage) -> Result<()> {
    let content = longer_than_a_checkpoint(40);
    for slot in ["u", "v"] {
        if let Some(id) = actor.open_upload(slot, "k/0", &content).await? {
            actor.append(slot, id, &content, 0, 40_000).await?;
            actor.end_upload(slot, id).await?;
        }
    }
    actor.put("k/0", &content).await?;
    Ok(())
}

pub(super) async fn uploads_interleaved(Stage { actor, .. }: Stage) -> Result<()> {
    let works = (0..3_u64).map(|client| {
        let (actor, content) = (actor.clone(), longer_than_a_checkpoint(40 + client % 2));
        async move {
            let (slot, key) = (format!("u{client}"), format!("k/{client}"));
            actor.upload(&slot, &key, &content, &[9_000 * (client + 1), 60_000]).await
        }
    });
    try_join_all(works).await?;
    Ok(())
}
