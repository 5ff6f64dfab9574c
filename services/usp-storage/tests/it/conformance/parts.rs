//! Uploads that say later how long they are, and uploads that are joined of parts.

use futures::StreamExt;
use usp_api::{AppendUpload, NewFile, event_json};
use usp_model::{
    BucketPolicy, ContentDigest, DigestAlgorithm, ErrorKind, EventKind, EventQuery, FileQuery, FileRef,
    KeyCondition, Role, Upload, UploadId, UploadShape, UploadState,
};

use crate::support::{
    CHECKPOINT_BYTES, House, admin, bucket, in_bucket, key, pieces, random_bytes, sha256_of, soon,
};

facts! {
    a_length_that_comes_later_counts_from_then_on,
    a_length_that_cannot_be_is_refused_and_changes_nothing,
    parts_become_one_file_in_the_order_that_is_asked_for,
    who_asks_again_gets_what_the_parts_were_joined_to,
    a_part_that_is_not_complete_or_used_up_is_not_joined,
    a_part_becomes_no_file_by_itself,
    parts_of_somebody_else_are_not_there,
    parts_of_another_dedup_domain_are_refused,
    a_join_keeps_to_its_terms,
    a_part_is_gone_once_what_it_was_joined_to_is,
    a_length_over_the_quota_is_refused_when_it_is_told,
    parts_of_a_kind_that_the_bucket_does_not_take_become_no_file,
    what_was_joined_is_kept_until_there_is_room_for_the_file,
    a_part_that_nobody_joins_expires_and_nobody_hears_of_it,
}

async fn append(
    house: &House,
    id: UploadId,
    offset: u64,
    bytes: &[u8],
    size: Option<u64>,
) -> usp_model::Result<Upload> {
    house.door.append(&admin(), AppendUpload { id, offset, size_bytes: size }, pieces(bytes)).await
}

/// A part that has all its bytes.
async fn part(house: &House, bytes: &[u8]) -> UploadId {
    let size = Some(bytes.len() as u64);
    let id = house.door.start_part(&admin(), bucket("default"), size).await.unwrap().id;
    append(house, id, 0, bytes, None).await.unwrap();
    id
}

fn at(text: &str) -> NewFile {
    NewFile::at(bucket("default"), key(text))
}

async fn join(house: &House, text: &str, parts: &[UploadId]) -> usp_model::Result<Upload> {
    house.door.join_uploads(&admin(), at(text), parts.to_vec()).await
}

async fn a_length_that_comes_later_counts_from_then_on(house: House) {
    let upload = house.door.start_upload(&admin(), at("a")).await.unwrap();
    append(&house, upload.id, 0, b"01234", None).await.unwrap();
    assert_eq!(
        append(&house, upload.id, 5, b"567890", Some(10)).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    let seen = house.door.get_upload(&admin(), upload.id).await.unwrap();
    assert_eq!((seen.received_bytes, seen.size_bytes), (5, Some(10)));
    let early = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Conflict);
    append(&house, upload.id, 5, b"56789", Some(10)).await.unwrap();
    let file = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap().file;
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), b"0123456789");
    // It may come with the last byte, or after it.
    let upload = house.door.start_upload(&admin(), at("b")).await.unwrap();
    append(&house, upload.id, 0, b"all", None).await.unwrap();
    assert_eq!(append(&house, upload.id, 3, b"", Some(3)).await.unwrap().size_bytes, Some(3));
    house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap();
}

async fn a_length_that_cannot_be_is_refused_and_changes_nothing(house: House) {
    house.bucket("small", BucketPolicy { file_size_bytes_max: Some(100), ..BucketPolicy::default() }).await;
    let file = NewFile::at(bucket("small"), key("a"));
    let upload = house.door.start_upload(&admin(), file).await.unwrap();
    append(&house, upload.id, 0, b"01234", None).await.unwrap();
    for (size, kind) in [(4, ErrorKind::InvalidInput), (101, ErrorKind::TooLarge)] {
        assert_eq!(append(&house, upload.id, 5, b"5", Some(size)).await.unwrap_err().kind(), kind);
    }
    let seen = house.door.get_upload(&admin(), upload.id).await.unwrap();
    assert_eq!((seen.received_bytes, seen.size_bytes), (5, None));
    append(&house, upload.id, 5, b"5", Some(7)).await.unwrap();
    assert_eq!(
        append(&house, upload.id, 6, b"6", Some(8)).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(append(&house, upload.id, 6, b"6", Some(7)).await.unwrap().received_bytes, 7);
}

async fn parts_become_one_file_in_the_order_that_is_asked_for(house: House) {
    let contents = [
        random_bytes(1, 3 * CHECKPOINT_BYTES + 777),
        bytes::Bytes::new(),
        b"a few bytes that are in no chunk yet".to_vec().into(),
        random_bytes(2, CHECKPOINT_BYTES / 3),
    ];
    let mut parts = Vec::new();
    // They come in another order.
    for content in contents.iter().rev() {
        parts.insert(0, part(&house, content).await);
    }
    let whole = contents.concat();
    let joined = join(&house, "whole", &parts).await.unwrap();
    assert_eq!((joined.received_bytes, joined.size_bytes), (whole.len() as u64, Some(whole.len() as u64)));
    assert_eq!(joined.shape, UploadShape::Joined(parts.clone()));
    let refused = append(&house, joined.id, joined.received_bytes, b"", None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let file = house.door.finish_upload(&admin(), joined.id, Vec::new()).await.unwrap().file;
    assert_eq!((file.id, file.size_bytes), (joined.file_id, whole.len() as u64));
    assert_eq!(file.digests[&DigestAlgorithm::Sha256], sha256_of(&whole));
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), whole);
    assert!(file.stored.bytes > 0, "{:?}", file.stored);
    for id in parts {
        let seen = house.door.get_upload(&admin(), id).await.unwrap();
        assert_eq!((seen.state, seen.shape), (UploadState::Completed, UploadShape::Part));
    }
    assert_eq!(house.open_uploads().await, 0);
    assert!(house.door.check_store(&admin(), true).await.unwrap().findings.is_empty());
}

async fn who_asks_again_gets_what_the_parts_were_joined_to(house: House) {
    let parts = [part(&house, b"one ").await, part(&house, b"two").await];
    let first = join(&house, "a", &parts).await.unwrap();
    assert_eq!(join(&house, "a", &parts).await.unwrap(), first);
    let file = house.door.finish_upload(&admin(), first.id, Vec::new()).await.unwrap().file;
    let again = join(&house, "a", &parts).await.unwrap();
    assert_eq!((again.id, again.state), (first.id, UploadState::Completed));
    assert_eq!(file.version, 1);
    for (text, parts) in [("b", parts.to_vec()), ("a", vec![parts[1], parts[0]]), ("a", vec![parts[0]])] {
        assert_eq!(join(&house, text, &parts).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert_eq!(house.find("b").await.unwrap_err().kind(), ErrorKind::NotFound);
    let promise = ContentDigest::new(DigestAlgorithm::Sha256, vec![0; 32]).unwrap();
    let other = NewFile { expected_digests: vec![promise], ..at("a") };
    let refused = house.door.join_uploads(&admin(), other, parts.to_vec()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    // Whatever has changed since.
    let policy =
        BucketPolicy { file_size_bytes_max: Some(1), quota_bytes: Some(1), ..BucketPolicy::default() };
    house.door.update_bucket(&admin(), bucket("default"), policy).await.unwrap();
    assert_eq!(join(&house, "a", &parts).await.unwrap().id, first.id);
}

async fn a_part_that_is_not_complete_or_used_up_is_not_joined(house: House) {
    let whole = house.door.start_upload(&admin(), at("whole")).await.unwrap().id;
    append(&house, whole, 0, b"x", Some(1)).await.unwrap();
    let begun = house.door.start_part(&admin(), bucket("default"), Some(5)).await.unwrap().id;
    append(&house, begun, 0, b"1234", None).await.unwrap();
    let endless = house.door.start_part(&admin(), bucket("default"), None).await.unwrap().id;
    append(&house, endless, 0, b"12345", None).await.unwrap();
    let good = part(&house, b"good").await;
    for other in [whole, begun, endless] {
        let refused = join(&house, "a", &[good, other]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.detail().starts_with("part 2 "), "{}", refused.detail());
    }
    assert_eq!(join(&house, "a", &[]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(join(&house, "a", &[good, good]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let unknown = UploadId::random().unwrap();
    assert_eq!(join(&house, "a", &[good, unknown]).await.unwrap_err().kind(), ErrorKind::NotFound);
    house.door.terminate_upload(&admin(), begun).await.unwrap();
    assert_eq!(join(&house, "a", &[good, begun]).await.unwrap_err().kind(), ErrorKind::Gone);
    append(&house, endless, 5, b"", Some(5)).await.unwrap();
    let joined = join(&house, "a", &[endless, good]).await.unwrap();
    let file = house.door.finish_upload(&admin(), joined.id, Vec::new()).await.unwrap().file;
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), b"12345good");
}

async fn a_part_becomes_no_file_by_itself(house: House) {
    let id = part(&house, b"part").await;
    let refused = house.door.finish_upload(&admin(), id, Vec::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let query = FileQuery { limit: 9, ..FileQuery::default() };
    assert!(house.door.list_files(&admin(), bucket("default"), query).await.unwrap().files.is_empty());
}

async fn parts_of_somebody_else_are_not_there(house: House) {
    let id = part(&house, b"mine").await;
    let bob = in_bucket("bob", "default", Role::Writer);
    let refused = house.door.join_uploads(&bob, at("a"), vec![id]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let reader = in_bucket("rea", "default", Role::Reader);
    let refused = house.door.start_part(&reader, bucket("default"), Some(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    join(&house, "a", &[id]).await.unwrap();
}

async fn parts_of_another_dedup_domain_are_refused(house: House) {
    house
        .bucket("apart", BucketPolicy { dedup_domain: Some("apart".to_owned()), ..BucketPolicy::default() })
        .await;
    let id = part(&house, b"content").await;
    let file = NewFile::at(bucket("apart"), key("a"));
    let refused = house.door.join_uploads(&admin(), file, vec![id]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.detail().contains("dedup domain"), "{}", refused.detail());
    join(&house, "a", &[id]).await.unwrap();
}

async fn a_join_keeps_to_its_terms(house: House) {
    let parts = vec![part(&house, b"con").await, part(&house, b"tent").await];
    let sha256 = |of: &[u8]| ContentDigest::from_hex(DigestAlgorithm::Sha256, &sha256_of(of)).unwrap();
    let file = NewFile { expected_digests: vec![sha256(b"other")], ..at("a") };
    let refused = house.door.join_uploads(&admin(), file, parts.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DigestMismatch);
    // The parts are there for who gave the wrong digest, or the wrong order.
    let file =
        NewFile { expected_digests: vec![sha256(b"content")], condition: KeyCondition::Absent, ..at("a") };
    let joined = house.door.join_uploads(&admin(), file, parts).await.unwrap();
    house.door.finish_upload(&admin(), joined.id, Vec::new()).await.unwrap();
    let late = NewFile { condition: KeyCondition::Absent, ..at("a") };
    let id = part(&house, b"late").await;
    let refused = house.door.join_uploads(&admin(), late, vec![id]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    let parts = vec![part(&house, b"123").await, part(&house, b"456").await];
    let small = BucketPolicy { file_size_bytes_max: Some(5), ..BucketPolicy::default() };
    house.door.update_bucket(&admin(), bucket("default"), small).await.unwrap();
    assert_eq!(join(&house, "b", &parts).await.unwrap_err().kind(), ErrorKind::TooLarge);
}

async fn what_was_joined_is_kept_until_there_is_room_for_the_file(house: House) {
    let policy = |quota| BucketPolicy { quota_bytes: Some(quota), ..BucketPolicy::default() };
    house.door.update_bucket(&admin(), bucket("default"), policy(100)).await.unwrap();
    let parts = [part(&house, b"six").await, part(&house, b" by").await];
    let joined = join(&house, "a", &parts).await.unwrap();
    house.door.update_bucket(&admin(), bucket("default"), policy(5)).await.unwrap();
    let refused = house.door.finish_upload(&admin(), joined.id, Vec::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    house.door.update_bucket(&admin(), bucket("default"), policy(6)).await.unwrap();
    let file = house.door.finish_upload(&admin(), joined.id, Vec::new()).await.unwrap().file;
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), b"six by");
}

async fn a_part_is_gone_once_what_it_was_joined_to_is(house: House) {
    let (ended, deleted) = (part(&house, b"ended").await, part(&house, b"deleted").await);
    let joined = join(&house, "a", &[ended]).await.unwrap();
    house.door.terminate_upload(&admin(), joined.id).await.unwrap();
    let joined = join(&house, "b", &[deleted]).await.unwrap();
    house.door.finish_upload(&admin(), joined.id, Vec::new()).await.unwrap();
    house.door.get_upload(&admin(), deleted).await.unwrap();
    house.door.delete_file(&admin(), FileRef::Key(bucket("default"), key("b")), None).await.unwrap();
    for part in [ended, deleted] {
        assert_eq!(house.door.get_upload(&admin(), part).await.unwrap_err().kind(), ErrorKind::Gone);
        assert_eq!(join(&house, "c", &[part]).await.unwrap_err().kind(), ErrorKind::Gone);
    }
}

async fn a_length_over_the_quota_is_refused_when_it_is_told(house: House) {
    let quota = BucketPolicy { quota_bytes: Some(10), ..BucketPolicy::default() };
    house.door.update_bucket(&admin(), bucket("default"), quota).await.unwrap();
    let refused = house.door.start_part(&admin(), bucket("default"), Some(11)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    let upload = house.door.start_upload(&admin(), at("a")).await.unwrap();
    let refused = append(&house, upload.id, 0, b"x", Some(11)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert_eq!(append(&house, upload.id, 0, b"x", Some(10)).await.unwrap().received_bytes, 1);
}

async fn parts_of_a_kind_that_the_bucket_does_not_take_become_no_file(house: House) {
    let images = BucketPolicy { media_types: vec!["image/*".to_owned()], ..BucketPolicy::default() };
    house.bucket("images", BucketPolicy { dedup_domain: Some("shared".to_owned()), ..images }).await;
    let id = house.door.start_part(&admin(), bucket("images"), Some(4)).await.unwrap().id;
    append(&house, id, 0, b"text", None).await.unwrap();
    let file = NewFile::at(bucket("images"), key("a"));
    let refused = house.door.join_uploads(&admin(), file, vec![id]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::UnsupportedMedia);
    assert_eq!(house.door.get_upload(&admin(), id).await.unwrap().state, UploadState::Open);
}

async fn a_part_that_nobody_joins_expires_and_nobody_hears_of_it(house: House) {
    let (id, whole) =
        (part(&house, b"left").await, house.door.start_upload(&admin(), at("b")).await.unwrap().id);
    let day = std::time::Duration::from_secs(86_400);
    house.advance(6 * day);
    house.storage.forget_the_past().await.unwrap();
    assert_eq!(house.door.get_upload(&admin(), whole).await.unwrap_err().kind(), ErrorKind::Gone);
    // It waits for the others, which may take days.
    house.door.get_upload(&admin(), id).await.unwrap();
    house.advance(2 * day);
    house.storage.forget_the_past().await.unwrap();
    assert_eq!(house.door.get_upload(&admin(), id).await.unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(join(&house, "a", &[id]).await.unwrap_err().kind(), ErrorKind::Gone);
    house.file("a", b"x").await;
    let mut events = house.door.watch(&admin(), EventQuery::default()).await.unwrap();
    for kind in [EventKind::UploadExpired, EventKind::FileStored] {
        let event = soon(events.next()).await.unwrap().unwrap();
        assert_eq!(event.kind(), kind);
        assert_ne!(event_json(&event).get("upload_id"), Some(&id.to_string().into()));
    }
}
