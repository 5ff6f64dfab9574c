//! T34: streams, collection and syncs in every order that shuttle can think of. A failure prints the schedule; give it
//! to `shuttle::replay` to see it again.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use parking_lot::MutexGuard;
use shuttle::future::block_on;
use shuttle::thread::{self, JoinHandle, yield_now};
use usp_model::{Digest, Error, ErrorKind, FramePlace, PackId, Result};

use crate::packs::Durability;
use crate::pending::{Claimed, PackPins, Pending};

thread_local! {
    static IS_SCHEDULED: Cell<bool> = const { Cell::new(false) };
}

/// The mutex of `parking_lot`; under shuttle others may go first whenever it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        if IS_SCHEDULED.get() {
            yield_now();
        }
        self.0.lock()
    }
}

/// Runs `body` under so many random schedules, and as many that are made to find rare orders.
pub(crate) fn in_every_order(body: impl Fn() + Send + Sync + Clone + 'static) {
    const PREEMPTIONS: usize = 3;
    let count = if std::env::var_os("USP_TORTURE").is_some() { 50_000 } else { 1_000 };
    IS_SCHEDULED.set(true);
    shuttle::check_random(body.clone(), count);
    shuttle::check_pct(body, count, PREEMPTIONS);
    IS_SCHEDULED.set(false);
    println!("T34: {} schedules", 2 * count);
}

pub(crate) fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

const DIGEST_COUNT: u8 = 3;
const FULL: PackId = PackId(1);
const OPEN: PackId = PackId(2);

/// What streams and collection share, and what the test knows of it.
#[derive(Default)]
struct Stage {
    pending: Arc<Pending>,
    /// How many streams store each chunk at this moment.
    storing: [AtomicUsize; DIGEST_COUNT as usize],
    is_erased: AtomicBool,
}

impl Stage {
    /// Stores chunks as an ingest does: claim all, append what is its own, wait for the rest, begin again with that.
    /// Whoever `gives_up` does so with its first claims in hand.
    fn stream(&self, first: u8, gives_up: bool) {
        let mut pins = PackPins::default();
        let mut missing: Vec<u8> = (0..DIGEST_COUNT).map(|n| (n + first) % DIGEST_COUNT).collect();
        let mut places = Vec::new();
        while !missing.is_empty() {
            let (mut owned, mut waits) = (Vec::new(), Vec::new());
            missing.retain(|&n| match self.pending.claim(Digest::from_bytes([n; 32])) {
                Claimed::Ours(claim) => {
                    let others = self.storing[usize::from(n)].fetch_add(1, Ordering::SeqCst);
                    assert_eq!(others, 0, "two streams store chunk {n}");
                    owned.push((n, claim));
                    false
                }
                Claimed::Placed(place, pin) => {
                    pins.keep(pin);
                    places.push(place);
                    false
                }
                Claimed::Theirs(wait) => {
                    waits.push(wait);
                    true
                }
            });
            for (n, claim) in owned {
                let no_longer = || self.storing[usize::from(n)].fetch_sub(1, Ordering::SeqCst);
                if gives_up {
                    no_longer();
                    continue;
                }
                let pack = if pins.hold(&self.pending, FULL) { FULL } else { OPEN };
                assert!(pins.hold(&self.pending, pack));
                let place = FramePlace { pack, offset: u64::from(n), stored_bytes: 1 };
                no_longer();
                claim.settle(place);
                places.push(place);
            }
            if gives_up {
                return;
            }
            for wait in waits {
                block_on(wait.ended());
            }
        }
        yield_now();
        let is_gone = self.is_erased.load(Ordering::SeqCst);
        assert!(
            !is_gone || places.iter().all(|place| place.pack != FULL),
            "a commit refers to an erased pack"
        );
        drop(pins);
    }

    fn collect(&self) {
        if self.pending.block_references(FULL) {
            self.is_erased.store(true, Ordering::SeqCst);
            self.pending.forget_pack(FULL);
        }
    }
}

#[test]
fn streams_store_each_chunk_once_and_never_refer_to_what_the_collection_erases() {
    in_every_order(|| {
        let stage = Arc::new(Stage::default());
        let mut threads = Vec::new();
        for first in 0..3 {
            let stage = Arc::clone(&stage);
            threads.push(thread::spawn(move || stage.stream(first, first == 1)));
        }
        threads.push(thread::spawn(move || stage.collect()));
        join(threads);
    });
}

/// A disk on which syncs may fail once, and after which none may be asked for.
#[derive(Default)]
struct Disk {
    written: AtomicU64,
    durable: AtomicU64,
    syncing: AtomicUsize,
    is_broken: AtomicBool,
}

impl Disk {
    async fn sync(&self, fails: bool) -> Result<()> {
        assert!(!self.is_broken.load(Ordering::SeqCst), "a failed sync was tried again");
        assert_eq!(self.syncing.fetch_add(1, Ordering::SeqCst), 0, "two syncs at once");
        let covered = self.written.load(Ordering::SeqCst);
        pass().await;
        self.syncing.fetch_sub(1, Ordering::SeqCst);
        if fails {
            self.is_broken.store(true, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "sync"));
        }
        self.durable.fetch_max(covered, Ordering::SeqCst);
        Ok(())
    }
}

/// Lets the others go first, once.
async fn pass() {
    let mut has_passed = false;
    poll_fn(|context| {
        if has_passed {
            return Poll::Ready(());
        }
        has_passed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn syncs(fails_at: Option<u64>) {
    const PACK: PackId = PackId(1);
    let (disk, durability) = (Arc::new(Disk::default()), Arc::new(Durability::new(PACK, 0)));
    let mut threads = Vec::new();
    for writer in 1..=3 {
        let (disk, durability) = (Arc::clone(&disk), Arc::clone(&durability));
        threads.push(thread::spawn(move || {
            // One appender at a time, as the slot of the pack sees to.
            let end = disk.written.fetch_add(1, Ordering::SeqCst) + 1;
            durability.note_written(end);
            yield_now();
            let fails = fails_at == Some(writer);
            match block_on(durability.sync_to(end, || disk.sync(fails))) {
                Ok(()) => assert!(disk.durable.load(Ordering::SeqCst) >= end, "acknowledged and not durable"),
                Err(_) => assert!(disk.is_broken.load(Ordering::SeqCst), "refused by a sound disk"),
            }
        }));
    }
    join(threads);
}

#[test]
fn one_sync_serves_all_whose_bytes_it_covers_and_none_follows_a_failed_one() {
    in_every_order(|| syncs(None));
    in_every_order(|| syncs(Some(2)));
}
