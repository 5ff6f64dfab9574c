//! The contract of a queue, run against every implementation.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod access;
mod conformance;
mod nats;

use std::sync::Arc;
use std::time::Duration;

use conformance::Stand;
use usp_queue::EmbeddedQueue;

#[tokio::test(start_paused = true)]
async fn embedded_queue_keeps_the_contract() {
    let lease_time = Duration::from_secs(30);
    conformance::suite(async || Stand { queue: Arc::new(EmbeddedQueue::new(lease_time)), lease_time }).await;
}

#[tokio::test]
async fn waiting_takers_are_woken_by_offers() {
    let queue = Arc::new(EmbeddedQueue::new(Duration::from_secs(30)));
    conformance::every_offer_is_taken_once_by_many_takers(queue).await;
}
