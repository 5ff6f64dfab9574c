use std::sync::atomic::AtomicU64;

use super::*;

const LEAST: u64 = 100;

#[derive(Debug, Default)]
struct FakeDisk {
    free: AtomicU64,
    has_ballast: AtomicBool,
}

impl Disk for FakeDisk {
    fn free_bytes(&self) -> Option<u64> {
        Some(self.free.load(Ordering::Relaxed))
    }

    fn ballast_bytes(&self) -> u64 {
        40
    }

    fn has_ballast(&self) -> bool {
        self.has_ballast.load(Ordering::Relaxed)
    }

    fn take_ballast(&self) -> bool {
        self.free.fetch_sub(40, Ordering::Relaxed);
        !self.has_ballast.swap(true, Ordering::Relaxed)
    }

    fn drop_ballast(&self) -> bool {
        self.free.fetch_add(40, Ordering::Relaxed);
        self.has_ballast.swap(false, Ordering::Relaxed)
    }
}

#[test]
fn uploads_stop_before_the_disk_is_full_and_the_ballast_comes_and_goes() {
    let disk = Arc::new(FakeDisk::default());
    let space = DiskSpace::of(Some(Arc::clone(&disk) as Arc<dyn Disk>), LEAST);
    let see = |free: u64| {
        disk.free.store(free, Ordering::Relaxed);
        space.look();
        (space.check().is_ok(), disk.has_ballast())
    };
    assert_eq!(see(10_000), (true, false), "with plenty nothing is held back");
    assert_eq!(see(390), (true, true), "near the end it is");
    assert_eq!(see(350), (true, true));
    assert_eq!(see(99), (false, true), "uploads stop, the ballast stays");
    assert_eq!(see(5), (false, false), "on a full disk it is given back");
    assert_eq!(see(45), (false, false), "and not taken from what it made");
    assert_eq!(see(120), (true, false), "uploads go on");
    assert_eq!(see(200), (true, true));
    assert_eq!(see(100_000), (true, false));
    assert_eq!(space.check().map_err(|error| error.kind()), Ok(()));
}

#[test]
fn what_can_wait_leaves_what_deleting_needs() {
    let disk = Arc::new(FakeDisk::default());
    let space = DiskSpace::of(Some(Arc::clone(&disk) as Arc<dyn Disk>), LEAST);
    disk.free.store(50, Ordering::Relaxed);
    assert!(space.spares(10) && !space.spares(11), "as much as the ballast stays");
    disk.has_ballast.store(true, Ordering::Relaxed);
    assert!(space.spares(50) && !space.spares(51), "it is held back");
    assert!(DiskSpace::default().spares(u64::MAX));
}

#[tokio::test]
async fn a_fast_upload_has_the_disk_looked_at_before_the_next_turn() {
    let disk = Arc::new(FakeDisk::default());
    let space = DiskSpace::of(Some(Arc::clone(&disk) as Arc<dyn Disk>), LEAST);
    disk.free.store(500, Ordering::Relaxed);
    space.look();
    space.take_in(60).unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(1), space.look_now.notified()).await;
    assert!(asked.is_err(), "a little is within what the last look allowed");
    space.take_in(60).unwrap();
    space.look_now.notified().await;
}
