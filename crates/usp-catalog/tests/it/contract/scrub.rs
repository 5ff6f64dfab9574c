//! What a check of the packs found, whose contents it hits, and what becomes of the chunks.

use usp_catalog::records::{ScrubState, ScrubbedPack};
use usp_model::{
    ByteRange, ChunkId, ChunkRef, ErrorKind, FramePlace, ManifestId, PackDamage, PackPart, PackState,
    StoredChunk,
};

use super::uploads::progress;
use super::world::{World, act, at, digest, kind_of};

/// The whole frame of a chunk.
fn damage_at(place: FramePlace) -> PackDamage {
    let size_bytes = u64::from(place.stored_bytes);
    PackDamage { pack: place.pack, offset: place.offset, size_bytes, part: PackPart::Frame }
}

async fn stored(world: &World, number: u64) -> StoredChunk {
    world.chunk(number).await.unwrap()
}

pub(crate) async fn a_scrub_says_where_it_stands_also_after_a_restart(world: World) {
    assert_eq!(world.catalog.scrub_state().await.unwrap(), ScrubState::default());
    world.put("a", 1).await;
    let second = world.catalog.begin_pack(act(0)).await.unwrap();
    let begun = world.catalog.begin_scrub(act(5)).await.unwrap();
    assert_eq!(
        (begun.began_at, begun.ended_at, begun.until, begun.packs_left),
        (Some(at(5)), None, second, 2)
    );
    let scrubbed = ScrubbedPack { pack: world.pack, frame_count: 1, size_bytes: 600, damage: Vec::new() };
    world.catalog.note_scrubbed(act(6), scrubbed).await.unwrap();
    let pack = world.pack;
    let world = world.reopened().await;
    let state = world.catalog.scrub_state().await.unwrap();
    assert_eq!((state.last, state.packs_left, state.pack_count), (pack, 1, 1));
    assert_eq!((state.frame_count, state.size_bytes, state.damage_count), (1, 600, 0));
    let ended = world.catalog.end_scrub(act(7)).await.unwrap();
    assert_eq!(ended.ended_at, Some(at(7)));
    assert_eq!(world.catalog.scrub_state().await.unwrap(), ended);
}

pub(crate) async fn damage_sets_its_pack_aside_and_its_chunks_count_as_not_stored_until_they_come_anew(
    world: World,
) {
    world.put("a", 1).await;
    world.put("b", 2).await;
    let (hit, sound) = (stored(&world, 1).await, stored(&world, 2).await);
    world.catalog.begin_scrub(act(1)).await.unwrap();
    let damage = damage_at(hit.place);
    let scrubbed = ScrubbedPack { pack: world.pack, frame_count: 2, size_bytes: 5_000, damage: vec![damage] };
    world.catalog.note_scrubbed(act(2), scrubbed.clone()).await.unwrap();
    world.catalog.note_scrubbed(act(2), scrubbed).await.unwrap();
    assert_eq!(world.catalog.scrub_damage().await.unwrap(), [damage]);
    assert_eq!(world.catalog.pack(world.pack).await.unwrap().unwrap().record.state, PackState::SetAside);
    assert_eq!((world.chunk(1).await, world.chunk(2).await), (None, Some(sound)));

    let mut late = world.new_version("late", 1);
    late.chunks = vec![ChunkRef::from(hit)];
    assert_eq!(kind_of(world.catalog.commit_version(act(3), late).await), ErrorKind::Unavailable);
    world.put("anew", 1).await;
    let anew = stored(&world, 1).await;
    assert_eq!(anew.id, hit.id, "contents that name it are whole again");
    assert_ne!(anew.place, hit.place);
    world.catalog.begin_scrub(act(4)).await.unwrap();
    assert!(world.catalog.scrub_damage().await.unwrap().is_empty(), "what an earlier one found is forgotten");
    world.assert_sound().await;
}

pub(crate) async fn doubt_touches_the_chunks_whose_frames_begin_in_the_range(world: World) {
    for number in 1..=3 {
        world.put(&number.to_string(), number).await;
    }
    let middle = stored(&world, 2).await.place;
    let range = ByteRange::new(middle.offset, middle.offset + u64::from(middle.stored_bytes)).unwrap();
    world.catalog.doubt_chunks(act(1), world.pack, range).await.unwrap();
    let found = world.catalog.lookup_chunks((1..=3).map(digest).collect()).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let all = world.catalog.chunk_digests(ChunkId(0), 100).await.unwrap();
    assert_eq!(
        all.iter().map(|(_, digest)| *digest).collect::<Vec<_>>(),
        (1..=3).map(digest).collect::<Vec<_>>()
    );
    let rest = world.catalog.chunk_digests(all[0].0, 1).await.unwrap();
    assert_eq!(rest, all[1..2]);
}

pub(crate) async fn contents_that_name_a_chunk_are_found_with_their_owners(world: World) {
    let first = world.put("a", 1).await.file;
    world.put("a", 2).await;
    world.put("b", 3).await;
    let upload = world.catalog.create_upload(act(0), world.new_upload("c")).await.unwrap();
    let more = progress(&upload, vec![world.new_chunk(1, 1_000), world.new_chunk(1, 1_000)], b"");
    world.catalog.append_upload(act(1), more).await.unwrap();
    let hit = stored(&world, 1).await.id;
    let (mut named, mut after) = (Vec::new(), None);
    loop {
        let page = world.catalog.contents_naming(vec![hit], after, 1).await.unwrap();
        named.extend(page.named);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(named.iter().all(|(chunk, _)| *chunk == hit));
    let manifests: Vec<ManifestId> = named.into_iter().map(|(_, manifest)| manifest).collect();
    let mut owners = world.catalog.owners(manifests).await.unwrap();
    owners.sort_by_key(|owner| owner.manifest);
    let said: Vec<_> = owners.iter().map(|owner| (owner.key.as_str(), owner.version, owner.upload)).collect();
    assert_eq!(said, [("a", Some(1), None), ("c", None, Some(upload.id))]);
    assert_eq!((owners[0].file_id, owners[1].file_id), (first.id, upload.file_id));
}

pub(crate) async fn sums_that_are_right_need_no_mending(world: World) {
    world.put("a", 1).await;
    world.put("a", 2).await;
    let before = (world.catalog.usage().await.unwrap(), world.catalog.totals().await.unwrap());
    assert_eq!(world.catalog.mend_sums(act(1)).await.unwrap(), 0);
    assert_eq!((world.catalog.usage().await.unwrap(), world.catalog.totals().await.unwrap()), before);
}
