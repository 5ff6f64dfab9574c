//! Scrubbing: whatever byte of a pack is damaged, it is named, and so is everything behind it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;
use usp_content::pack::FrameEntry;
use usp_content::{Extent, Pace, ScrubReport};
use usp_model::{ByteRange, Compression, ErrorKind, PackDamage, PackId, PackPart};

use crate::support::{World, lines, noise, small};

const PACK: PackId = PackId(1);
const SIZE: usize = 60_000;

async fn sealed() -> (World, u64) {
    let world = World::new(small()).await;
    world.put(&lines(SIZE, 1), Compression::Auto).await;
    let (world, _) = world.reopened().await;
    let size_bytes = world.index.first_pack().committed_bytes;
    (world, size_bytes)
}

async fn scrub(world: &World, extent: Extent) -> ScrubReport {
    world.store.inspector().scrub(PACK, extent, &mut Pace::unlimited()).await.unwrap()
}

async fn flip(world: &World, bit: u64) {
    let byte = world.open.read(PACK, ByteRange::at(bit / 8, 1)).await.unwrap();
    let flipped: Vec<u8> = byte.iter().map(|byte| byte ^ (1 << (bit % 8))).collect();
    world.open.append(PACK, bit / 8, vec![flipped.into()]).await.unwrap();
}

/// Flips the lowest bit of a byte.
async fn damage(world: &World, offset: u64) {
    flip(world, offset * 8).await;
}

fn of_frame(entry: &FrameEntry) -> PackDamage {
    PackDamage {
        pack: PACK,
        offset: entry.offset,
        size_bytes: entry.end() - entry.offset,
        part: PackPart::Frame,
    }
}

#[tokio::test]
async fn a_sound_pack_scrubs_clean() {
    let (world, size_bytes) = sealed().await;
    let report = scrub(&world, Extent::Sealed(size_bytes)).await;
    assert!(report.is_sound() && report.has_footer, "{report:?}");
    assert_eq!(report.frames, world.store.inspector().frames(PACK).await.unwrap());
    assert_eq!(report.size_bytes, size_bytes);
    let aside = scrub(&world, Extent::SetAside(size_bytes)).await;
    assert_eq!(aside, report, "whether a pack was set aside changes nothing");
}

#[tokio::test]
async fn a_scrub_names_exactly_the_damaged_frames() {
    let (world, size_bytes) = sealed().await;
    let frames = world.store.inspector().frames(PACK).await.unwrap();
    for offset in [frames[3].offset + 5, frames[7].offset + 70] {
        damage(&world, offset).await;
    }
    let report = scrub(&world, Extent::Sealed(size_bytes)).await;
    assert_eq!(report.damage, [of_frame(&frames[3]), of_frame(&frames[7])]);
    assert_eq!(report.frames.len(), frames.len() - 2);
}

#[tokio::test]
async fn without_a_footer_the_frames_behind_damage_are_found_again() {
    let (world, size_bytes) = sealed().await;
    let frames = world.store.inspector().frames(PACK).await.unwrap();
    let footer_at = frames.last().unwrap().end();
    // The header of one frame, the payload of another, and the footer.
    for offset in [frames[2].offset + 9, frames[5].offset + 60, size_bytes - 10] {
        damage(&world, offset).await;
    }
    assert_eq!(world.store.inspector().frames(PACK).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let report = scrub(&world, Extent::Sealed(size_bytes)).await;
    let footer = PackDamage {
        pack: PACK,
        offset: footer_at,
        size_bytes: size_bytes - footer_at,
        part: PackPart::Footer,
    };
    assert_eq!(report.damage, [of_frame(&frames[2]), of_frame(&frames[5]), footer]);
    assert_eq!(report.frames.len(), frames.len() - 2);
    assert!(!report.has_footer);
}

#[tokio::test]
async fn a_short_or_long_or_absent_pack_is_noticed() {
    let (world, size_bytes) = sealed().await;
    world.open.append(PACK, size_bytes, vec![Bytes::from_static(b"more")]).await.unwrap();
    assert!(!scrub(&world, Extent::Sealed(size_bytes)).await.is_sound());
    world.open.truncate(PACK, size_bytes - 1).await.unwrap();
    let report = scrub(&world, Extent::Sealed(size_bytes)).await;
    let missing = PackDamage { pack: PACK, offset: size_bytes - 1, size_bytes: 1, part: PackPart::Missing };
    assert_eq!(report.damage.last(), Some(&missing), "{:?}", report.damage);
    world.open.truncate(PACK, 10).await.unwrap();
    let report = scrub(&world, Extent::Sealed(size_bytes)).await;
    assert_eq!((report.damage[0].offset, report.damage[0].end()), (10, size_bytes));
    world.open.delete(PACK).await.unwrap();
    let absent =
        world.store.inspector().scrub(PACK, Extent::Sealed(size_bytes), &mut Pace::unlimited()).await;
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_open_pack_is_scrubbed_up_to_its_committed_length() {
    let world = World::new(small()).await;
    world.put(&noise(30_000, 1), Compression::None).await;
    let row = world.index.first_pack();
    let half = vec![Bytes::from_static(b"half a frame")];
    world.open.append(row.pack, row.committed_bytes, half).await.unwrap();
    let report = scrub(&world, Extent::Committed(row.committed_bytes)).await;
    assert!(report.is_sound(), "{report:?}");
}

#[tokio::test]
async fn the_index_can_be_rebuilt_from_footers() {
    let (world, _) = sealed().await;
    let frames = world.store.inspector().frames(PACK).await.unwrap();
    let rows = world.index.chunks();
    assert_eq!(frames.len(), rows.len());
    for row in rows {
        let frame = frames.iter().find(|frame| frame.digest == row.digest).unwrap();
        assert_eq!((frame.place(PACK), frame.plain_bytes), (row.place, row.size_bytes));
    }
}

#[tokio::test(start_paused = true)]
async fn a_scrub_keeps_its_pace_and_takes_another_one_while_it_goes_on() {
    let (world, size_bytes) = sealed().await;
    let mut pace = Pace::of(size_bytes / 10);
    let begun = Instant::now();
    world.store.inspector().scrub(PACK, Extent::Sealed(size_bytes), &mut pace).await.unwrap();
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(12), "{took:?}");
    pace.clone().set(0);
    let begun = Instant::now();
    world.store.inspector().scrub(PACK, Extent::Sealed(size_bytes), &mut pace).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Wherever bits flip, each lies in a stretch that is named, and nothing that is named is called sound.
    #[test]
    fn every_flipped_bit_lies_in_damage_that_is_named(bits in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (world, size_bytes) = sealed().await;
            let length = usize::try_from(size_bytes * 8).unwrap();
            let bits: std::collections::BTreeSet<u64> = bits.iter().map(|bit| bit.index(length) as u64).collect();
            for &bit in &bits {
                flip(&world, bit).await;
            }
            let report = scrub(&world, Extent::Sealed(size_bytes)).await;
            for bit in bits {
                let byte = bit / 8;
                let named = report.damage.iter().any(|damage| damage.offset <= byte && byte < damage.end());
                prop_assert!(named, "bit {bit} of {length}: {:?}", report.damage);
                prop_assert!(!report.frames.iter().any(|frame| frame.offset <= byte && byte < frame.end()));
            }
            Ok(())
        })?;
    }
}
