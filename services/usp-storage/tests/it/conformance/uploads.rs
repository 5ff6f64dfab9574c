//! Resumable sessions: any number of pieces, breaks and hands; one file in the end.

use bytes::Bytes;
use usp_api::{AppendUpload, NewFile};
use usp_model::{
    ContentDigest, DigestAlgorithm, ErrorKind, FileRef, FileState, KeyCondition, Role, Upload, UploadId,
    UploadState,
};

use crate::support::{
    CHECKPOINT_BYTES, House, admin, broken_after, bucket, eventually, in_bucket, key, pieces, random_bytes,
    rule, sha256_of, tap,
};

facts! {
    odd_pieces_make_the_same_file_as_one_put,
    what_arrived_before_a_break_counts,
    what_arrived_before_the_caller_went_away_counts,
    an_append_at_another_offset_is_refused,
    a_second_append_at_once_has_to_wait,
    an_append_to_a_full_disk_says_so,
    an_upload_that_receives_does_not_expire,
    a_terminated_upload_is_gone,
    an_upload_that_lacks_bytes_cannot_finish,
    an_upload_finishes_once,
    bytes_beyond_the_announced_size_are_refused,
    a_digest_that_differs_leaves_the_upload_open,
    the_preliminary_id_leads_to_the_file_that_the_upload_became,
    the_status_of_a_file_begins_with_its_first_byte,
    an_upload_without_bytes_is_an_empty_file,
    an_upload_over_the_quota_stays_open,
    an_upload_keeps_to_the_terms_it_was_opened_with,
    an_upload_that_could_never_be_finished_is_not_opened,
}

async fn start(house: &House, at: &str, size_bytes: Option<u64>) -> Upload {
    let file = NewFile { size_bytes, ..NewFile::at(bucket("default"), key(at)) };
    house.door.start_upload(&admin(), file).await.unwrap()
}

async fn append(house: &House, id: UploadId, offset: u64, bytes: &[u8]) -> usp_model::Result<Upload> {
    house.door.append(&admin(), AppendUpload { id, offset, size_bytes: None }, pieces(bytes)).await
}

async fn received(house: &House, id: UploadId) -> u64 {
    house.door.get_upload(&admin(), id).await.unwrap().received_bytes
}

async fn odd_pieces_make_the_same_file_as_one_put(house: House) {
    let bytes = random_bytes(1, 5 * CHECKPOINT_BYTES + 12_345);
    let at_once = house.file("at-once", &bytes).await;
    let upload = start(&house, "in-pieces", None).await;
    let mut offset = 0_usize;
    for step in [0, 1, 4_095, 31, 700_001, 8_192, 300_000, usize::MAX] {
        let end = offset.saturating_add(step).min(bytes.len());
        let after = append(&house, upload.id, offset as u64, &bytes[offset..end]).await.unwrap();
        assert_eq!(after.received_bytes, end as u64);
        offset = end;
    }
    let digest = ContentDigest::from_hex(DigestAlgorithm::Sha256, &sha256_of(&bytes)).unwrap();
    let finished = house.door.finish_upload(&admin(), upload.id, vec![digest]).await.unwrap();
    assert!(finished.is_new_file);
    let file = finished.file;
    assert_eq!(file.digests, at_once.digests);
    assert_eq!((file.size_bytes, file.stored.chunks), (at_once.size_bytes, at_once.stored.chunks));
    assert_eq!(file.stored.bytes, 0, "every chunk stood already: the cuts are the same");
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), bytes);
}

async fn what_arrived_before_a_break_counts(house: House) {
    let bytes = random_bytes(2, 2 * CHECKPOINT_BYTES + 1_000);
    let upload = start(&house, "broken", Some(bytes.len() as u64)).await;
    let half = bytes.len() / 2;
    let content = broken_after(&bytes[..half]);
    let append_first = AppendUpload { id: upload.id, offset: 0, size_bytes: None };
    let error = house.door.append(&admin(), append_first, content).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    // Over a wire the caller may hear of the break before storage has written down what arrived.
    let offset = eventually("what arrived", async || {
        Some(received(&house, upload.id).await).filter(|received| *received > 0)
    })
    .await;
    assert_eq!(offset, half as u64);
    append(&house, upload.id, offset, &bytes[half..]).await.unwrap();
    let file = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap().file;
    assert_eq!(file.digests[&DigestAlgorithm::Sha256], sha256_of(&bytes));
}

async fn what_arrived_before_the_caller_went_away_counts(house: House) {
    let bytes = random_bytes(3, CHECKPOINT_BYTES + 1_000);
    let upload = start(&house, "left", Some(bytes.len() as u64)).await;
    let (mut tap, content) = tap();
    let door = house.door.clone();
    let appending = tokio::spawn(async move {
        door.append(&admin(), AppendUpload { id: upload.id, offset: 0, size_bytes: None }, content)
            .await
            .map(drop)
    });
    tap.pour(&bytes[..CHECKPOINT_BYTES + 500]).await;
    // The checkpoint on the way.
    eventually("a checkpoint", async || (received(&house, upload.id).await > 0).then_some(())).await;
    appending.abort();
    drop(tap);
    let mut offset = received(&house, upload.id).await;
    let file = eventually("the rest to be taken", async || {
        let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap();
        match append(&house, upload.id, offset, rest).await {
            Ok(_) => Some(house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap().file),
            // The broken append may still be on its way out.
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Locked | ErrorKind::PreconditionFailed));
                offset = received(&house, upload.id).await;
                None
            }
        }
    })
    .await;
    assert_eq!(file.digests[&DigestAlgorithm::Sha256], sha256_of(&bytes));
}

async fn an_append_at_another_offset_is_refused(house: House) {
    let upload = start(&house, "a", None).await;
    append(&house, upload.id, 0, b"0123456789").await.unwrap();
    for offset in [0, 9, 11] {
        let refused = append(&house, upload.id, offset, b"x").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PreconditionFailed, "offset {offset}");
    }
    assert_eq!(received(&house, upload.id).await, 10);
}

async fn an_append_to_a_full_disk_says_so(house: House) {
    let upload = start(&house, "a", None).await;
    append(&house, upload.id, 0, b"begun").await.unwrap();
    let more = random_bytes(4, 8 * CHECKPOINT_BYTES);
    house.set_full(true);
    assert_eq!(append(&house, upload.id, 5, &more).await.unwrap_err().kind(), ErrorKind::StorageFull);
    house.set_full(false);
    let offset = received(&house, upload.id).await;
    append(&house, upload.id, offset, &more[usize::try_from(offset - 5).unwrap()..]).await.unwrap();
    let stored = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap().file;
    let read = house.read(&admin(), FileRef::Id(stored.id)).await.unwrap();
    assert_eq!(read, [b"begun".as_slice(), &more].concat());
}

/// However slowly; one that nothing arrives in expires meanwhile.
async fn an_upload_that_receives_does_not_expire(house: House) {
    let (idle, upload) = (start(&house, "idle", None).await, start(&house, "a", None).await);
    let (mut tap, content) = tap();
    let door = house.door.clone();
    let appending = tokio::spawn(async move {
        door.append(&admin(), AppendUpload { id: upload.id, offset: 0, size_bytes: None }, content).await
    });
    tap.pour(&random_bytes(5, CHECKPOINT_BYTES)).await;
    eventually("the append to be at work", async || (received(&house, upload.id).await > 0).then_some(()))
        .await;
    house.advance(std::time::Duration::from_secs(2 * 86_400));
    house.storage.forget_the_past().await.unwrap();
    assert_eq!(house.door.get_upload(&admin(), idle.id).await.unwrap_err().kind(), ErrorKind::Gone);
    tap.pour(b"more").await;
    drop(tap);
    assert_eq!(appending.await.unwrap().unwrap().received_bytes, CHECKPOINT_BYTES as u64 + 4);
}

async fn a_second_append_at_once_has_to_wait(house: House) {
    let upload = start(&house, "a", None).await;
    let (mut tap, content) = tap();
    let door = house.door.clone();
    let first = tokio::spawn(async move {
        door.append(&admin(), AppendUpload { id: upload.id, offset: 0, size_bytes: None }, content).await
    });
    tap.pour(&random_bytes(1, CHECKPOINT_BYTES)).await;
    eventually("the first append to be at work", async || {
        (received(&house, upload.id).await > 0).then_some(())
    })
    .await;
    let offset = received(&house, upload.id).await;
    let locked = append(&house, upload.id, offset, b"x").await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked);
    assert!(locked.retry_after_hint().is_some());
    let bob = in_bucket("bob", "elsewhere", Role::Admin);
    let unseen = house.door.terminate_upload(&bob, upload.id).await.unwrap_err();
    assert_eq!(unseen.kind(), ErrorKind::NotFound, "a stranger does not hear that bytes arrive");
    let locked = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked);
    let locked = house.door.terminate_upload(&admin(), upload.id).await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked);
    drop(tap);
    let received_bytes = first.await.unwrap().unwrap().received_bytes;
    assert_eq!(received_bytes, CHECKPOINT_BYTES as u64);
    append(&house, upload.id, received_bytes, b"x").await.unwrap();
}

async fn a_terminated_upload_is_gone(house: House) {
    let upload = start(&house, "a", None).await;
    append(&house, upload.id, 0, b"some bytes").await.unwrap();
    house.door.terminate_upload(&admin(), upload.id).await.unwrap();
    assert_eq!(house.door.get_upload(&admin(), upload.id).await.unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(append(&house, upload.id, 10, b"x").await.unwrap_err().kind(), ErrorKind::Gone);
    let gone = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
    let gone = house.door.terminate_upload(&admin(), upload.id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
    let gone = house.door.file_status(&admin(), upload.file_id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(house.open_uploads().await, 0);
}

async fn an_upload_that_lacks_bytes_cannot_finish(house: House) {
    let upload = start(&house, "a", Some(10)).await;
    append(&house, upload.id, 0, b"012345678").await.unwrap();
    let refused = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    append(&house, upload.id, 9, b"9").await.unwrap();
    house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap();
}

async fn an_upload_finishes_once(house: House) {
    let upload = start(&house, "a", None).await;
    append(&house, upload.id, 0, b"content").await.unwrap();
    house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap();
    let again = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert_eq!(append(&house, upload.id, 7, b"x").await.unwrap_err().kind(), ErrorKind::Conflict);
    let again = house.door.terminate_upload(&admin(), upload.id).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    let upload = house.door.get_upload(&admin(), upload.id).await.unwrap();
    assert_eq!((upload.state, upload.received_bytes), (UploadState::Completed, 7));
    assert_eq!(house.find("a").await.unwrap().version, 1);
}

async fn bytes_beyond_the_announced_size_are_refused(house: House) {
    let upload = start(&house, "a", Some(10)).await;
    append(&house, upload.id, 0, b"01234").await.unwrap();
    assert_eq!(append(&house, upload.id, 5, b"567890").await.unwrap_err().kind(), ErrorKind::TooLarge);
    let offset = received(&house, upload.id).await;
    assert_eq!(offset, 5);
    append(&house, upload.id, offset, b"56789").await.unwrap();
    let file = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap().file;
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), b"0123456789");
    // Nor do those complete it that came before: the last of them may be in a piece of their own.
    let upload = start(&house, "b", Some(10)).await;
    let content =
        futures::stream::iter([&b"01234"[..], b"56789", b"!"].map(|piece| Ok(Bytes::from_static(piece))));
    let append = AppendUpload { id: upload.id, offset: 0, size_bytes: None };
    let refused = house.door.append(&admin(), append, Box::pin(content)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert_eq!(received(&house, upload.id).await, 5);
}

async fn a_digest_that_differs_leaves_the_upload_open(house: House) {
    let upload = start(&house, "a", None).await;
    append(&house, upload.id, 0, b"content").await.unwrap();
    let wrong = ContentDigest::new(DigestAlgorithm::Sha256, vec![0; 32]).unwrap();
    let refused = house.door.finish_upload(&admin(), upload.id, vec![wrong]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DigestMismatch);
    assert_eq!(house.find("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    append(&house, upload.id, 7, b" and more").await.unwrap();
    let right = ContentDigest::from_hex(DigestAlgorithm::Sha256, &sha256_of(b"content and more")).unwrap();
    house.door.finish_upload(&admin(), upload.id, vec![right]).await.unwrap();
}

async fn the_preliminary_id_leads_to_the_file_that_the_upload_became(house: House) {
    let (first, second) = (start(&house, "a", None).await, start(&house, "a", None).await);
    assert_ne!(first.file_id, second.file_id);
    for upload in [&first, &second] {
        append(&house, upload.id, 0, upload.id.to_string().as_bytes()).await.unwrap();
    }
    let made = house.door.finish_upload(&admin(), first.id, Vec::new()).await.unwrap().file;
    assert_eq!(made.id, first.file_id);
    let became = house.door.finish_upload(&admin(), second.id, Vec::new()).await.unwrap().file;
    assert_eq!((became.id, became.version), (made.id, 2));
    // The file that stands keeps its id; whoever holds the preliminary one finds it.
    let found = house.door.get_file(&admin(), FileRef::Id(second.file_id), None).await.unwrap();
    assert_eq!(found, became);
    let status = house.door.file_status(&admin(), second.file_id).await.unwrap();
    assert_eq!((status.file_id, status.state), (made.id, FileState::Ready));
    let bytes = house.read(&admin(), FileRef::Id(second.file_id)).await.unwrap();
    assert_eq!(bytes, second.id.to_string().as_bytes());
    // A session that is begun now knows the id at once.
    assert_eq!(start(&house, "a", None).await.file_id, made.id);
}

async fn the_status_of_a_file_begins_with_its_first_byte(house: House) {
    let upload = start(&house, "audited/a", Some(10)).await;
    let status = house.door.file_status(&admin(), upload.file_id).await.unwrap();
    assert_eq!((status.state, status.upload.received_bytes), (FileState::Uploading, 0));
    append(&house, upload.id, 0, b"01234").await.unwrap();
    let reader = in_bucket("bob", "default", Role::Reader);
    let status = house.door.file_status(&reader, upload.file_id).await.unwrap();
    assert_eq!((status.upload.received_bytes, status.upload.size_bytes), (5, Some(10)));
    append(&house, upload.id, 5, b"56789").await.unwrap();
    house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap();
    let status = house.door.file_status(&reader, upload.file_id).await.unwrap();
    assert_eq!((status.state, status.runs.len()), (FileState::Processing, 1));
}

async fn an_upload_without_bytes_is_an_empty_file(house: House) {
    let upload = start(&house, "empty", None).await;
    let file = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap().file;
    assert_eq!((file.size_bytes, file.stored.chunks), (0, 0));
    assert_eq!(file.digests[&DigestAlgorithm::Sha256], sha256_of(b""));
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), b"");
}

async fn an_upload_over_the_quota_stays_open(house: House) {
    let policy = usp_model::BucketPolicy { quota_bytes: Some(5), ..usp_model::BucketPolicy::default() };
    house.bucket("full", policy).await;
    let file = NewFile::at(bucket("full"), key("a"));
    let upload = house.door.start_upload(&admin(), file).await.unwrap();
    append(&house, upload.id, 0, b"six by").await.unwrap();
    let refused = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    let policy = usp_model::BucketPolicy { quota_bytes: Some(6), ..usp_model::BucketPolicy::default() };
    house.door.update_bucket(&admin(), bucket("full"), policy).await.unwrap();
    house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap();
    // What says that it will not fit need not be sent; in place of what stands it may.
    let announced =
        |at: &str, size| NewFile { size_bytes: Some(size), ..NewFile::at(bucket("full"), key(at)) };
    let opened = house.door.start_upload(&admin(), announced("b", 1)).await;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::StorageFull);
    let put = house.door.put(&admin(), announced("b", 1), pieces(b"")).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::StorageFull);
    house.door.start_upload(&admin(), announced("a", 6)).await.unwrap();
}

async fn an_upload_keeps_to_the_terms_it_was_opened_with(house: House) {
    let digest = ContentDigest::from_hex(DigestAlgorithm::Sha256, &sha256_of(b"content")).unwrap();
    let terms = NewFile {
        condition: KeyCondition::Absent,
        expected_digests: vec![digest],
        rule: Some(rule("by-hand")),
        ..NewFile::at(bucket("default"), key("a"))
    };
    let (first, second) = (
        house.door.start_upload(&admin(), terms.clone()).await.unwrap(),
        house.door.start_upload(&admin(), terms).await.unwrap(),
    );
    append(&house, first.id, 0, b"con").await.unwrap();
    let refused = house.door.finish_upload(&admin(), first.id, Vec::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DigestMismatch);
    append(&house, first.id, 3, b"tent").await.unwrap();
    append(&house, second.id, 0, b"content").await.unwrap();
    let file = house.door.finish_upload(&admin(), first.id, Vec::new()).await.unwrap().file;
    assert_eq!(house.lease().await.file.id, file.id);
    let refused = house.door.finish_upload(&admin(), second.id, Vec::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(house.find("a").await.unwrap().version, 1);
}

async fn an_upload_that_could_never_be_finished_is_not_opened(house: House) {
    house.file("a", b"stands").await;
    let plain = NewFile::at(bucket("default"), key("a"));
    let md5 = ContentDigest::new(DigestAlgorithm::Md5, vec![0; 16]).unwrap();
    for (file, kind) in [
        (NewFile { condition: KeyCondition::Absent, ..plain.clone() }, ErrorKind::PreconditionFailed),
        (NewFile { rule: Some(rule("unheard-of")), ..plain.clone() }, ErrorKind::NotFound),
        (NewFile { expected_digests: vec![md5], ..plain }, ErrorKind::InvalidInput),
    ] {
        assert_eq!(house.door.start_upload(&admin(), file).await.unwrap_err().kind(), kind);
    }
    assert_eq!(house.open_uploads().await, 0);
}
