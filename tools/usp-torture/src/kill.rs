//! Ends processes at moments that nobody chose.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use usp_testkit::generate::Numbers;

/// Returns once the ledger has grown by so many bytes: a moment that depends on work done, not on time. Then a little more,
/// so that no point between two operations is preferred.
///
/// Errors: the process ended by itself, or did nothing for two minutes.
pub fn wait_for_work(child: &mut Child, ledger: &Path, bytes: u64, numbers: &mut Numbers) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let len = || std::fs::metadata(ledger).map(|file| file.len()).unwrap_or(0);
    let (until, enough) = (Instant::now() + PATIENCE, len() + bytes);
    while len() < enough {
        if let Some(status) = child.try_wait()? {
            let mut said = String::new();
            if let Some(mut from) = child.stderr.take() {
                std::io::Read::read_to_string(&mut from, &mut said)?;
            }
            bail!("the actor ended by itself, with {status}: {said}");
        }
        ensure!(Instant::now() < until, "the actor does nothing");
        std::thread::sleep(Duration::from_micros(500));
    }
    std::thread::sleep(Duration::from_micros(numbers.below(3_000)));
    Ok(())
}

/// `kill -9`.
pub fn kill(mut child: Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// `kill -9` a few milliseconds from now: whatever it is told in them, it takes in.
pub fn kill_soon(child: Child, numbers: &mut Numbers) -> Result<()> {
    std::thread::sleep(Duration::from_millis(numbers.below(4)));
    kill(child)
}

/// Stops a process in the middle of whatever it does, for a while, and lets it go on.
pub fn pause(child: &Child, numbers: &mut Numbers) -> Result<()> {
    send("-STOP", child)?;
    std::thread::sleep(Duration::from_millis(numbers.below(20)));
    send("-CONT", child)
}

fn send(signal: &str, child: &Child) -> Result<()> {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status()?;
    ensure!(sent.success(), "kill {signal} ended with {sent}");
    Ok(())
}
