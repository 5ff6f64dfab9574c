//! What every queue must do. Nothing here waits but by asking for work, so that the same suite runs on a paused clock
//! and against a broker with a clock of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use usp_model::RunId;
use usp_queue::{Offer, Offered, Queue};

const NO_WAIT: Duration = Duration::ZERO;

/// A queue and its lease time.
pub(crate) struct Stand {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) lease_time: Duration,
}

pub(crate) async fn suite(fresh: impl AsyncFn() -> Stand) {
    higher_priority_goes_first_then_age(fresh().await).await;
    a_delayed_offer_waits_for_its_time(fresh().await).await;
    the_same_run_waits_once(fresh().await).await;
    an_unacknowledged_delivery_comes_back(fresh().await).await;
    an_extended_delivery_stays(fresh().await).await;
    a_late_word_changes_nothing(fresh().await).await;
    a_released_delivery_is_due_after_its_delay(fresh().await).await;
    an_acknowledged_run_can_be_offered_again(fresh().await).await;
    an_empty_queue_answers_after_the_wait(fresh().await).await;
    a_status_counts_what_waits(fresh().await).await;
}

fn run(n: u8) -> RunId {
    RunId::from_bytes([n; 32])
}

pub(crate) fn offer(n: u8, priority: i32, delay: Duration) -> Offer {
    Offer { run: run(n), priority, delay, event: None }
}

impl Stand {
    async fn take_within(&self, wait: Duration) -> Vec<u8> {
        let taken = self.queue.lease(100, wait).await.unwrap();
        taken.iter().map(|delivery| delivery.run.as_bytes()[0]).collect()
    }

    async fn take(&self) -> Vec<u8> {
        self.take_within(NO_WAIT).await
    }

    /// Takes what comes, and fails if it comes before `soonest` (with some tolerance) has passed.
    async fn take_after(&self, soonest: Duration) -> Vec<u8> {
        let begun = Instant::now();
        let taken = self.take_within(soonest + self.lease_time * 2).await;
        assert!(begun.elapsed() >= soonest.mul_f64(0.8), "{taken:?} came after {:?}", begun.elapsed());
        taken
    }
}

async fn higher_priority_goes_first_then_age(stand: Stand) {
    for (n, priority) in [(1, 0), (2, 5), (3, 0), (4, 5), (5, -5)] {
        assert_eq!(stand.queue.offer(offer(n, priority, NO_WAIT)).await.unwrap(), Offered::Accepted);
    }
    assert_eq!(stand.take().await, [2, 4, 1, 3, 5]);
}

async fn a_delayed_offer_waits_for_its_time(stand: Stand) {
    let delay = stand.lease_time / 2;
    stand.queue.offer(offer(1, 0, delay)).await.unwrap();
    assert!(stand.take().await.is_empty());
    assert_eq!(stand.take_after(delay).await, [1]);
}

async fn the_same_run_waits_once(stand: Stand) {
    let queue = &stand.queue;
    queue.offer(offer(1, 0, stand.lease_time * 2)).await.unwrap();
    assert_eq!(queue.offer(offer(1, 0, NO_WAIT)).await.unwrap(), Offered::AlreadyWaiting);
    assert_eq!(queue.offer(offer(1, 0, NO_WAIT)).await.unwrap(), Offered::AlreadyWaiting);
    assert_eq!(queue.waiting_count().await.unwrap(), 1);
    assert_eq!(stand.take().await, [1]);
    assert!(stand.take_within(stand.lease_time / 2).await.is_empty());
}

async fn an_unacknowledged_delivery_comes_back(stand: Stand) {
    stand.queue.offer(offer(1, 0, NO_WAIT)).await.unwrap();
    assert_eq!(stand.take().await, [1]);
    let begun = Instant::now();
    let again = stand.queue.lease(1, stand.lease_time * 3).await.unwrap();
    assert_eq!(again[0].delivery_count, 2);
    assert!(begun.elapsed() >= stand.lease_time.mul_f64(0.8), "after {:?}", begun.elapsed());
}

async fn an_extended_delivery_stays(stand: Stand) {
    let (queue, half) = (&stand.queue, stand.lease_time / 2);
    queue.offer(offer(1, 0, NO_WAIT)).await.unwrap();
    let taken = queue.lease(1, NO_WAIT).await.unwrap();
    assert!(stand.take_within(half).await.is_empty());
    assert!(queue.extend(taken[0].tag).await.unwrap());
    assert!(stand.take_within(half + half / 4).await.is_empty());
    assert!(queue.ack(taken[0].tag).await.unwrap());
}

async fn a_late_word_changes_nothing(stand: Stand) {
    let queue = &stand.queue;
    queue.offer(offer(1, 0, NO_WAIT)).await.unwrap();
    let late = queue.lease(1, NO_WAIT).await.unwrap();
    let current = queue.lease(1, stand.lease_time * 3).await.unwrap();
    assert!(!queue.ack(late[0].tag).await.unwrap());
    assert!(!queue.extend(late[0].tag).await.unwrap());
    assert!(!queue.release(late[0].tag, NO_WAIT).await.unwrap());
    assert!(stand.take().await.is_empty());
    assert!(queue.ack(current[0].tag).await.unwrap());
    assert!(!queue.ack(current[0].tag).await.unwrap());
}

async fn a_released_delivery_is_due_after_its_delay(stand: Stand) {
    let delay = stand.lease_time / 2;
    stand.queue.offer(offer(1, 0, NO_WAIT)).await.unwrap();
    let taken = stand.queue.lease(1, NO_WAIT).await.unwrap();
    assert!(stand.queue.release(taken[0].tag, delay).await.unwrap());
    assert!(stand.take().await.is_empty());
    assert_eq!(stand.take_after(delay).await, [1]);
}

/// At once or a moment later: a broker may still be taking the old offer away.
async fn an_acknowledged_run_can_be_offered_again(stand: Stand) {
    for event in 1..=2 {
        let taken = usp_testkit::until("the offer to be taken in", stand.lease_time, async || {
            stand.queue.offer(Offer { event: Some(event), ..offer(1, 0, NO_WAIT) }).await?;
            Ok(stand.queue.lease(1, Duration::from_millis(100)).await?.pop())
        });
        assert!(stand.queue.ack(taken.await.unwrap().tag).await.unwrap());
    }
}

async fn an_empty_queue_answers_after_the_wait(stand: Stand) {
    let wait = Duration::from_secs(2);
    let begun = Instant::now();
    assert!(stand.queue.lease(1, wait).await.unwrap().is_empty());
    assert!(begun.elapsed() >= wait && begun.elapsed() < wait * 3, "after {:?}", begun.elapsed());
}

async fn a_status_counts_what_waits(stand: Stand) {
    for n in 1..=3 {
        stand.queue.offer(offer(n, 0, NO_WAIT)).await.unwrap();
    }
    let taken = stand.queue.lease(1, NO_WAIT).await.unwrap();
    assert_eq!(taken.len(), 1);
    let status = stand.queue.status().await;
    assert!(status.connected && status.trouble.is_none(), "{status:?}");
    assert_eq!((status.waiting, status.in_hand), (2, 1), "{status:?}");
}

pub(crate) async fn every_offer_is_taken_once_by_many_takers(queue: Arc<dyn Queue>) {
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(delivery) = queue.lease(1, Duration::from_secs(1)).await.unwrap().pop() {
                    assert!(queue.ack(delivery.tag).await.unwrap());
                    mine.push(delivery.run);
                }
                mine
            })
        })
        .collect();
    for n in 0..200 {
        queue.offer(offer(n, i32::from(n % 3), NO_WAIT)).await.unwrap();
    }
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.unwrap());
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 200);
}
