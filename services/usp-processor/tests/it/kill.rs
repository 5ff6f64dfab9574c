//! T17: a processor is gone at any point of its work, and every run still shows exactly one result.

use std::collections::BTreeMap;
use std::time::Duration;

use usp_model::{EventKind, FileState, RunState};

use crate::support::{Point, Workshop};

const RULE: &str = "
name: r
when: 'true'
steps: [{name: first, uses: digest}, {name: second, uses: sniff}]
retry: {attempts_max: 100, backoff_ms_min: 10, backoff_ms_max: 10}
";

/// Longer than a processor needs to come to any point, short enough to wait for.
const LEASE_TIME: Duration = Duration::from_secs(2);
/// More than is read at once, so that every step opens the content for itself.
const CONTENT_BYTES: usize = 300 << 10;

const POINTS: [Point; 14] = [
    Point::BeforeLease,
    Point::AfterLease,
    Point::BeforeOpen,
    Point::AfterOpen,
    Point::AfterFirstPiece,
    Point::AfterLastPiece,
    Point::BeforeOpenOfSecondStep,
    Point::AfterLastPieceOfSecondStep,
    Point::BeforeHeartbeat,
    Point::AfterHeartbeat,
    Point::BeforeEnd,
    Point::AfterEnd,
    Point::BeforeGivingBack,
    Point::AfterGivingBack,
];

fn runs_of_each_point() -> usize {
    if std::env::var_os("USP_TORTURE").is_some() { 43 } else { 9 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_is_gone_at_any_point_leaves_exactly_one_result_of_each_run() {
    let workshop = Workshop::with(usp_storage::parse_rules(RULE).unwrap(), LEASE_TIME).await;
    let mut files = Vec::new();
    for (round, point) in (0..runs_of_each_point()).flat_map(|round| POINTS.map(|point| (round, point))) {
        let content = format!("{round} {point:?} {}", "x".repeat(CONTENT_BYTES));
        files.push(workshop.put(&format!("{round}-{point:?}"), content).await.id);
        // Some points are only passed while something takes its time.
        let is_slow = matches!(
            point,
            Point::BeforeHeartbeat | Point::AfterHeartbeat | Point::BeforeGivingBack | Point::AfterGivingBack
        );
        workshop.storage.hold_contents(is_slow);
        workshop.storage.doom_at(point);
        let heartbeat = if matches!(point, Point::BeforeGivingBack | Point::AfterGivingBack) {
            LEASE_TIME
        } else {
            Duration::from_millis(20)
        };
        workshop.until_doomed(|config| config.heartbeat = heartbeat).await;
        workshop.storage.hold_contents(false);
    }
    let worker = workshop.worker(4);
    for id in &files {
        workshop.until_file_is(*id, FileState::Ready).await;
        assert_eq!(workshop.run(*id).await.state, RunState::Succeeded);
        let reports = workshop.file(*id).await.reports;
        assert_eq!(reports.keys().collect::<Vec<_>>(), ["first", "second"]);
    }
    worker.stopped().await;
    for kind in [EventKind::RunSucceeded, EventKind::FileReady] {
        let mut counts = BTreeMap::new();
        for event in workshop.events(kind).await {
            *counts.entry(event.file_id).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), files.len(), "{kind}");
        assert!(counts.values().all(|count| *count == 1), "{kind}: a result shows twice");
    }
}
