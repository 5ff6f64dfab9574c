//! Conditions on what stands under a key, and requests that are sent twice.

use std::time::Duration;

use futures::future::join_all;
use usp_api::NewFile;
use usp_model::{ErrorKind, FilePatch, FileRef, KeyCondition, Role};

use crate::support::{House, admin, bucket, in_all_buckets, key, label, pieces, random_bytes};

facts! {
    absent_takes_a_key_once,
    of_many_puts_on_an_absent_key_one_wins,
    matches_takes_only_the_version_that_stands,
    a_condition_that_cannot_hold_is_refused_before_the_content,
    a_file_is_changed_and_deleted_only_as_its_condition_says,
    an_idempotency_key_answers_with_what_it_made,
    an_idempotency_key_belongs_to_its_caller_and_its_file,
    an_idempotency_key_is_forgotten_after_a_day,
}

fn under(condition: KeyCondition) -> NewFile {
    NewFile { condition, ..NewFile::at(bucket("default"), key("a")) }
}

fn repeatable(at: &str, idempotency_key: &str) -> NewFile {
    NewFile { idempotency_key: Some(idempotency_key.to_owned()), ..NewFile::at(bucket("default"), key(at)) }
}

async fn absent_takes_a_key_once(house: House) {
    let root = admin();
    let put = |bytes| house.door.put(&root, under(KeyCondition::Absent), pieces(bytes));
    let first = put(b"first").await.unwrap();
    assert!(first.is_new_file);
    assert_eq!(put(b"second").await.unwrap_err().kind(), ErrorKind::PreconditionFailed);
    assert_eq!(house.find("a").await.unwrap(), first.file);
    house.door.delete_file(&admin(), FileRef::Id(first.file.id), None).await.unwrap();
    assert!(put(b"third").await.unwrap().is_new_file);
}

async fn of_many_puts_on_an_absent_key_one_wins(house: House) {
    const COUNT: usize = 10;
    let root = admin();
    let puts = (0..COUNT).map(|seed| {
        let content = pieces(&random_bytes(seed as u64, 10_000));
        house.door.put(&root, under(KeyCondition::Absent), content)
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(puts).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, COUNT - 1));
    for refused in lost {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PreconditionFailed);
    }
    assert_eq!(house.find("a").await.unwrap().version, 1);
}

async fn matches_takes_only_the_version_that_stands(house: House) {
    let root = admin();
    let put = |etags: &[&str]| {
        let etags = etags.iter().map(|etag| (*etag).to_owned()).collect();
        house.door.put(&root, under(KeyCondition::Matches(etags)), pieces(b"next"))
    };
    let refused = |outcome: usp_model::Result<usp_api::PutOutcome>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::PreconditionFailed);
    };
    refused(put(&[]).await);
    let first = house.file("a", b"first").await;
    refused(put(&["another"]).await);
    let second = put(&["another", &first.etag]).await.unwrap();
    assert_eq!((second.is_new_file, second.file.version), (false, 2));
    assert_ne!(second.file.etag, first.etag);
    refused(put(&[&first.etag]).await);
    assert_eq!(put(&[]).await.unwrap().file.version, 3);
}

async fn a_condition_that_cannot_hold_is_refused_before_the_content(house: House) {
    house.file("a", b"first").await;
    let endless = futures::stream::repeat_with(|| Ok(random_bytes(1, 1_000)));
    let refused = house.door.put(&admin(), under(KeyCondition::Absent), Box::pin(endless)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
}

async fn a_file_is_changed_and_deleted_only_as_its_condition_says(house: House) {
    let file = house.file("a", b"first").await;
    let stale = Some(vec!["stale".to_owned()]);
    let patch = |condition_etags| FilePatch {
        labels: [(label("team"), Some("sales".to_owned()))].into(),
        condition_etags,
        ..FilePatch::default()
    };
    let refused = house.door.update_file(&admin(), file.id, patch(stale.clone())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    let refused = house.door.delete_file(&admin(), FileRef::Id(file.id), stale).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(house.find("a").await.unwrap(), file);
    let holds = Some(vec![file.etag.clone()]);
    let patched = house.door.update_file(&admin(), file.id, patch(holds.clone())).await.unwrap();
    assert_eq!(patched.labels[&label("team")], "sales");
    house.door.delete_file(&admin(), FileRef::Id(file.id), Some(vec![patched.etag])).await.unwrap();
    assert_eq!(house.find("a").await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn an_idempotency_key_answers_with_what_it_made(house: House) {
    let bytes = random_bytes(1, 2 << 20);
    let first = house.door.put(&admin(), repeatable("a", "once"), pieces(&bytes)).await.unwrap();
    let again = house.door.put(&admin(), repeatable("a", "once"), pieces(&bytes)).await.unwrap();
    assert!(first.is_new_file && !again.is_new_file);
    assert_eq!(again.file, first.file);
    let usage = house.usage().await;
    assert_eq!((usage.files, usage.versions), (1, 1));
    house.until_no_upload_is_open().await;
}

async fn an_idempotency_key_belongs_to_its_caller_and_its_file(house: House) {
    house.door.put(&admin(), repeatable("a", "once"), pieces(b"hers")).await.unwrap();
    let elsewhere = house.door.put(&admin(), repeatable("b", "once"), pieces(b"hers")).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::Conflict);
    let bob = in_all_buckets("bob", Role::Writer);
    let his = house.door.put(&bob, repeatable("b", "once"), pieces(b"his")).await.unwrap();
    assert!(his.is_new_file);
}

async fn an_idempotency_key_is_forgotten_after_a_day(house: House) {
    house.door.put(&admin(), repeatable("a", "once"), pieces(b"first")).await.unwrap();
    house.advance(Duration::from_secs(24 * 60 * 60));
    let later = house.door.put(&admin(), repeatable("a", "once"), pieces(b"second")).await.unwrap();
    assert_eq!(later.file.version, 2);
}
