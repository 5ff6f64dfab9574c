//! T2: power cuts at every moment, with every fate, in every scenario (I1 to I10).

use anyhow::{Result, ensure};
use usp_testkit::generate::Numbers;
use usp_torture::check::{Depth, check, runtime};
use usp_torture::figures::{Plan, note, seed};
use usp_torture::power::{Recording, Tally, record, record_recovery};
use usp_torture::record::can_trace;

use crate::{plant, program};

/// Per scenario. 31 of them make more than 5,000 and more than 100,000.
const STATES: (u64, u64) = (170, 4_000);

fn cut_everywhere(name: &str) -> Result<()> {
    // Recovery after the cut runs in this process.
    plant();
    if let Err(why) = can_trace() {
        println!("T2 {name} is skipped: {why}");
        return Ok(());
    }
    let recording = record(&program(), name, seed())?;
    let tally = recording.cut(&*runtime()?, Plan::new(STATES.0, STATES.1, 2))?;
    ensure!(tally.states > 10, "{name} has only {} states: the recording is empty", tally.states);
    tell(name, tally);
    Ok(())
}

fn tell(name: &str, tally: Tally) {
    note("T2 power cuts", &[("scenarios", 1), ("states", tally.states), ("violations", 0)]);
    println!(
        "T2 {name}: {} states at {} moments, {} bytes read back",
        tally.states, tally.moments, tally.read_bytes
    );
}

macro_rules! tests {
    (cut { $($module:ident::$name:ident from $start:ident,)+ } uncut { $($rest:tt)* }) => {
        $(#[test]
        fn $name() -> Result<()> {
            cut_everywhere(stringify!($name))
        })+
    };
}

mod no_power_cut_breaks_a_promise {
    use super::*;

    usp_torture::scenarios!(tests);

    /// A second power cut while the first is mended.
    #[test]
    fn recovery_of_recovery() -> Result<()> {
        if let Err(why) = can_trace() {
            println!("T2 recovery is skipped: {why}");
            return Ok(());
        }
        let runtime = runtime()?;
        let mut numbers = Numbers::new(seed());
        let plan = Plan::new(STATES.0, STATES.1 * 2, 4);
        let mut tally = Tally::default();
        let names = ["rotation_by_many", "collect_to_the_end", "uploads_interleaved", "put_with_checkpoints"];
        let recordings: Vec<Recording> =
            names.iter().map(|name| record(&program(), name, numbers.draw())).collect::<Result<_>>()?;
        for recording in recordings.iter().cycle() {
            if !plan.goes_on(tally.states) {
                break;
            }
            let (image, ledger) = recording.cut_somewhere(&mut numbers)?;
            let recovery = record_recovery(&program(), &image, &ledger, numbers.draw())?;
            tally.add(recovery.cut(&runtime, plan.with_count(40))?);
        }
        tell("recovery", tally);
        Ok(())
    }
}

/// Replays the check of a disk that an earlier failure kept (`USP_TORTURE_KEPT`).
#[test]
fn a_disk_that_was_kept_holds_what_was_promised() -> Result<()> {
    let Some(kept) = std::env::var_os("USP_TORTURE_KEPT").map(std::path::PathBuf::from) else {
        return Ok(());
    };
    let copy = tempfile::tempdir()?;
    usp_torture::record::copy_dir(&kept.join("volume"), copy.path())?;
    let ledger = std::fs::read(kept.join("ledger"))?;
    runtime()?.block_on(check(copy.path(), &ledger, Depth::GoOn)).map(drop)
}
