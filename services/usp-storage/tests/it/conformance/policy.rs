//! What a bucket accepts, and how a refusal names all that is wrong.

use std::collections::BTreeMap;

use usp_api::{NewBucket, NewFile};
use usp_model::limits::{LABEL_COUNT_MAX, LABEL_VALUE_BYTES_MAX};
use usp_model::{BucketPolicy, Error, ErrorKind, FilePatch, FileRef, LabelKey, MediaType, Result, Violation};

use crate::support::{CHECKPOINT_BYTES, House, admin, bucket, key, label, pieces, random_bytes};

facts! {
    a_size_over_the_limit_is_refused_when_it_is_announced,
    a_content_that_grows_over_the_limit_is_refused_while_it_streams,
    a_media_type_is_judged_by_the_bytes,
    a_full_bucket_takes_nothing_until_there_is_room,
    every_label_out_of_bounds_is_named,
    a_refusal_of_many_labels_arrives_whole,
    labels_that_a_change_would_make_too_many_are_refused,
    a_policy_out_of_bounds_is_refused_with_pointers,
    the_dedup_domain_of_a_bucket_is_fixed,
    buckets_that_share_a_domain_share_chunks_and_others_do_not,
    a_bucket_is_deleted_only_when_it_is_empty,
    a_name_is_taken_once,
}

async fn small_bucket(house: &House) {
    let policy =
        BucketPolicy { file_size_bytes_max: Some(CHECKPOINT_BYTES as u64), ..BucketPolicy::default() };
    house.bucket("small", policy).await;
}

async fn a_size_over_the_limit_is_refused_when_it_is_announced(house: House) {
    small_bucket(&house).await;
    let mut file = NewFile::at(bucket("small"), key("a"));
    file.size_bytes = Some(CHECKPOINT_BYTES as u64 + 1);
    let endless = || Box::pin(futures::stream::repeat_with(|| Ok(random_bytes(1, 1_000))));
    let refused = house.door.put(&admin(), file.clone(), endless()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert_eq!(house.door.start_upload(&admin(), file).await.unwrap_err().kind(), ErrorKind::TooLarge);
}

async fn a_content_that_grows_over_the_limit_is_refused_while_it_streams(house: House) {
    small_bucket(&house).await;
    let file = NewFile::at(bucket("small"), key("a"));
    let endless = Box::pin(futures::stream::repeat_with(|| Ok(random_bytes(1, 50_000))));
    let refused = house.door.put(&admin(), file.clone(), endless).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    house.until_no_upload_is_open().await;
    assert_eq!(house.usage().await.files, 0);
    house.door.put(&admin(), file, pieces(&random_bytes(1, CHECKPOINT_BYTES))).await.unwrap();
}

async fn a_media_type_is_judged_by_the_bytes(house: House) {
    let policy = BucketPolicy { media_types: vec!["text/*".to_owned()], ..BucketPolicy::default() };
    house.bucket("texts", policy).await;
    let put = async |bytes: &[u8], declared: &str| -> Result<_> {
        let mut file = NewFile::at(bucket("texts"), key("a.csv"));
        file.declared_media_type = Some(MediaType::parse(declared).unwrap());
        house.door.put(&admin(), file, pieces(bytes)).await
    };
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";
    assert_eq!(put(png, "text/csv").await.unwrap_err().kind(), ErrorKind::UnsupportedMedia);
    let mut long = png.to_vec();
    long.extend_from_slice(&random_bytes(1, 2 * CHECKPOINT_BYTES));
    assert_eq!(put(&long, "text/csv").await.unwrap_err().kind(), ErrorKind::UnsupportedMedia);
    house.until_no_upload_is_open().await;
    let file = put(b"a,b\n1,2\n", "image/png").await.unwrap().file;
    assert_eq!(file.media_type.as_str(), "text/csv");
    assert_eq!(file.declared_media_type.unwrap().as_str(), "image/png");
}

async fn a_full_bucket_takes_nothing_until_there_is_room(house: House) {
    let policy = BucketPolicy { quota_bytes: Some(1_000), ..BucketPolicy::default() };
    house.bucket("full", policy).await;
    let put = async |at: &str, size: usize| {
        let file = NewFile::at(bucket("full"), key(at));
        house.door.put(&admin(), file, pieces(&random_bytes(size as u64, size))).await
    };
    put("a", 600).await.unwrap();
    assert_eq!(put("b", 401).await.unwrap_err().kind(), ErrorKind::StorageFull);
    // What a version replaces counts no more.
    put("a", 700).await.unwrap();
    put("b", 300).await.unwrap();
    assert_eq!(put("c", 1).await.unwrap_err().kind(), ErrorKind::StorageFull);
    house.door.delete_file(&admin(), FileRef::Key(bucket("full"), key("a")), None).await.unwrap();
    put("c", 700).await.unwrap();
}

/// So many that each way of having too many is there: too many entries, and every value too long.
fn too_many_labels() -> BTreeMap<LabelKey, String> {
    let long = "x".repeat(LABEL_VALUE_BYTES_MAX + 1);
    (0..=LABEL_COUNT_MAX).map(|index| (label(&format!("team/{index:0>100}")), long.clone())).collect()
}

fn pointers(error: &Error) -> Vec<&str> {
    error.violations().iter().map(|violation: &Violation| violation.pointer.as_str()).collect()
}

async fn every_label_out_of_bounds_is_named(house: House) {
    let mut file = NewFile::at(bucket("default"), key("a"));
    file.labels = [(label("team/name"), "x".repeat(LABEL_VALUE_BYTES_MAX + 1))].into();
    file.metadata = (0..=LABEL_COUNT_MAX).map(|index| (label(&format!("k{index}")), String::new())).collect();
    file.idempotency_key = Some(String::new());
    let refused = house.door.put(&admin(), file.clone(), pieces(b"")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(pointers(&refused), ["/labels/team~1name", "/metadata", "/idempotency_key"]);
    let refused = house.door.start_upload(&admin(), file).await.unwrap_err();
    assert_eq!(pointers(&refused).len(), 3);
}

async fn a_refusal_of_many_labels_arrives_whole(house: House) {
    let mut file = NewFile::at(bucket("default"), key("a"));
    file.labels = too_many_labels();
    file.metadata = too_many_labels();
    let refused = house.door.put(&admin(), file.clone(), pieces(b"")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(refused.violations().len(), 2 * (LABEL_COUNT_MAX + 2));
    let refused = house.door.start_upload(&admin(), file).await.unwrap_err();
    assert_eq!(refused.violations().len(), 2 * (LABEL_COUNT_MAX + 2));
}

async fn labels_that_a_change_would_make_too_many_are_refused(house: House) {
    let file = house.file("a", b"").await;
    let set = |range: std::ops::Range<usize>| FilePatch {
        labels: range.map(|index| (label(&format!("k{index}")), Some(String::new()))).collect(),
        ..FilePatch::default()
    };
    house.door.update_file(&admin(), file.id, set(0..LABEL_COUNT_MAX)).await.unwrap();
    let refused = house.door.update_file(&admin(), file.id, set(64..65)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(house.find("a").await.unwrap().labels.len(), LABEL_COUNT_MAX);
}

async fn a_policy_out_of_bounds_is_refused_with_pointers(house: House) {
    let policy = BucketPolicy {
        media_types: vec!["text/*".to_owned(), "no type".to_owned()],
        file_size_bytes_max: Some(u64::MAX),
        rules: Some(vec![crate::support::rule("audit"), crate::support::rule("unheard-of")]),
        ..BucketPolicy::default()
    };
    let wanted = ["/policy/media_types/1", "/policy/file_size_bytes_max", "/policy/rules/1"];
    let made = NewBucket { name: bucket("odd"), policy: policy.clone() };
    let refused = house.door.create_bucket(&admin(), made).await.unwrap_err();
    assert_eq!((refused.kind(), pointers(&refused)), (ErrorKind::InvalidInput, wanted.to_vec()));
    let refused = house.door.update_bucket(&admin(), bucket("default"), policy).await.unwrap_err();
    assert_eq!((refused.kind(), pointers(&refused)), (ErrorKind::InvalidInput, wanted.to_vec()));
}

async fn the_dedup_domain_of_a_bucket_is_fixed(house: House) {
    let in_domain = |name: Option<&str>| BucketPolicy {
        dedup_domain: name.map(str::to_owned),
        ..BucketPolicy::default()
    };
    house.bucket("fixed", in_domain(Some("team"))).await;
    for policy in [in_domain(None), in_domain(Some("other"))] {
        let refused = house.door.update_bucket(&admin(), bucket("fixed"), policy).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
    }
    let changed = BucketPolicy { quota_bytes: Some(7), ..in_domain(Some("team")) };
    let updated = house.door.update_bucket(&admin(), bucket("fixed"), changed.clone()).await.unwrap();
    assert_eq!(updated.policy, changed);
}

async fn buckets_that_share_a_domain_share_chunks_and_others_do_not(house: House) {
    let shared = BucketPolicy { dedup_domain: Some("team".to_owned()), ..BucketPolicy::default() };
    house.bucket("one", shared.clone()).await;
    house.bucket("two", shared).await;
    house.bucket("three", BucketPolicy::default()).await;
    let bytes = random_bytes(9, CHECKPOINT_BYTES);
    let mut new_bytes = Vec::new();
    for name in ["one", "two", "three"] {
        let file = NewFile::at(bucket(name), key("same"));
        let file = house.door.put(&admin(), file, pieces(&bytes)).await.unwrap().file;
        new_bytes.push(file.stored.bytes);
    }
    assert_eq!(new_bytes[1], 0);
    assert_eq!(new_bytes[2], new_bytes[0]);
}

async fn a_bucket_is_deleted_only_when_it_is_empty(house: House) {
    house.bucket("leaving", BucketPolicy::default()).await;
    let file = NewFile::at(bucket("leaving"), key("a"));
    let file = house.door.put(&admin(), file, pieces(b"x")).await.unwrap().file;
    let refused = house.door.delete_bucket(&admin(), bucket("leaving")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    house.door.delete_file(&admin(), FileRef::Id(file.id), None).await.unwrap();
    house.door.delete_bucket(&admin(), bucket("leaving")).await.unwrap();
    let gone = house.door.get_bucket(&admin(), bucket("leaving")).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

async fn a_name_is_taken_once(house: House) {
    house.bucket("taken", BucketPolicy::default()).await;
    let again = NewBucket { name: bucket("taken"), policy: BucketPolicy::default() };
    let refused = house.door.create_bucket(&admin(), again).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}
