//! Collection as transactions: what a commit and a sweep do to each other, in either order.

use usp_catalog::records::{ChunkMove, NewUpload, ReferencePlace};
use usp_model::{
    ByteRange, ChunkId, ChunkRef, ErrorKind, FileRef, FramePlace, ManifestId, PackState, StoredChunk,
};

use super::uploads::progress;
use super::world::{World, act, at, bucket, digest, kind_of};

impl World {
    /// The chunk of that number, if its bytes are stored and not doubted.
    pub(super) async fn chunk(&self, number: u64) -> Option<StoredChunk> {
        self.catalog.lookup_chunks(vec![digest(number)]).await.unwrap().remove(0)
    }

    async fn delete(&self, text: &str) {
        let key = FileRef::Key(bucket("default"), text.parse().unwrap());
        let id = self.catalog.file(&key, None).await.unwrap().file.id;
        self.catalog.delete_file(act(1), &id, None).await.unwrap();
    }

    async fn referenced(&self) -> Vec<ChunkId> {
        let (mut chunks, mut after) = (Vec::new(), None);
        loop {
            let page = self.catalog.references(after, 1).await.unwrap();
            chunks.extend(page.chunks);
            let Some(next) = page.next else { return chunks };
            assert!(Some(next) != after);
            after = Some(next);
        }
    }

    /// The raise, the mark and the sweep of all that nothing refers to.
    pub(super) async fn collect(&self) -> u64 {
        let epoch = self.catalog.raise_epoch(act(0)).await.unwrap();
        let marked = self.referenced().await;
        let stale = self.catalog.stale_chunks(ChunkId(0), epoch, 1_000).await.unwrap();
        let garbage: Vec<_> = stale.iter().map(|chunk| chunk.id).filter(|id| !marked.contains(id)).collect();
        self.catalog.sweep_chunks(act(0), garbage, epoch).await.unwrap().chunk_count
    }
}

pub(crate) async fn a_sweep_takes_what_nothing_refers_to_and_nothing_else(world: World) {
    world.put("kept", 1).await;
    world.put("deleted", 2).await;
    world.put("superseded", 3).await;
    world.put("superseded", 4).await;
    let upload = world.catalog.create_upload(act(0), world.new_upload("open")).await.unwrap();
    let progress = progress(&upload, vec![world.new_chunk(5, 1_000)], b"");
    world.catalog.append_upload(act(10), progress).await.unwrap();
    assert_eq!(world.collect().await, 0);
    world.delete("deleted").await;
    assert_eq!(world.collect().await, 1);
    assert_eq!(world.chunk(2).await, None);
    for number in [1, 3, 4, 5] {
        assert!(world.chunk(number).await.is_some(), "chunk {number} is referred to");
    }
    world.catalog.terminate_upload(act(1), &upload.id).await.unwrap();
    assert_eq!(world.collect().await, 1);
    world.assert_sound().await;
}

pub(crate) async fn a_reference_that_was_made_after_the_mark_keeps_its_chunk(world: World) {
    world.put("a", 1).await;
    let hit = world.chunk(1).await.unwrap();
    world.delete("a").await;
    let epoch = world.catalog.raise_epoch(act(0)).await.unwrap();
    assert!(world.referenced().await.is_empty());
    let stale = world.catalog.stale_chunks(ChunkId(0), epoch, 9).await.unwrap();
    let mut again = world.new_version("b", 1);
    again.chunks = vec![hit.into()];
    let file = world.catalog.commit_version(act(0), again).await.unwrap().file;
    let swept = world.catalog.sweep_chunks(act(0), stale.iter().map(|chunk| chunk.id).collect(), epoch).await;
    assert_eq!(swept.unwrap().chunk_count, 0);
    let record = world.catalog.file(&FileRef::Id(file.id), None).await.unwrap();
    let placed = world.catalog.resolve(record.manifest, ByteRange::whole(1_000), 1).await.unwrap();
    assert_eq!(placed[0].chunk, hit);
    world.assert_sound().await;
}

pub(crate) async fn a_hit_whose_row_was_swept_gets_a_new_row_for_the_same_frame(world: World) {
    world.put("a", 1).await;
    let hit = world.chunk(1).await.unwrap();
    world.delete("a").await;
    assert_eq!(world.collect().await, 1);
    let mut again = world.new_version("b", 1);
    again.chunks = vec![hit.into()];
    world.catalog.commit_version(act(0), again).await.unwrap();
    let made = world.chunk(1).await.unwrap();
    assert_eq!((made.place, made.size_bytes), (hit.place, hit.size_bytes));
    assert!(made.id > hit.id, "the number of a row never names a second one");
    world.assert_sound().await;
}

pub(crate) async fn no_commit_makes_a_row_in_a_doomed_pack(world: World) {
    world.put("a", 1).await;
    world.catalog.seal_pack(act(0), world.pack, 10_000).await.unwrap();
    assert!(!world.catalog.doom_pack(act(0), world.pack).await.unwrap(), "a row names a frame in it");
    let hit = world.chunk(1).await.unwrap();
    world.delete("a").await;
    world.collect().await;
    assert!(world.catalog.doom_pack(act(0), world.pack).await.unwrap());
    assert_eq!(world.catalog.packs().await.unwrap()[0].state, PackState::Doomed);
    for chunk in [ChunkRef::from(hit), world.new_chunk(2, 1_000)] {
        let mut again = world.new_version("b", 1);
        again.chunks = vec![chunk];
        assert_eq!(kind_of(world.catalog.commit_version(act(0), again).await), ErrorKind::Unavailable);
    }
    world.catalog.set_pack_aside(act(0), world.pack).await.unwrap();
    assert_eq!(world.catalog.packs().await.unwrap()[0].state, PackState::Doomed, "doom is for ever");
    world.assert_sound().await;
}

pub(crate) async fn a_doomed_pack_is_erased_two_cycles_and_the_grace_period_later(world: World) {
    world.catalog.seal_pack(act(0), world.pack, 112).await.unwrap();
    assert!(world.catalog.doom_pack(act(5), world.pack).await.unwrap());
    assert!(!world.catalog.doom_pack(act(9), world.pack).await.unwrap(), "it is doomed once");
    let living = world.catalog.begin_pack(act(0)).await.unwrap();
    assert_eq!(kind_of(world.catalog.forget_pack(act(0), living).await), ErrorKind::Conflict);
    for _cycle in 0..2 {
        assert!(world.catalog.erasable_packs(act(0), at(9)).await.unwrap().is_empty());
        world.catalog.raise_epoch(act(0)).await.unwrap();
    }
    assert!(
        world.catalog.erasable_packs(act(0), at(4)).await.unwrap().is_empty(),
        "the grace period is not over"
    );
    let erasable = world.catalog.erasable_packs(act(0), at(5)).await.unwrap();
    assert_eq!(erasable.iter().map(|pack| pack.record.pack).collect::<Vec<_>>(), [world.pack]);
    world.catalog.forget_pack(act(0), world.pack).await.unwrap();
    assert_eq!(world.catalog.packs().await.unwrap().len(), 1);
    assert!(world.catalog.begin_pack(act(0)).await.unwrap() > living, "no number names a second pack");
}

pub(crate) async fn only_a_row_that_still_stands_there_is_moved(world: World) {
    world.put("a", 1).await;
    world.put("b", 2).await;
    let (first, second) = (world.chunk(1).await.unwrap(), world.chunk(2).await.unwrap());
    let target = world.catalog.begin_pack(act(0)).await.unwrap();
    let to = |offset, chunk: StoredChunk| FramePlace { pack: target, offset, ..chunk.place };
    let elsewhere = FramePlace { offset: second.place.offset + 1, ..second.place };
    let moves = vec![
        ChunkMove { chunk: first.id, from: first.place, to: to(64, first) },
        ChunkMove { chunk: second.id, from: elsewhere, to: to(1_000, second) },
    ];
    assert_eq!(world.catalog.move_chunks(act(0), moves).await.unwrap(), 1);
    assert_eq!(world.chunk(1).await.unwrap().place, to(64, first));
    assert_eq!(world.chunk(2).await.unwrap(), second);
    let usage = world.catalog.pack_usage().await.unwrap();
    let committed = usage[1].record.committed_bytes;
    assert_eq!(committed, 64 + u64::from(first.place.stored_bytes), "recovery keeps what was moved");
    assert_eq!(world.catalog.chunks_in_pack(world.pack).await.unwrap(), [second]);
    world.assert_sound().await;
}

pub(crate) async fn references_are_told_in_pages_that_go_on_where_the_last_one_ended(world: World) {
    for number in 0..7 {
        world.put(&format!("k{number}"), number).await;
    }
    let all = world.catalog.references(None, 100).await.unwrap();
    assert_eq!((all.chunks.len(), all.next), (7, None));
    assert_eq!(world.referenced().await, all.chunks);
    let place = ReferencePlace { manifest: ManifestId(i64::MAX), start_offset: 0 };
    assert!(world.catalog.references(Some(place), 9).await.unwrap().chunks.is_empty());
}

/// References move with the parts, to where the walk has not been.
pub(crate) async fn a_join_in_the_middle_of_a_walk_hides_no_reference(world: World) {
    for walked_count in 0..4 {
        let world = world.another().await;
        let mut parts = Vec::new();
        for number in 1..=3_u32 {
            let new =
                NewUpload { is_part: true, size_bytes: Some(1_000), ..world.new_upload(&number.to_string()) };
            let part = world.catalog.create_upload(act(0), new).await.unwrap();
            let chunk = world.new_chunk(u64::from(number), 1_000);
            world.catalog.append_upload(act(10), progress(&part, vec![chunk], b"")).await.unwrap();
            parts.push(part.id);
        }
        let epoch = world.catalog.raise_epoch(act(0)).await.unwrap();
        let (mut marked, mut after) = (Vec::new(), None::<ReferencePlace>);
        for step in 0.. {
            if step == walked_count {
                parts.reverse();
                let joined = world
                    .catalog
                    .join_uploads(act(0), world.new_upload("joined"), parts.clone(), vec![7; 40])
                    .await
                    .unwrap();
                assert_eq!((joined.received_bytes, joined.size_bytes), (3_000, Some(3_000)));
            }
            let page = world.catalog.references(after, 1).await.unwrap();
            marked.extend(page.chunks);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let stale = world.catalog.stale_chunks(ChunkId(0), epoch, 10).await.unwrap();
        assert_eq!(stale.len(), 3);
        for chunk in stale {
            assert!(marked.contains(&chunk.id), "{walked_count}: {chunk:?} is referred to");
        }
    }
}
