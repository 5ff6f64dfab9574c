//! The process that is killed, cut off and lied to: plays one scenario on one directory.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use usp_torture::actor::Actor;
use usp_torture::scenario::{Phase, Scenario};

/// `usp-torture SCENARIO PHASE DIR LEDGER SEED [lenient]`; a planted bug is named by `--bug=NAME`.
fn main() -> Result<()> {
    let (options, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    if let Some(bug) = options.iter().find_map(|option| option.strip_prefix("--bug=")) {
        usp_rt::plant(bug);
    }
    let mut words = words.into_iter();
    let mut word = |what: &str| words.next().with_context(|| format!("name the {what}"));
    let scenario = Scenario::find(&word("scenario")?)?;
    let phase = if word("phase")? == "prepare" { Phase::Prepare } else { Phase::Recorded };
    let (dir, ledger) = (PathBuf::from(word("directory")?), PathBuf::from(word("ledger")?));
    let seed = word("seed")?.parse().context("the seed is a number")?;
    let is_lenient = word("last word").is_ok_and(|word| word == "lenient");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    if is_lenient {
        // One thread for all that blocks, so that a fault of "the n-th call of a thread" finds the same call in every run.
        runtime.max_blocking_threads(1).thread_keep_alive(Duration::from_secs(3_600));
    }
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        let actor = Actor::open(&dir, &ledger, is_lenient).await?;
        scenario.play(phase, actor, seed).await
    })
}
