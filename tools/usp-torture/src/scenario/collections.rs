//! Collections, alone and against other work.

use anyhow::Result;

use super::Stage;
use crate::content::Content;
use crate::store::PACK_BYTES;

pub(super) async fn collect_sweep(Stage { actor, .. }: Stage) -> Result<()> {
    actor.collect().await
}

pub(super) async fn collect_to_the_end(Stage { actor, .. }: Stage) -> Result<()> {
    for _cycle in 0..4 {
        actor.collect().await?;
    }
    Ok(())
}

pub(super) async fn compaction(Stage { actor, .. }: Stage) -> Result<()> {
    for number in [4, 12] {
        actor.delete(&format!("p/{number}")).await?;
    }
    for _cycle in 0..3 {
        actor.collect().await?;
        actor.put("k/0", &Content::of(70, u32::try_from(PACK_BYTES / 4)?)).await?;
    }
    Ok(())
}

pub(super) async fn collect_while_putting(Stage { actor, .. }: Stage) -> Result<()> {
    let collector = async {
        for _cycle in 0..4 {
            actor.collect().await?;
        }
        Ok(())
    };
    let putter = async {
        for number in 0..8_u64 {
            actor.put(&format!("k/{number}"), &Content(vec![(number * 2, 6_000), (104, 4_000)])).await?;
            actor.delete(&format!("k/{}", number / 2)).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    futures::future::try_join(collector, putter).await?;
    Ok(())
}

pub(super) async fn dedup_hit_on_what_is_collected(Stage { actor, .. }: Stage) -> Result<()> {
    // What the deleted files held is put again between and after the cycles.
    for number in 1..4_u64 {
        actor.put(&format!("k/{number}"), &Content(vec![(number * 2, 6_000)])).await?;
        actor.collect().await?;
        actor.delete(&format!("k/{number}")).await?;
        actor.collect().await?;
        actor.put(&format!("k/{number}"), &Content(vec![(number * 2, 6_000)])).await?;
    }
    Ok(())
}
