//! How due runs reach the queue: at once through the relay, surely through the sweeper.

use std::time::Duration;

use crate::support::{Door, House, eventually};

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
