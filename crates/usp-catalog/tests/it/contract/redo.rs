//! Frames that are committed with their rows.

use usp_catalog::records::{ChunkMove, NewVersion};
use usp_model::{ChunkRef, ErrorKind, FramePlace, KeyCondition, PackId, RedoFrame};

use super::world::{World, act, kind_of};

/// A version of one chunk whose frame is not synced.
fn unsynced(world: &World, key: &str, number: u64) -> (NewVersion, RedoFrame) {
    let new = world.new_version(key, number);
    let Some(ChunkRef::New { place, .. }) = new.chunks.first().copied() else { unreachable!("no new chunk") };
    let frame = RedoFrame { place, bytes: vec![u8::try_from(number).unwrap(); place.stored_bytes as usize] };
    (NewVersion { redo: vec![frame.clone()], ..new }, frame)
}

pub(crate) async fn an_unsynced_frame_stands_or_falls_with_the_rows_that_need_it(world: World) {
    let (new, frame) = unsynced(&world, "a", 1);
    world.catalog.commit_version(act(0), new).await.unwrap();
    let (refused, _) = unsynced(&world, "a", 2);
    let refused = NewVersion { condition: KeyCondition::Absent, ..refused };
    assert_eq!(kind_of(world.catalog.commit_version(act(0), refused).await), ErrorKind::PreconditionFailed);
    let world = world.reopened().await;
    assert_eq!(world.catalog.redo(world.pack).await.unwrap(), [frame]);
}

pub(crate) async fn frames_are_let_go_when_their_pack_is_synced_behind_them_or_sealed(world: World) {
    let (first, _) = unsynced(&world, "a", 1);
    let (second, frame) = unsynced(&world, "b", 2);
    for new in [first, second] {
        world.catalog.commit_version(act(0), new).await.unwrap();
    }
    world.catalog.forget_redo(act(0), world.pack, frame.place.offset).await.unwrap();
    assert_eq!(world.catalog.redo(world.pack).await.unwrap(), [frame]);
    world.catalog.seal_pack(act(0), world.pack, 1 << 20).await.unwrap();
    assert_eq!(world.catalog.redo(world.pack).await.unwrap(), []);
}

pub(crate) async fn a_late_commit_into_a_sealed_pack_leaves_no_frame_for_good(world: World) {
    let (late, frame) = unsynced(&world, "a", 1);
    world.catalog.seal_pack(act(0), world.pack, 1 << 20).await.unwrap();
    world.catalog.commit_version(act(0), late).await.unwrap();
    assert_eq!(world.catalog.redo(world.pack).await.unwrap(), [frame]);
    let next = world.catalog.begin_pack(act(0)).await.unwrap();
    world.catalog.forget_redo(act(0), next, 64).await.unwrap();
    assert_eq!(world.catalog.redo(world.pack).await.unwrap(), []);
}

pub(crate) async fn frames_of_a_failed_pack_are_kept_until_their_chunks_stand_elsewhere(world: World) {
    let (new, frame) = unsynced(&world, "a", 1);
    world.catalog.commit_version(act(0), new).await.unwrap();
    // Nobody needs this one: the same bytes stand already.
    let (twin, _) = unsynced(&world, "b", 1);
    world.catalog.commit_version(act(0), twin).await.unwrap();
    assert_eq!(world.catalog.stranded_redo(10).await.unwrap(), []);
    world.catalog.set_pack_aside(act(0), world.pack).await.unwrap();
    let stranded = world.catalog.stranded_redo(10).await.unwrap();
    let [(chunk, found)] = stranded.as_slice() else { panic!("{stranded:?}") };
    assert_eq!(found, &frame);

    let pack: PackId = world.catalog.begin_pack(act(0)).await.unwrap();
    let to = FramePlace { pack, offset: 64, ..frame.place };
    let moves = vec![ChunkMove { chunk: *chunk, from: frame.place, to }];
    assert_eq!(world.catalog.rescue_chunks(act(0), moves).await.unwrap(), 1);
    assert_eq!(world.catalog.stranded_redo(10).await.unwrap(), []);
    assert_eq!(world.catalog.redo(world.pack).await.unwrap(), []);
    let moved = world.catalog.chunks_in_pack(pack).await.unwrap();
    assert_eq!(moved.iter().map(|chunk| chunk.place).collect::<Vec<_>>(), [to]);
}
