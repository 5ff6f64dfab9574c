//! What every queue must do. Time is tokio's, so a paused clock makes it exact.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::advance;
use usp_model::RunId;
use usp_queue::{Offer, Offered, Queue};

const LEASE: Duration = Duration::from_secs(30);
const NO_WAIT: Duration = Duration::ZERO;

pub(crate) async fn suite(fresh: impl Fn(Duration) -> Box<dyn Queue>) {
    higher_priority_goes_first_then_age(fresh(LEASE).as_ref()).await;
    a_delayed_offer_waits_for_its_time(fresh(LEASE).as_ref()).await;
    the_same_run_waits_once(fresh(LEASE).as_ref()).await;
    an_unacknowledged_delivery_comes_back(fresh(LEASE).as_ref()).await;
    an_extended_delivery_stays(fresh(LEASE).as_ref()).await;
    a_late_acknowledgement_changes_nothing(fresh(LEASE).as_ref()).await;
    a_released_delivery_is_due_after_its_delay(fresh(LEASE).as_ref()).await;
    an_empty_queue_answers_after_the_wait(fresh(LEASE).as_ref()).await;
}

fn run(n: u8) -> RunId {
    RunId::from_bytes([n; 32])
}

fn offer(n: u8, priority: i32, delay_s: u64) -> Offer {
    Offer { run: run(n), priority, delay: Duration::from_secs(delay_s) }
}

async fn take(queue: &dyn Queue) -> Vec<u8> {
    let taken = queue.lease(100, NO_WAIT).await.unwrap();
    taken.iter().map(|delivery| delivery.run.as_bytes()[0]).collect()
}

async fn higher_priority_goes_first_then_age(queue: &dyn Queue) {
    for (n, priority) in [(1, 0), (2, 5), (3, 0), (4, 5)] {
        assert_eq!(queue.offer(offer(n, priority, 0)).await.unwrap(), Offered::Accepted);
    }
    assert_eq!(take(queue).await, [2, 4, 1, 3]);
}

async fn a_delayed_offer_waits_for_its_time(queue: &dyn Queue) {
    queue.offer(offer(1, 0, 10)).await.unwrap();
    assert!(take(queue).await.is_empty());
    advance(Duration::from_secs(10)).await;
    assert_eq!(take(queue).await, [1]);
}

async fn the_same_run_waits_once(queue: &dyn Queue) {
    queue.offer(offer(1, 0, 60)).await.unwrap();
    assert_eq!(queue.offer(offer(1, 0, 0)).await.unwrap(), Offered::AlreadyWaiting);
    assert_eq!(queue.waiting_count().await.unwrap(), 1);
    assert_eq!(take(queue).await, [1]);
    advance(Duration::from_secs(20)).await;
    assert!(take(queue).await.is_empty());
}

async fn an_unacknowledged_delivery_comes_back(queue: &dyn Queue) {
    queue.offer(offer(1, 0, 0)).await.unwrap();
    assert_eq!(take(queue).await, [1]);
    advance(LEASE).await;
    let again = queue.lease(1, NO_WAIT).await.unwrap();
    assert_eq!(again[0].delivery_count, 2);
}

async fn an_extended_delivery_stays(queue: &dyn Queue) {
    queue.offer(offer(1, 0, 0)).await.unwrap();
    let taken = queue.lease(1, NO_WAIT).await.unwrap();
    advance(LEASE / 2).await;
    assert!(queue.extend(taken[0].tag).await.unwrap());
    advance(LEASE / 2).await;
    assert!(take(queue).await.is_empty());
    assert!(queue.ack(taken[0].tag).await.unwrap());
}

async fn a_late_acknowledgement_changes_nothing(queue: &dyn Queue) {
    queue.offer(offer(1, 0, 0)).await.unwrap();
    let late = queue.lease(1, NO_WAIT).await.unwrap();
    advance(LEASE).await;
    let current = queue.lease(1, NO_WAIT).await.unwrap();
    assert!(!queue.ack(late[0].tag).await.unwrap());
    assert!(queue.ack(current[0].tag).await.unwrap());
}

async fn a_released_delivery_is_due_after_its_delay(queue: &dyn Queue) {
    queue.offer(offer(1, 0, 0)).await.unwrap();
    let taken = queue.lease(1, NO_WAIT).await.unwrap();
    assert!(queue.release(taken[0].tag, Duration::from_secs(5)).await.unwrap());
    assert!(take(queue).await.is_empty());
    advance(Duration::from_secs(5)).await;
    assert_eq!(take(queue).await, [1]);
}

async fn an_empty_queue_answers_after_the_wait(queue: &dyn Queue) {
    let begin = tokio::time::Instant::now();
    assert!(queue.lease(1, Duration::from_secs(3)).await.unwrap().is_empty());
    assert_eq!(begin.elapsed().as_secs(), 3);
}

pub(crate) async fn every_offer_is_taken_once_by_many_takers(queue: Arc<dyn Queue>) {
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(delivery) = queue.lease(1, Duration::from_millis(500)).await.unwrap().pop() {
                    assert!(queue.ack(delivery.tag).await.unwrap());
                    mine.push(delivery.run);
                }
                mine
            })
        })
        .collect();
    for n in 0..200 {
        queue.offer(offer(n, i32::from(n % 3), 0)).await.unwrap();
    }
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.unwrap());
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 200);
}
