//! The contract over a real broker, and what happens when it goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use usp_model::{ErrorKind, EventKind, QueueKind, Timestamp};
use usp_queue::{EventLog, EventMessage, NatsConfig, NatsCredential, NatsQueue, NatsTls, Offered, Queue};
use usp_testkit::{Cable, NatsServer, PATIENCE, until};

use crate::conformance::{self, Stand, offer};

const LEASE_TIME: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(10);
const NO_WAIT: Duration = Duration::ZERO;

pub(crate) fn config(url: &str, prefix: &str) -> NatsConfig {
    NatsConfig {
        urls: vec![url.to_owned()],
        credential: NatsCredential::None,
        tls: NatsTls::default(),
        client_name: "usp test".to_owned(),
        prefix: prefix.to_owned(),
        replicas: 1,
        lease_time: LEASE_TIME,
        event_retention: Duration::from_secs(3_600),
    }
}

/// A queue whose streams stand.
pub(crate) async fn made(config: &NatsConfig) -> Arc<NatsQueue> {
    let queue = Arc::new(NatsQueue::make(config, "test").await.unwrap());
    usable(&queue).await;
    queue
}

async fn usable(queue: &NatsQueue) {
    until("the streams to stand", PATIENCE, async || {
        let status = queue.status().await;
        Ok((status.trouble.is_none() && status.streams.len() == 2).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn nats_queue_keeps_the_contract() {
    let server = NatsServer::start().await.unwrap();
    let count = AtomicU32::new(0);
    conformance::suite(async || {
        let prefix = format!("t{}", count.fetch_add(1, Ordering::Relaxed));
        Stand { queue: made(&config(&server.url(), &prefix)).await, lease_time: LEASE_TIME }
    })
    .await;
}

#[tokio::test]
async fn offers_on_a_broker_are_taken_once_by_many_takers() {
    let server = NatsServer::start().await.unwrap();
    let queue = made(&config(&server.url(), "usp")).await;
    conformance::every_offer_is_taken_once_by_many_takers(queue).await;
}

#[tokio::test]
async fn workers_elsewhere_take_what_storage_offers_and_nothing_stays_with_a_taker_who_left() {
    let server = NatsServer::start().await.unwrap();
    let config = config(&server.url(), "usp");
    let storage = made(&config).await;
    let (leaving, staying) =
        (NatsQueue::join(&config).await.unwrap(), NatsQueue::join(&config).await.unwrap());
    // Its questions wait on the broker when the taker is gone.
    let _gone = tokio::time::timeout(Duration::from_millis(300), leaving.lease(1, SOON)).await;
    for n in 0..6 {
        storage.offer(offer(n, i32::from(n % 3) - 1, NO_WAIT)).await.unwrap();
    }
    let begun = tokio::time::Instant::now();
    let mut taken = 0;
    while taken < 6 {
        let deliveries = staying.lease(6, SOON).await.unwrap();
        assert!(!deliveries.is_empty());
        taken += deliveries.len();
    }
    assert!(begun.elapsed() < LEASE_TIME, "an offer came only after its lease time: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_broker_that_comes_later_is_waited_for() {
    let mut server = NatsServer::start().await.unwrap();
    let config = config(&server.url(), "usp");
    server.kill().unwrap();
    let queue = NatsQueue::make(&config, "test").await.unwrap();
    let error = queue.offer(offer(1, 0, NO_WAIT)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let status = queue.status().await;
    assert_eq!((status.kind, status.connected), (QueueKind::Nats, false));
    assert!(status.trouble.unwrap().contains(&config.urls[0]));
    server.start_again().await.unwrap();
    usable(&queue).await;
    assert_eq!(queue.offer(offer(1, 0, NO_WAIT)).await.unwrap(), Offered::Accepted);
    assert_eq!(queue.lease(1, SOON).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_wiped_broker_gets_its_streams_back() {
    let mut server = NatsServer::start().await.unwrap();
    let config = config(&server.url(), "usp");
    let storage = made(&config).await;
    let worker = NatsQueue::join(&config).await.unwrap();
    storage.offer(offer(1, 0, NO_WAIT)).await.unwrap();
    let losses = storage.events().loss_count();
    server.kill().unwrap();
    server.wipe().unwrap();
    server.start_again().await.unwrap();
    until("the loss to be noticed", PATIENCE, async || {
        Ok((storage.events().loss_count() > losses).then_some(()))
    })
    .await
    .unwrap();
    // What was lost can be offered again, and workers find it.
    assert_eq!(storage.offer(offer(1, 0, NO_WAIT)).await.unwrap(), Offered::Accepted);
    let taken = until("the offer to be found", PATIENCE, async || {
        Ok(worker.lease(1, SOON).await.ok().filter(|taken| !taken.is_empty()))
    })
    .await
    .unwrap();
    assert!(worker.ack(taken[0].tag).await.unwrap());
}

#[tokio::test]
async fn a_cut_cable_is_noticed_and_mended() {
    let server = NatsServer::start().await.unwrap();
    let cable = Cable::to(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let config = config(&format!("nats://{}", cable.address()), "usp");
    let queue = made(&config).await;
    cable.unplug();
    until("the cut to be noticed", PATIENCE, async || {
        Ok(queue.offer(offer(1, 0, NO_WAIT)).await.err().filter(|_| queue_is_cut(&queue)))
    })
    .await
    .unwrap();
    cable.plug();
    until("an offer to go through", PATIENCE, async || Ok(queue.offer(offer(2, 0, NO_WAIT)).await.ok()))
        .await
        .unwrap();
    let found = until("the offer", PATIENCE, async || {
        let taken = queue.lease(10, SOON).await.unwrap_or_default();
        Ok(taken.iter().any(|delivery| delivery.run.as_bytes()[0] == 2).then_some(()))
    })
    .await;
    found.unwrap();
}

fn queue_is_cut(queue: &NatsQueue) -> bool {
    format!("{queue:?}").contains("connected: false")
}

#[tokio::test]
async fn streams_of_another_installation_are_left_alone() {
    let server = NatsServer::start().await.unwrap();
    let config = config(&server.url(), "usp");
    let ours = made(&config).await;
    let theirs = NatsQueue::make(&config, "another").await.unwrap();
    let trouble = until("the refusal", PATIENCE, async || {
        Ok(theirs.trouble().filter(|text| text.contains("another installation")))
    })
    .await
    .unwrap();
    assert!(trouble.contains("queue.prefix"), "{trouble}");
    assert_eq!(ours.status().await.trouble, None);
}

#[tokio::test]
async fn whoever_has_no_credential_is_told_so() {
    let server = NatsServer::start_with("authorization { user: usp, password: right }").await.unwrap();
    let mut config = config(&server.url(), "usp");
    config.credential = NatsCredential::Password { user: "usp".to_owned(), password: "wrong".to_owned() };
    let refused = NatsQueue::make(&config, "test").await.unwrap();
    let trouble = until("the refusal", PATIENCE, async || {
        let trouble = refused.status().await.trouble;
        Ok(trouble.filter(|text| text.to_ascii_lowercase().contains("authorization")))
    })
    .await;
    let trouble = trouble.unwrap();
    assert!(!trouble.contains("wrong"), "{trouble}");
    config.credential = NatsCredential::Password { user: "usp".to_owned(), password: "right".to_owned() };
    made(&config).await;
}

fn event(seq: i64) -> EventMessage {
    EventMessage {
        seq,
        at: Timestamp::from_unix_ms(seq * 1_000),
        kind: EventKind::FileStored,
        body: Bytes::from(format!("{{\"id\":\"{seq}\"}}")),
    }
}

#[tokio::test]
async fn the_log_of_events_goes_on_where_it_ended_and_knows_doubles() {
    let mut server = NatsServer::start().await.unwrap();
    let config = config(&server.url(), "usp");
    let queue = made(&config).await;
    let log = queue.events();
    assert_eq!(log.last().await.unwrap(), 0);
    log.append(vec![event(1), event(3)]).await.unwrap();
    log.append(vec![event(4)]).await.unwrap();
    // Another start of storage, which asks first.
    let again = queue.events();
    assert_eq!(again.last().await.unwrap(), 4);
    again.append(vec![event(5)]).await.unwrap();
    // One that did not ask is a double.
    log.append(vec![event(5)]).await.unwrap();
    let messages = async || queue.status().await.streams[1].messages;
    assert_eq!(messages().await, 4);

    server.kill().unwrap();
    assert!(log.append(vec![event(6)]).await.is_err());
    server.start_again().await.unwrap();
    usable(&queue).await;
    assert_eq!(log.last().await.unwrap(), 5);
    log.append(vec![event(6)]).await.unwrap();
    assert_eq!(messages().await, 5);
}
