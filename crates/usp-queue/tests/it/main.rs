//! The contract of a queue, run against every implementation.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod conformance;

use std::time::Duration;

use usp_queue::EmbeddedQueue;

#[tokio::test(start_paused = true)]
async fn embedded_queue_keeps_the_contract() {
    conformance::suite(|lease_time| Box::new(EmbeddedQueue::new(lease_time))).await;
}

#[tokio::test]
async fn waiting_takers_are_woken_by_offers() {
    let queue = std::sync::Arc::new(EmbeddedQueue::new(Duration::from_secs(30)));
    conformance::every_offer_is_taken_once_by_many_takers(queue).await;
}
