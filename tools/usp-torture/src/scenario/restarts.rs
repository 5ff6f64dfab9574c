//! Stops and starts, and everything at once.

use anyhow::Result;
use usp_testkit::generate::Numbers;

use super::{Stage, small};
use crate::actor::Actor;
use crate::content::Content;

/// The start alone, which mends what a crash left.
pub(super) async fn start_again(Stage { .. }: Stage) -> Result<()> {
    Ok(())
}

pub(super) async fn graceful_restart(Stage { actor, .. }: Stage) -> Result<()> {
    put_and_restart(actor, true).await
}

pub(super) async fn restart_after_a_crash(Stage { actor, .. }: Stage) -> Result<()> {
    put_and_restart(actor, false).await
}

async fn put_and_restart(mut actor: Actor, is_graceful: bool) -> Result<()> {
    for number in 0..3 {
        actor.put(&format!("k/{number}"), &small(20 + number)).await?;
        actor.restart(is_graceful).await?;
    }
    Ok(())
}

/// Until somebody ends the process.
pub(super) async fn churn(Stage { actor, mut numbers }: Stage) -> Result<()> {
    clients_churn(&actor, &mut numbers, u64::MAX).await
}

/// Every sort of call to the disk that storage makes.
pub(super) async fn upkeep(Stage { mut actor, .. }: Stage) -> Result<()> {
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
    Ok(())
}

pub(super) async fn everything(Stage { mut actor, mut numbers }: Stage) -> Result<()> {
    for _part in 0..2 {
        clients_churn(&actor, &mut numbers, 8).await?;
        actor.restart(false).await?;
    }
    Ok(())
}

/// Clients that do everything at once, each under keys of its own, and one that collects.
async fn clients_churn(actor: &Actor, numbers: &mut Numbers, rounds: u64) -> Result<()> {
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
