//! Waiting for a fact.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a test waits for what should take moments: long enough for a busy machine, short of a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// Errors: that of `ask`; or, after `timeout`, one that names what was waited for.
pub async fn until<T>(
    what: &str,
    timeout: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if begun.elapsed() > timeout {
            bail!("waited {timeout:?} for {what}, in vain");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
