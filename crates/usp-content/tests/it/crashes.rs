//! A disk that loses what was not synced, and a store that loses nothing it promised, with one place for packs and with two.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use usp_content::{ContentConfig, MemoryPacks};
use usp_faults::{Call, Fault, Faulty, PowerCuts};
use usp_model::{ByteRange, Compression, ErrorKind, ManifestId};

use crate::support::{World, lines, noise, settings, small};

type Disk = PowerCuts<MemoryPacks>;

fn disk() -> Arc<Disk> {
    Arc::new(PowerCuts::new(Arc::new(MemoryPacks::default())))
}

#[derive(Debug, Clone)]
enum Step {
    /// Stores and commits a content.
    Put(u64, usize),
    /// Stores part of a content and goes away.
    Abandon(u64, usize),
    /// The power goes; the store opens again.
    Crash(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u64, 1..60_000_usize).prop_map(|(seed, len)| Step::Put(seed, len)),
        2 => (0..6_u64, 1..60_000_usize).prop_map(|(seed, len)| Step::Abandon(seed, len)),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Step::Crash),
    ]
}

fn content(seed: u64, len: usize) -> Vec<u8> {
    if seed.is_multiple_of(2) { noise(len, seed) } else { lines(len, seed) }
}

/// Packs so small that they are sealed often.
fn tiny_packs() -> ContentConfig {
    ContentConfig { pack_size_bytes_max: 48 << 10, ..small() }
}

async fn assert_all_read(world: &World, promised: &[(u64, usize, ManifestId)]) {
    for &(seed, len, manifest) in promised {
        let read = world.get(manifest, ByteRange::whole(len as u64)).await.unwrap();
        assert!(read == content(seed, len), "content {seed} of {len} bytes");
    }
}

/// Puts, abandons and crashes as told, and reads everything that was promised after each crash.
fn go_through(open: impl Future<Output = World>, disk: &Disk, steps: Vec<Step>) {
    let mut process = runtime();
    let mut world = process.block_on(open);
    let mut promised = Vec::new();
    for step in steps.into_iter().chain([Step::Crash(vec![0, 1, 2, 3])]) {
        match step {
            Step::Put(seed, len) => {
                let stored = process.block_on(world.put(&content(seed, len), Compression::Auto));
                promised.push((seed, len, stored.manifest));
            }
            Step::Abandon(seed, len) => process.block_on(async {
                let mut ingest = world.store.ingest(settings(Compression::Auto));
                ingest.push(Bytes::from(content(seed, len))).await.unwrap();
                ingest.checkpoint().await.unwrap();
            }),
            Step::Crash(fates) => {
                // Its tasks end where they are.
                process = runtime();
                process.block_on(disk.cut(&fates)).unwrap();
                world = process.block_on(start_again(&world));
                process.block_on(assert_all_read(&world, &promised));
            }
        }
    }
}

/// Starts as often as it takes: a start that a place refused something fails, and the next one goes on.
async fn start_again(world: &World) -> World {
    const START_COUNT_MAX: usize = 1_000;
    for _ in 0..START_COUNT_MAX {
        match world.try_reopened().await {
            Ok((world, report)) => {
                assert_eq!((report.damaged, report.missing), (vec![], vec![]));
                return world;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain()),
        }
    }
    panic!("it does not start");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn no_power_cut_loses_what_was_committed(steps in prop::collection::vec(step(), 1..25)) {
        let disk = disk();
        go_through(World::over(tiny_packs(), disk.clone()), &disk, steps);
    }

    /// The second place takes a pack or not, answers or not, and the copy in the first stays or not.
    #[test]
    fn no_power_cut_loses_what_was_committed_while_packs_move(
        steps in prop::collection::vec(step(), 1..25), seed in any::<u64>()
    ) {
        let disk = disk();
        let (open, sealed) = (Faulty::new(disk.clone()), Faulty::new(Arc::new(MemoryPacks::default())));
        open.script().at_random(seed, 3, &[(Call::Delete, Fault::Before(ErrorKind::Locked))]);
        let unavailable = ErrorKind::Unavailable;
        let puts = [Fault::Before(unavailable), Fault::After(unavailable), Fault::Delay(20)];
        let looks = [(Call::Len, Fault::Before(unavailable))];
        sealed.script().at_random(!seed, 2, &[&puts.map(|fault| (Call::Put, fault))[..], &looks].concat());
        go_through(World::in_two_places(tiny_packs(), Arc::new(open), Arc::new(sealed)), &disk, steps);
    }
}

#[tokio::test]
async fn a_commit_without_its_sync_would_be_noticed() {
    let disk = disk();
    let world = World::over(tiny_packs(), disk.clone()).await;
    let mut ingest = world.store.ingest(settings(Compression::Auto));
    ingest.push(Bytes::from(noise(20_000, 1))).await.unwrap();
    let (batch, _) = ingest.finish().await.unwrap();
    world.index.commit(&[batch]);
    disk.cut(&[0]).await.unwrap();
    let (_, report) = world.reopened().await;
    assert_eq!(report.damaged.len(), 1, "or the test above proves nothing");
}
