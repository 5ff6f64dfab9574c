//! What every part of storage needs: the time, the settings, the counters.

use std::sync::Arc;
use std::time::Duration;

use usp_api::Caller;
use usp_model::{Act, Error, ErrorKind, Result, Timestamp};
use usp_rt::{Clock, Shutdown};

use crate::config::StorageConfig;
use crate::metrics::StorageMetrics;

/// Shared by all parts; it knows none of them.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: StorageConfig,
    pub(crate) metrics: StorageMetrics,
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.clock.now_unix_ms())
    }

    /// What a caller asks for now. Made once for each call, where it comes in.
    pub(crate) fn act(&self, caller: &Caller) -> Act {
        caller.act(self.now())
    }

    /// What storage does by itself now.
    pub(crate) fn duty(&self, duty: &'static str) -> Act {
        Act::duty(duty, self.now())
    }

    /// The same act as of now: what a long call writes counts from when it is written, not from when the call began.
    pub(crate) fn redated(&self, act: &Act) -> Act {
        Act { at: self.now(), ..act.clone() }
    }
}

/// Runs `work` to its end in a task of its own, also when the caller stops waiting for it.
///
/// Errors: those of `work`; `Internal` when it panics.
pub(crate) async fn run_to_end<T: Send + 'static>(
    action: &'static str,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|source| Err(Error::new(ErrorKind::Internal, action).caused_by(source)))
}

/// Waits, or returns `true` as soon as it is time to stop.
pub(crate) async fn pause(wait: Duration, shutdown: &Shutdown) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        () = shutdown.cancelled() => true,
    }
}

/// Milliseconds of a setting, for arithmetic with timestamps.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Logs why something cannot go on: as a warning when the reason is new, else at debug level.
#[derive(Debug, Default)]
pub(crate) struct RepeatedWarning(Option<String>);

impl RepeatedWarning {
    pub(crate) fn log(&mut self, who: &'static str, error: &Error) {
        let reason = error.chain();
        if self.0.as_ref() == Some(&reason) {
            tracing::debug!(who, error = reason, "still waiting");
        } else {
            tracing::warn!(who, error = reason, "waiting");
            self.0 = Some(reason);
        }
    }

    /// It went on: the next failure is a warning again.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}
