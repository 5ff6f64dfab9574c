use usp_model::{BucketPolicy, Event, EventKind, EventQuery};

use super::world::{World, act, at, bucket};

async fn found(world: &World, query: EventQuery) -> Vec<Event> {
    world.catalog.events(EventQuery { limit: 100, ..query }).await.unwrap()
}

pub(crate) async fn events_come_in_order_after_a_point_and_by_every_filter(world: World) {
    world.catalog.create_bucket(act(0), bucket("other"), BucketPolicy::default()).await.unwrap();
    let first = world.put("a", 1).await.file;
    let mut new = world.new_version("b", 2);
    (new.bucket, new.domain) = (bucket("other"), world.domain_of("other").await);
    let second = world.catalog.commit_version(act(0), new).await.unwrap().file;
    let all = found(&world, EventQuery::default()).await;
    assert_eq!(all.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let after = EventQuery { after: 3, ..EventQuery::default() };
    assert_eq!(found(&world, after).await, all[3..]);
    let of_file = EventQuery { file: Some(first.id), ..EventQuery::default() };
    assert_eq!(found(&world, of_file).await, all[..2]);
    let in_bucket = EventQuery { bucket: Some(bucket("other")), ..EventQuery::default() };
    assert_eq!(found(&world, in_bucket.clone()).await, all[2..]);
    let both = vec![bucket("other"), bucket("default")];
    let visible =
        EventQuery { buckets: Some(both), kinds: vec![EventKind::FileReady], ..EventQuery::default() };
    let ready = found(&world, visible).await;
    assert_eq!(ready.iter().map(|event| event.file_id).collect::<Vec<_>>(), [first.id, second.id]);
    let hidden = EventQuery { buckets: Some(vec![bucket("default")]), ..in_bucket };
    assert!(found(&world, hidden).await.is_empty());
    assert!(
        found(&world, EventQuery { buckets: Some(Vec::new()), ..EventQuery::default() }).await.is_empty()
    );
    let two = EventQuery { limit: 2, ..EventQuery::default() };
    assert_eq!(world.catalog.events(two).await.unwrap(), all[..2]);
}

pub(crate) async fn old_events_are_forgotten_and_their_numbers_never_come_again(world: World) {
    let prune =
        async |before, limit| world.catalog.prune_events(act(9_000), at(before), limit).await.unwrap();
    assert_eq!(world.catalog.last_event().await.unwrap(), 0);
    world.put("a", 1).await;
    world.put("b", 2).await;
    world.catalog.commit_version(act(1_000), world.new_version("c", 3)).await.unwrap();
    let first = prune(1_000, 1).await;
    assert!((1..=2).contains(&first), "of those two that were committed together, one or both: {first}");
    assert_eq!(prune(1_000, 100).await, 4 - first);
    assert_eq!(prune(1_000, 100).await, 0);
    assert_eq!(found(&world, EventQuery::default()).await.len(), 2);
    assert_eq!(prune(9_000, 100).await, 2);
    assert_eq!(world.catalog.last_event().await.unwrap(), 0);
    let world = world.reopened().await;
    world.put("d", 4).await;
    let seqs: Vec<_> = found(&world, EventQuery::default()).await.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [7, 8]);
    assert_eq!(world.catalog.last_event().await.unwrap(), 8);
    assert_eq!(*world.catalog.event_signal().borrow(), 8);
}

/// A clock that was a year ahead for a moment must not keep the log for a year.
pub(crate) async fn events_of_a_clock_that_was_ahead_go_with_those_behind_them(world: World) {
    const YEAR_MS: i64 = 365 * 86_400_000;
    for (text, ms) in [("a", YEAR_MS), ("b", 10), ("c", 2_000)] {
        world.catalog.commit_version(act(ms), world.new_version(text, 1)).await.unwrap();
    }
    assert_eq!(world.catalog.prune_events(act(2_000), at(1_000), 100).await.unwrap(), 4);
    assert_eq!(found(&world, EventQuery::default()).await.len(), 2);
}

pub(crate) async fn a_change_without_events_wakes_nobody(world: World) {
    let mut signal = world.catalog.event_signal();
    signal.mark_unchanged();
    world.catalog.begin_pack(act(0)).await.unwrap();
    assert!(!signal.has_changed().unwrap());
}
