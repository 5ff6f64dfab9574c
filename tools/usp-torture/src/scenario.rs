//! What an actor does while it is recorded. Each scenario may first prepare a store; that part is not cut.

use anyhow::{Result, bail};
use futures::future::try_join_all;
use usp_testkit::generate::Numbers;

use crate::actor::Actor;
use crate::content::Content;
use crate::store::{CHECKPOINT_BYTES, PACK_BYTES};

/// Which part of a scenario a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Prepare,
    Recorded,
}

/// Every scenario whose power cuts are enumerated.
pub const ALL: [&str; 31] = [
    "first_start",
    "start_again",
    "migration",
    "put_small",
    "put_of_no_bytes",
    "put_below_a_checkpoint",
    "put_with_checkpoints",
    "put_abandoned",
    "overwrite",
    "delete",
    "label",
    "dedup_hit",
    "dedup_at_the_same_time",
    "upload_in_parts",
    "upload_with_checkpoints",
    "upload_ended",
    "uploads_joined",
    "uploads_interleaved",
    "rotation",
    "rotation_by_many",
    "many_at_once",
    "collect_sweep",
    "collect_to_the_end",
    "compaction",
    "collect_while_putting",
    "dedup_hit_on_what_is_collected",
    "graceful_restart",
    "restart_after_a_crash",
    "log_checkpoint",
    "runs",
    "everything",
];

/// Plays one phase of a scenario.
///
/// Errors: anything that a client would not expect.
pub async fn play(name: &str, phase: Phase, actor: Actor, seed: u64) -> Result<()> {
    let numbers = Numbers::new(seed);
    match (group(name), phase) {
        (Group::Put, Phase::Prepare) => prepare_some(&actor).await,
        (Group::Put, Phase::Recorded) => puts(name, actor, numbers).await,
        (Group::Upload, Phase::Prepare) => prepare_some(&actor).await,
        (Group::Upload, Phase::Recorded) => uploads(name, actor).await,
        (Group::Collect, Phase::Prepare) => prepare_garbage(&actor).await,
        (Group::Collect, Phase::Recorded) => collections(name, actor).await,
        (Group::Restart, Phase::Prepare) => prepare_some(&actor).await,
        (Group::Restart, Phase::Recorded) => restarts(name, actor, numbers).await,
        (Group::Bare, _) => actor.put("k/after", &small(3)).await,
        (Group::Unknown, _) => bail!("there is no scenario '{name}'"),
    }
}

/// Whether the recorded process begins in an empty directory.
pub fn begins_with_nothing(name: &str) -> bool {
    group(name) == Group::Bare
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Bare,
    Put,
    Upload,
    Collect,
    Restart,
    Unknown,
}

fn group(name: &str) -> Group {
    match name {
        "first_start" | "migration" => Group::Bare,
        "put_small"
        | "put_of_no_bytes"
        | "put_below_a_checkpoint"
        | "put_with_checkpoints"
        | "put_abandoned"
        | "overwrite"
        | "delete"
        | "label"
        | "dedup_hit"
        | "dedup_at_the_same_time"
        | "rotation"
        | "rotation_by_many"
        | "many_at_once"
        | "log_checkpoint"
        | "runs"
        | "few" => Group::Put,
        "upload_in_parts"
        | "upload_with_checkpoints"
        | "upload_ended"
        | "uploads_joined"
        | "uploads_interleaved" => Group::Upload,
        "collect_sweep"
        | "collect_to_the_end"
        | "compaction"
        | "collect_while_putting"
        | "dedup_hit_on_what_is_collected" => Group::Collect,
        "start_again" | "graceful_restart" | "restart_after_a_crash" | "everything" | "churn" | "upkeep" => {
            Group::Restart
        }
        _ => Group::Unknown,
    }
}

fn small(seed: u64) -> Content {
    Content::of(seed, 900)
}

fn longer_than_a_checkpoint(seed: u64) -> Content {
    let bytes = u32::try_from(CHECKPOINT_BYTES).unwrap_or(u32::MAX);
    Content::of(seed, bytes * 7 / 2)
}

/// Files that stand already, some of which share pieces.
async fn prepare_some(actor: &Actor) -> Result<()> {
    for number in 0..4_u64 {
        actor.put(&format!("p/{number}"), &Content(vec![(number, 6_000), (100, 6_000)])).await?;
    }
    Ok(())
}

/// Packs that are full, most of what is in them of no use any more.
async fn prepare_garbage(actor: &Actor) -> Result<()> {
    for number in 0..18_u64 {
        actor
            .put(&format!("p/{number}"), &Content(vec![(number * 2, 6_000), (100 + number % 3 * 2, 4_000)]))
            .await?;
    }
    for number in (0..18_u64).filter(|number| number % 4 != 0) {
        actor.delete(&format!("p/{number}")).await?;
    }
    Ok(())
}

async fn puts(name: &str, actor: Actor, numbers: Numbers) -> Result<()> {
    match name {
        "put_small" => {
            for number in 0..10 {
                actor.put(&format!("k/{number}"), &small(20 + number)).await?;
            }
        }
        "put_of_no_bytes" => {
            for number in 0..4 {
                actor.put(&format!("k/{number}"), &Content::of(1, u32::try_from(number)? / 2)).await?;
            }
        }
        "put_below_a_checkpoint" => {
            for number in 0..4 {
                actor.put(&format!("k/{number}"), &Content::of(20 + number, 18_000)).await?;
            }
        }
        "put_with_checkpoints" => {
            actor.put("k/0", &longer_than_a_checkpoint(30)).await?;
            actor.put("k/1", &longer_than_a_checkpoint(31)).await?;
        }
        "put_abandoned" => {
            actor.abandon("k/0", &longer_than_a_checkpoint(30)).await?;
            actor.abandon("k/1", &small(31)).await?;
            actor.put("k/0", &longer_than_a_checkpoint(30)).await?;
        }
        "dedup_hit" => {
            for number in 0..5 {
                actor.put(&format!("k/{number}"), &Content(vec![(100, 6_000), (number, 6_000)])).await?;
            }
        }
        "dedup_at_the_same_time" => {
            let same = Content(vec![(40, 12_000), (41, 6_000)]);
            let keys: Vec<_> = (0..5).map(|number| format!("k/{number}")).collect();
            try_join_all(keys.iter().map(|key| actor.put(key, &same))).await?;
        }
        "rotation" => {
            for number in 0..14 {
                actor.put(&format!("k/{number}"), &Content::of(20 + number * 2, 11_000)).await?;
            }
        }
        "rotation_by_many" | "many_at_once" | "log_checkpoint" => many_puts(name, actor, numbers).await?,
        _ => changes(name, actor).await?,
    }
    Ok(())
}

async fn many_puts(name: &str, actor: Actor, mut numbers: Numbers) -> Result<()> {
    match name {
        "rotation_by_many" => {
            for round in 0..4_u64 {
                let works = (0..4_u64).map(|client| {
                    let (actor, seed) = (actor.clone(), 20 + 2 * (round * 4 + client));
                    async move { actor.put(&format!("k/{client}"), &Content::of(seed, 13_000)).await }
                });
                try_join_all(works).await?;
            }
        }
        "many_at_once" => {
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
        }
        _ => {
            for number in 0..130 {
                actor.put(&format!("k/{}", number % 40), &Content::of(numbers.draw(), 300)).await?;
            }
        }
    }
    Ok(())
}

async fn changes(name: &str, actor: Actor) -> Result<()> {
    match name {
        "overwrite" => {
            for number in 0..6 {
                actor.put("k/0", &Content::of(20 + number, 5_000)).await?;
            }
        }
        "delete" => {
            for number in 0..3 {
                actor.delete(&format!("p/{number}")).await?;
                actor.put(&format!("p/{number}"), &small(20 + number)).await?;
            }
            actor.delete("p/0").await?;
        }
        "label" => {
            for number in 0..4 {
                actor.label(&format!("p/{number}"), &format!("m{number}")).await?;
            }
            actor.put("p/0", &small(9)).await?;
            actor.label("p/0", "again").await?;
        }
        "few" => {
            for number in 0..3 {
                let content = Content::of(20 + number * 2, 9_000);
                actor.put(&format!("k/{number}"), &content).await?;
                actor.read(&format!("k/{number}"), &content).await?;
            }
            actor.upload("u", "k/u", &longer_than_a_checkpoint(50), &[30_000]).await?;
            actor.delete("k/1").await?;
            actor.put("k/2", &Content::of(60, 50_000)).await?;
        }
        _ => {
            for number in 0..3 {
                let key = format!("k/{number}.csv");
                actor.put(&key, &small(20 + number)).await?;
                actor.process(&key).await?;
            }
        }
    }
    Ok(())
}

async fn uploads(name: &str, actor: Actor) -> Result<()> {
    let content = longer_than_a_checkpoint(40);
    match name {
        "upload_in_parts" => actor.upload("u", "k/0", &content, &[1, 700, 30_000, 30_001]).await?,
        "upload_with_checkpoints" => actor.upload("u", "k/0", &content, &[]).await?,
        "uploads_joined" => {
            actor.join("k/0", &[small(41), content, Content::of(43, 30_000)]).await?;
            actor.join("p/0", &[Content::of(44, 0), small(45)]).await?;
        }
        "upload_ended" => {
            for slot in ["u", "v"] {
                if let Some(id) = actor.open_upload(slot, "k/0", &content).await? {
                    actor.append(slot, id, &content, 0, 40_000).await?;
                    actor.end_upload(slot, id).await?;
                }
            }
            actor.put("k/0", &content).await?;
        }
        _ => {
            let works = (0..3_u64).map(|client| {
                let (actor, content) = (actor.clone(), longer_than_a_checkpoint(40 + client % 2));
                async move {
                    let (slot, key) = (format!("u{client}"), format!("k/{client}"));
                    actor.upload(&slot, &key, &content, &[9_000 * (client + 1), 60_000]).await
                }
            });
            try_join_all(works).await?;
        }
    }
    Ok(())
}

async fn collections(name: &str, actor: Actor) -> Result<()> {
    match name {
        "collect_sweep" => actor.collect().await?,
        "collect_to_the_end" => {
            for _cycle in 0..4 {
                actor.collect().await?;
            }
        }
        "compaction" => {
            for number in [4, 12] {
                actor.delete(&format!("p/{number}")).await?;
            }
            for _cycle in 0..3 {
                actor.collect().await?;
                actor.put("k/0", &Content::of(70, u32::try_from(PACK_BYTES / 4)?)).await?;
            }
        }
        "collect_while_putting" => {
            let collector = async {
                for _cycle in 0..4 {
                    actor.collect().await?;
                }
                Ok(())
            };
            let putter = async {
                for number in 0..8_u64 {
                    actor
                        .put(&format!("k/{number}"), &Content(vec![(number * 2, 6_000), (104, 4_000)]))
                        .await?;
                    actor.delete(&format!("k/{}", number / 2)).await?;
                }
                Ok::<_, anyhow::Error>(())
            };
            futures::future::try_join(collector, putter).await?;
        }
        _ => {
            // What the deleted files held is put again between and after the cycles.
            for number in 1..4_u64 {
                actor.put(&format!("k/{number}"), &Content(vec![(number * 2, 6_000)])).await?;
                actor.collect().await?;
                actor.delete(&format!("k/{number}")).await?;
                actor.collect().await?;
                actor.put(&format!("k/{number}"), &Content(vec![(number * 2, 6_000)])).await?;
            }
        }
    }
    Ok(())
}

async fn restarts(name: &str, mut actor: Actor, mut numbers: Numbers) -> Result<()> {
    match name {
        // The start alone, which mends what a crash left.
        "start_again" => {}
        "graceful_restart" | "restart_after_a_crash" => {
            for number in 0..3 {
                actor.put(&format!("k/{number}"), &small(20 + number)).await?;
                actor.restart(name == "graceful_restart").await?;
            }
        }
        "churn" => churn(&actor, &mut numbers, u64::MAX).await?,
        // Every sort of call to the disk that storage makes.
        "upkeep" => {
            for number in 0..3 {
                let content = Content::of(20 + number * 2, 15_000);
                actor.put(&format!("k/{number}"), &content).await?;
                actor.read(&format!("k/{number}"), &content).await?;
                actor.delete(&format!("p/{number}")).await?;
                actor.collect().await?;
            }
            actor.restart(false).await?;
            for number in 0..3 {
                actor.put(&format!("k/{number}"), &Content::of(40 + number * 2, 15_000)).await?;
                actor.collect().await?;
            }
        }
        _ => {
            for _part in 0..2 {
                churn(&actor, &mut numbers, 8).await?;
                actor.restart(false).await?;
            }
        }
    }
    Ok(())
}

/// Clients that do everything at once, each under keys of its own, and one that collects.
async fn churn(actor: &Actor, numbers: &mut Numbers, rounds: u64) -> Result<()> {
    const CLIENTS: u64 = 8;
    let clients = (0..CLIENTS).map(|client| {
        let (actor, numbers) = (actor.clone(), Numbers::new(numbers.draw()));
        tokio::spawn(async move { client_churns(&actor, client, numbers, rounds).await })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.await??;
    }
    Ok(())
}

async fn client_churns(actor: &Actor, client: u64, mut numbers: Numbers, rounds: u64) -> Result<()> {
    for _round in 0..rounds {
        let key = format!("c{client}/{}", numbers.below(4));
        match numbers.below(17) {
            0..8 => {
                let content = Content::draw(&mut numbers);
                actor.put(&key, &content).await?;
                actor.read(&key, &content).await?;
            }
            8..11 => actor.delete(&key).await?,
            11 => actor.abandon(&key, &Content::draw(&mut numbers)).await?,
            12 | 13 => {
                let content = Content(vec![(numbers.below(30), 40_000)]);
                // Twice the length of a run: no slot is used again.
                let slot = format!("s{:x}", numbers.draw());
                let cut = numbers.below(content.len());
                actor.upload(&slot, &format!("c{client}/u{slot}"), &content, &[cut]).await?;
                actor.delete(&format!("c{client}/u{slot}")).await?;
            }
            14 => {
                let key = format!("c{client}/{}.csv", numbers.below(2));
                actor.put(&key, &Content::draw(&mut numbers)).await?;
            }
            15 => {
                let key = format!("c{client}/j{:x}", numbers.draw());
                let parts: Vec<_> = (0..=numbers.below(3)).map(|_part| Content::draw(&mut numbers)).collect();
                actor.join(&key, &parts).await?;
                actor.delete(&key).await?;
            }
            _ => actor.collect().await?,
        }
    }
    Ok(())
}
