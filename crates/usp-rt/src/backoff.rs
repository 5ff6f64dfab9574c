//! Waits that do not march in step.

use std::time::Duration;

/// Between half of `wait` and all of it, at random, so that clients that failed together do not return together.
pub fn jittered(wait: Duration) -> Duration {
    let half = wait / 2;
    half + half.mul_f64(jitter())
}

/// A number from 0 to 1, drawn anew.
pub fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the whole wait is as good a choice as any.
    let random = getrandom::fill(&mut bytes).map_or(u32::MAX, |()| u32::from_le_bytes(bytes));
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_half_and_whole() {
        let wait = Duration::from_millis(1_000);
        for _ in 0..1_000 {
            let jittered = jittered(wait);
            assert!(jittered >= wait / 2 && jittered <= wait);
        }
    }
}
