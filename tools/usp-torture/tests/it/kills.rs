//! T4, T12: `kill -9` and SIGSTOP at random moments, eight clients and collections at work.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use usp_testkit::generate::Numbers;
use usp_torture::check::{Depth, check_and_settle, runtime, scratch};
use usp_torture::figures::{Plan, note, seed};
use usp_torture::kill::{kill, pause, wait_for_work};
use usp_torture::record::Run;

use crate::program;

/// The promise is 2 s for a release build on a quiet machine.
const RESTART_MAX: Duration = Duration::from_secs(10);

struct Figures {
    kills: u64,
    pauses: u64,
    slowest: Duration,
}

/// Kills of one store. Its history, which every check reads, would else make each check longer than the last.
const KILLS_PER_STORE: u64 = 48;

/// Kills an actor again and again in one directory; each time the store must hold exactly what it promised.
fn kill_again_and_again(plan: Plan, pauses: bool) -> Result<Figures> {
    let (runtime, seed) = (runtime()?, seed());
    let mut numbers = Numbers::new(seed);
    let mut home = scratch()?;
    let program = program();
    let mut figures = Figures { kills: 0, pauses: 0, slowest: Duration::ZERO };
    while plan.goes_on(figures.kills) {
        if figures.kills.is_multiple_of(KILLS_PER_STORE) {
            home = scratch()?;
            std::fs::create_dir(home.path().join("volume"))?;
        }
        let (dir, ledger) = (home.path().join("volume"), home.path().join("ledger"));
        let mut child = Run::churn(&program, &dir, &ledger, numbers.draw()).spawn()?;
        let worked = (|| {
            if pauses {
                for _pause in 0..1 + numbers.below(3) {
                    let bytes = numbers.below(2_000);
                    wait_for_work(&mut child, &ledger, bytes, &mut numbers)?;
                    pause(&child, &mut numbers)?;
                    figures.pauses += 1;
                }
            }
            let bytes = numbers.below(6_000);
            wait_for_work(&mut child, &ledger, bytes, &mut numbers)
        })();
        kill(child)?;
        worked.with_context(|| format!("USP_SEED={seed}, kill {}", figures.kills))?;
        figures.kills += 1;
        let depth = if figures.kills.is_multiple_of(16) { Depth::GoOn } else { Depth::Look };
        let checked = runtime.block_on(Box::pin(check_and_settle(&dir, &ledger, depth)));
        let checked = checked.with_context(|| format!("USP_SEED={seed}, after kill {}", figures.kills))?;
        figures.slowest = figures.slowest.max(checked.start);
    }
    ensure!(figures.slowest < RESTART_MAX, "a start took {:?}", figures.slowest);
    Ok(figures)
}

#[test]
fn kill_nine_at_any_moment_loses_nothing_and_leaves_nothing_half() -> Result<()> {
    let figures = kill_again_and_again(Plan::new(150, 10_000, 45), false)?;
    println!("T4: {} kills, slowest start {:?}", figures.kills, figures.slowest);
    note("T4 kill -9", &[("kills", figures.kills), ("lost", 0)]);
    Ok(())
}

#[test]
fn a_process_that_is_stopped_and_goes_on_does_no_harm() -> Result<()> {
    let figures = kill_again_and_again(Plan::new(20, 500, 8), true)?;
    println!("T12: {} pauses, {} kills", figures.pauses, figures.kills);
    note("T12 pauses", &[("pauses", figures.pauses), ("kills", figures.kills), ("lost", 0)]);
    Ok(())
}
