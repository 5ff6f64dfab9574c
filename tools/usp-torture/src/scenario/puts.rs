//! Files that are put, changed and deleted.

use anyhow::Result;
use futures::future::try_join_all;

use super::{Stage, longer_than_a_checkpoint, small};
use crate::content::Content;

/// The start of a new store, and that it works.
pub(super) async fn first_start(Stage { actor, .. }: Stage) -> Result<()> {
    actor.put("k/after", &small(3)).await
}

/// The start of a store whose catalogue is of the first version (`power.rs` lays it out), and that it works.
pub(super) async fn migration(Stage { actor, .. }: Stage) -> Result<()> {
    actor.put("k/after", &small(3)).await
}

pub(super) async fn put_small(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..10 {
        actor.put(&format!("k/{number}"), &small(20 + number)).await?;
    }
    Ok(())
}

pub(super) async fn put_of_no_bytes(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..4 {
        actor.put(&format!("k/{number}"), &Content::of(1, u32::try_from(number)? / 2)).await?;
    }
    Ok(())
}

pub(super) async fn put_below_a_checkpoint(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..4 {
        actor.put(&format!("k/{number}"), &Content::of(20 + number, 18_000)).await?;
    }
    Ok(())
}

pub(super) async fn put_with_checkpoints(Stage { actor, .. }: Stage) -> Result<()> {
    actor.put("k/0", &longer_than_a_checkpoint(30)).await?;
    actor.put("k/1", &longer_than_a_checkpoint(31)).await?;
    Ok(())
}

pub(super) async fn put_abandoned(Stage { actor, .. }: Stage) -> Result<()> {
    actor.abandon("k/0", &longer_than_a_checkpoint(30)).await?;
    actor.abandon("k/1", &small(31)).await?;
    actor.put("k/0", &longer_than_a_checkpoint(30)).await?;
    Ok(())
}

pub(super) async fn dedup_hit(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..5 {
        actor.put(&format!("k/{number}"), &Content(vec![(100, 6_000), (number, 6_000)])).await?;
    }
    Ok(())
}

pub(super) async fn dedup_at_the_same_time(Stage { actor, .. }: Stage) -> Result<()> {
    let same = Content(vec![(40, 12_000), (41, 6_000)]);
    let keys: Vec<_> = (0..5).map(|number| format!("k/{number}")).collect();
    try_join_all(keys.iter().map(|key| actor.put(key, &same))).await?;
    Ok(())
}

pub(super) async fn rotation(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..14 {
        actor.put(&format!("k/{number}"), &Content::of(20 + number * 2, 11_000)).await?;
    }
    Ok(())
}

pub(super) async fn rotation_by_many(Stage { actor, .. }: Stage) -> Result<()> {
    for round in 0..4_u64 {
        let works = (0..4_u64).map(|client| {
            let (actor, seed) = (actor.clone(), 20 + 2 * (round * 4 + client));
            async move { actor.put(&format!("k/{client}"), &Content::of(seed, 13_000)).await }
        });
        try_join_all(works).await?;
    }
    Ok(())
}

pub(super) async fn many_at_once(Stage { actor, .. }: Stage) -> Result<()> {
    let works = (0..8_u64).map(|client| {
        let actor = actor.clone();
        async move {
            for number in 0..4 {
                actor.put(&format!("c{client}/{number}"), &small(client * 10 + number)).await?;
            }
            actor.delete(&format!("c{client}/1")).await
        }
    });
    try_join_all(works).await?;
    Ok(())
}

pub(super) async fn log_checkpoint(Stage { actor, mut numbers }: Stage) -> Result<()> {
    for number in 0..130 {
        actor.put(&format!("k/{}", number % 40), &Content::of(numbers.draw(), 300)).await?;
    }
    Ok(())
}

pub(super) async fn overwrite(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..6 {
        actor.put("k/0", &Content::of(20 + number, 5_000)).await?;
    }
    Ok(())
}

pub(super) async fn delete(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..3 {
        actor.delete(&format!("p/{number}")).await?;
        actor.put(&format!("p/{number}"), &small(20 + number)).await?;
    }
    actor.delete("p/0").await?;
    Ok(())
}

pub(super) async fn label(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..4 {
        actor.label(&format!("p/{number}"), &format!("m{number}")).await?;
    }
    actor.put("p/0", &small(9)).await?;
    actor.label("p/0", "again").await?;
    Ok(())
}

pub(super) async fn few(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..3 {
        let content = Content::of(20 + number * 2, 9_000);
        actor.put(&format!("k/{number}"), &content).await?;
        actor.read(&format!("k/{number}"), &content).await?;
    }
    actor.upload("u", "k/u", &longer_than_a_checkpoint(50), &[30_000]).await?;
    actor.delete("k/1").await?;
    actor.put("k/2", &Content::of(60, 50_000)).await?;
    Ok(())
}

pub(super) async fn runs(Stage { actor, .. }: Stage) -> Result<()> {
    for number in 0..3 {
        let key = format!("k/{number}.csv");
        actor.put(&key, &small(20 + number)).await?;
        actor.process(&key).await?;
    }
    Ok(())
}
