//! How due runs reach the queue: at once through the relay, surely through the sweeper.

use std::sync::Arc;
use std::time::Duration;

use usp_model::{LeasedRun, RunId, RunOutcome};
use usp_queue::{Delivery, NatsConfig, NatsCredential, NatsQueue, NatsTls, Queue};
use usp_testkit::{NatsServer, PATIENCE};

use crate::support::{Door, House, eventually, worker};

const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_run_is_offered_as_it_is_queued() {
    let house = House::open_quietly(Door::InProcess, NEVER).await;
    house.wake();
    let file = house.file("audited/a", b"x").await;
    assert_eq!(house.lease().await.file.id, file.id);
}

#[tokio::test]
async fn what_was_queued_while_nobody_looked_is_offered_by_the_sweeper() {
    let house = House::open_quietly(Door::InProcess, NEVER).await;
    let file = house.file("audited/a", b"x").await;
    assert_eq!(house.waiting_runs().await, 0);
    house.wake();
    assert_eq!(house.lease().await.file.id, file.id);
}

#[tokio::test]
async fn of_the_runs_that_wait_the_most_urgent_goes_first() {
    let house = House::open_quietly(Door::InProcess, NEVER).await;
    house.wake();
    house.file("audited/first", b"x").await;
    let urgent = house.file("urgent/second", b"x").await;
    eventually("both runs to wait", async || (house.waiting_runs().await == 2).then_some(())).await;
    assert_eq!(house.lease().await.file.id, urgent.id);
}

/// The offer that bought nothing is still in its taker's hands as the run ends that it waited for.
#[tokio::test]
async fn an_offer_is_replaced_while_its_taker_still_holds_it() {
    let broker = NatsServer::start().await.unwrap();
    let queue = nats_queue(&broker).await;
    let house = House::open_over(queue.clone(), Door::InProcess, NEVER).await;
    house.wake();
    let one = house.file("single/one", b"x").await;
    let first = offer(&queue).await;
    let running = redeem(&house, first.run).await.pop().unwrap();
    assert_eq!(running.file.id, one.id);
    queue.ack(first.tag).await.unwrap();

    let other = house.file("single/other", b"x").await;
    let held = offer(&queue).await;
    assert!(redeem(&house, held.run).await.is_empty(), "the rule is full");
    house.report(&running, Vec::new(), Some(RunOutcome::Succeeded)).await;
    let replaced = offer(&queue).await;
    queue.ack(held.tag).await.unwrap();
    assert_eq!(redeem(&house, replaced.run).await.pop().unwrap().file.id, other.id);
}

async fn nats_queue(broker: &NatsServer) -> Arc<NatsQueue> {
    let config = NatsConfig {
        urls: vec![broker.url()],
        credential: NatsCredential::None,
        tls: NatsTls::default(),
        client_name: "usp test".to_owned(),
        prefix: "usp".to_owned(),
        replicas: 1,
        // Nothing comes back by itself.
        lease_time: NEVER,
        event_retention: NEVER,
    };
    let queue = NatsQueue::make(&config, "test").await.unwrap();
    eventually("the streams to stand", async || (queue.status().await.streams.len() == 2).then_some(()))
        .await;
    Arc::new(queue)
}

async fn offer(queue: &NatsQueue) -> Delivery {
    let offers = queue.lease(1, PATIENCE).await.unwrap();
    assert_eq!(offers.len(), 1, "no offer came");
    offers[0]
}

async fn redeem(house: &House, offer: RunId) -> Vec<LeasedRun> {
    house.door.lease_offered(&worker(), "worker".to_owned(), vec![offer]).await.unwrap()
}
