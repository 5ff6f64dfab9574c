//! Points at which a processor is gone from one moment to the next, as `kill -9` leaves it.

use parking_lot::Mutex;
use tokio::sync::watch;
use usp_model::{RunOutcome, RunReport};

/// Where a processor stands between two of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    BeforeLease,
    AfterLease,
    BeforeOpen,
    AfterOpen,
    AfterFirstPiece,
    AfterLastPiece,
    BeforeOpenOfSecondStep,
    AfterLastPieceOfSecondStep,
    BeforeHeartbeat,
    AfterHeartbeat,
    BeforeEnd,
    AfterEnd,
    BeforeGivingBack,
    AfterGivingBack,
}

impl Point {
    pub(crate) fn of_report(report: &RunReport) -> (Self, Self) {
        match report.outcome {
            None => (Self::BeforeHeartbeat, Self::AfterHeartbeat),
            Some(RunOutcome::Released) => (Self::BeforeGivingBack, Self::AfterGivingBack),
            Some(RunOutcome::Succeeded | RunOutcome::Failed { .. }) => (Self::BeforeEnd, Self::AfterEnd),
        }
    }
}

/// Strikes once, at the point that it is armed for: whoever passes there never goes on.
#[derive(Debug)]
pub(crate) struct Doom {
    armed: Mutex<Option<Point>>,
    has_struck: watch::Sender<bool>,
}

impl Doom {
    pub(crate) fn new() -> Self {
        Self { armed: Mutex::new(None), has_struck: watch::Sender::new(false) }
    }

    pub(crate) fn arm(&self, point: Point) {
        self.has_struck.send_replace(false);
        *self.armed.lock() = Some(point);
    }

    /// Waits until somebody has come to the point.
    pub(crate) async fn struck(&self) {
        // The sender lives as long as the storage: without it the test is over.
        let mut told = self.has_struck.subscribe();
        let _struck = told.wait_for(|struck| *struck).await;
    }

    pub(crate) async fn pass(&self, point: Point) {
        let strikes = self.armed.lock().take_if(|armed| *armed == point).is_some();
        if strikes {
            self.has_struck.send_replace(true);
            std::future::pending::<()>().await;
        }
    }
}
