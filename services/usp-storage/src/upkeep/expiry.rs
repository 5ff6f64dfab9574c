//! What has an end: uploads, files, events, keys. And runs that a clock which was ahead put off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use usp_catalog::{AccountFacts, EventFacts, FileFacts, RunFacts, UploadFacts};
use usp_model::{Result, Timestamp};
use usp_rt::Shutdown;

use crate::core::{Core, ms, pause};
use crate::turns::Turns;

/// Rows of one transaction, so that uploads need not wait long for it.
const FORGET_COUNT: u32 = 500;
/// Files of one transaction: each goes with all its versions.
const EXPIRE_COUNT: u32 = 20;
const EXPIRE_INTERVAL: Duration = Duration::from_secs(30);

/// Ends what has expired.
#[derive(Clone)]
pub(super) struct Expiry {
    pub(super) core: Arc<Core>,
    pub(super) accounts: Arc<dyn AccountFacts>,
    pub(super) events: Arc<dyn EventFacts>,
    pub(super) files: Arc<dyn FileFacts>,
    pub(super) runs: Arc<dyn RunFacts>,
    pub(super) uploads: Arc<dyn UploadFacts>,
    /// Uploads in which bytes arrive do not expire.
    pub(super) turns: Turns,
}

impl Expiry {
    pub(super) async fn keep_expiring(&self, shutdown: &Shutdown) {
        let mut is_behind = false;
        loop {
            let kept = async {
                if is_behind {
                    let runs = self.runs.pull_up_runs(self.core.duty("upkeep")).await?;
                    tracing::warn!(runs, "the clock went back; runs that it would have put off are due now");
                    is_behind = false;
                }
                self.forget_the_past().await
            };
            if let Err(error) = kept.await {
                tracing::warn!(error = %error.chain(), "what expired waits for its end");
            }
            let (then, begun) = (self.core.now(), Instant::now());
            if pause(EXPIRE_INTERVAL, shutdown).await {
                return;
            }
            is_behind |= has_gone_back(then, self.core.now(), begun.elapsed());
        }
    }

    /// Ends uploads whose time is over, forgets old events and keys, some per transaction, until there are no more.
    /// Storage does it by itself every half minute; this is for whoever cannot wait.
    pub(super) async fn forget_the_past(&self) -> Result<()> {
        let now = self.core.now();
        let retention_ms = ms(self.core.config.event_retention);
        loop {
            let receiving = self.turns.taken();
            let uploads =
                self.uploads.expire_uploads(self.core.duty("upkeep"), FORGET_COUNT, receiving).await?;
            let events = self
                .events
                .prune_events(self.core.duty("upkeep"), now.plus_ms(-retention_ms), FORGET_COUNT)
                .await?;
            let keys = self.accounts.prune_keys(self.core.duty("upkeep"), FORGET_COUNT).await?;
            // One that cannot be deleted holds up no other care.
            let files = self.files.expire_files(self.core.duty("upkeep"), EXPIRE_COUNT).await.unwrap_or_else(
                |error| {
                    tracing::warn!(error = %error.chain(), "files whose time is over were not deleted");
                    0
                },
            );
            if uploads + events + files > 0 {
                tracing::info!(
                    uploads,
                    events,
                    files,
                    "expired uploads and files ended, old events forgotten"
                );
            }
            let is_over = uploads.max(events).max(keys) < u64::from(FORGET_COUNT);
            if is_over && files < u64::from(EXPIRE_COUNT) {
                return Ok(());
            }
        }
    }
}

/// Whether the clock shows less time than has passed, by more than it is corrected in everyday life.
fn has_gone_back(then: Timestamp, now: Timestamp, passed: Duration) -> bool {
    const CORRECTION_MS: i64 = 2_000;
    let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    now.unix_ms().saturating_sub(then.unix_ms()) < passed_ms.saturating_sub(CORRECTION_MS)
}
