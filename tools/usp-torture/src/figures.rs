//! How long tests go on, and what they reached.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

/// Whether long figures were asked for (`make torture`).
pub fn is_torture() -> bool {
    std::env::var_os("USP_TORTURE").is_some()
}

/// The seed that `USP_SEED` names, or a new one. It is printed by whoever fails.
pub fn seed() -> u64 {
    number("USP_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(32) ^ u64::from(std::process::id()) << 20
    })
}

/// How much a test does: so many on every change, within a minute; so many in torture, within its share of the minutes that
/// `USP_TORTURE_MINUTES` names.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub count: u64,
    until: Option<Instant>,
}

impl Plan {
    /// `share_percent` is how much of the whole time this test may take.
    pub fn new(count: u64, torture_count: u64, share_percent: u32) -> Self {
        const MINUTES: u64 = 120;
        // A machine that is busy with other things does fewer of them on every change.
        const EACH_CHANGE: Duration = Duration::from_secs(60);
        if !is_torture() {
            return Self { count, until: Some(Instant::now() + EACH_CHANGE) };
        }
        let whole = Duration::from_secs(60 * number("USP_TORTURE_MINUTES").unwrap_or(MINUTES));
        Self { count: torture_count, until: Some(Instant::now() + whole * share_percent / 100) }
    }

    /// As many, in every run.
    pub fn fixed(count: u64) -> Self {
        Self { count, until: None }
    }

    /// The same time for another count.
    pub fn with_count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// Whether the test goes on after `done` of whatever it counts.
    pub fn goes_on(&self, done: u64) -> bool {
        done < self.count && self.until.is_none_or(|until| Instant::now() < until)
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Notes what a test reached: `make torture` prints these lines at its end, sorted, with equal names added up.
pub fn note(test: &str, figures: &[(&str, u64)]) {
    let figures: Vec<String> = figures.iter().map(|(name, figure)| format!("{name}={figure}")).collect();
    let line = format!("{test}\t{}\n", figures.join("\t"));
    let Some(path) = std::env::var_os("USP_TORTURE_FIGURES") else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        // A figure that cannot be noted is no reason to fail.
        let _best_effort = file.write_all(line.as_bytes());
    }
}
