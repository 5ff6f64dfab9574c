//! What an actor does while it is recorded. Each scenario may first prepare a store; that part is not cut.

use anyhow::{Context, Result};
use futures::future::LocalBoxFuture;
use usp_testkit::generate::Numbers;

use crate::actor::Actor;
use crate::content::Content;
use crate::store::CHECKPOINT_BYTES;

mod collections;
mod puts;
mod restarts;
mod uploads;

/// Which part of a scenario a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Prepare,
    Recorded,
}

/// What the recorded part of a scenario begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// An empty directory.
    Nothing,
    /// Files, some of which share pieces.
    Files,
    /// Full packs, most of what is in them of no use any more.
    Garbage,
}

/// One row of the table.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub start: Start,
    play: fn(Stage) -> LocalBoxFuture<'static, Result<()>>,
}

/// What a scenario has to work with.
#[derive(Debug)]
struct Stage {
    actor: Actor,
    numbers: Numbers,
}

/// The table of scenarios, given to the macro `$with`: the function that plays one, which has its name, and what it begins
/// with. Power cuts of those under `cut` are enumerated, each in a test of its own (tests/it/power.rs); other tests name
/// those under `uncut`. A function that no row names is dead code, which the build refuses.
#[macro_export]
macro_rules! scenarios {
    ($with:ident) => {
        $with! {
            cut {
                puts::first_start from Nothing,
                restarts::start_again from Files,
                puts::migration from Nothing,
                puts::put_small from Files,
                puts::put_of_no_bytes from Files,
                puts::put_below_a_checkpoint from Files,
                puts::put_with_checkpoints from Files,
                puts::put_abandoned from Files,
                puts::overwrite from Files,
                puts::delete from Files,
                puts::label from Files,
                puts::dedup_hit from Files,
                puts::dedup_at_the_same_time from Files,
                uploads::upload_in_parts from Files,
                uploads::upload_with_checkpoints from Files,
                uploads::upload_ended from Files,
                uploads::uploads_joined from Files,
                uploads::uploads_interleaved from Files,
                puts::rotation from Files,
                puts::rotation_by_many from Files,
                puts::many_at_once from Files,
                collections::collect_sweep from Garbage,
                collections::collect_to_the_end from Garbage,
                collections::compaction from Garbage,
                collections::collect_while_putting from Garbage,
                collections::dedup_hit_on_what_is_collected from Garbage,
                restarts::graceful_restart from Files,
                restarts::restart_after_a_crash from Files,
                puts::log_checkpoint from Files,
                puts::runs from Files,
                restarts::everything from Files,
            }
            uncut {
                puts::few from Files,
                restarts::churn from Files,
                restarts::upkeep from Files,
            }
        }
    };
}

macro_rules! table {
    (
        cut { $($cut_in:ident::$cut:ident from $cut_start:ident,)+ }
        uncut { $($uncut_in:ident::$uncut:ident from $uncut_start:ident,)+ }
    ) => {
        static TABLE: &[Scenario] = &[
            $(Scenario {
                name: stringify!($cut),
                start: Start::$cut_start,
                play: |stage| Box::pin($cut_in::$cut(stage)),
            },)+
            $(Scenario {
                name: stringify!($uncut),
                start: Start::$uncut_start,
                play: |stage| Box::pin($uncut_in::$uncut(stage)),
            },)+
        ];
    };
}

scenarios!(table);

impl Scenario {
    /// Errors: there is none of that name.
    pub fn find(name: &str) -> Result<&'static Self> {
        let found = TABLE.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario '{name}'"))
    }

    /// Plays one phase.
    ///
    /// Errors: anything that a client would not expect.
    pub async fn play(&self, phase: Phase, actor: Actor, seed: u64) -> Result<()> {
        match (phase, self.start) {
            (Phase::Prepare, Start::Nothing) => Ok(()),
            (Phase::Prepare, Start::Files) => prepare_files(&actor).await,
            (Phase::Prepare, Start::Garbage) => prepare_garbage(&actor).await,
            (Phase::Recorded, _) => (self.play)(Stage { actor, numbers: Numbers::new(seed) }).await,
        }
    }
}

fn small(seed: u64) -> Content {
    Content::of(seed, 900)
}

fn longer_than_a_checkpoint(seed: u64) -> Content {
    let bytes = u32::try_from(CHECKPOINT_BYTES).unwrap_or(u32::MAX);
    Content::of(seed, bytes * 7 / 2)
}

async fn prepare_files(actor: &Actor) -> Result<()> {
    for number in 0..4_u64 {
        actor.put(&format!("p/{number}"), &Content(vec![(number, 6_000), (100, 6_000)])).await?;
    }
    Ok(())
}

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
