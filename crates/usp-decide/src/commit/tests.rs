use usp_model::{Digest, FramePlace, PackId, RetryPolicy, RuleName};

use super::*;
use crate::testing::{digests, file};

fn chunk(size_bytes: u32) -> ChunkRef {
    let place = FramePlace { pack: PackId(1), offset: 64, stored_bytes: 10 };
    ChunkRef::New { digest: Digest::from_bytes([1; 32]), size_bytes, place }
}

/// A content of 1,000 bytes without runs.
pub(crate) fn new_version(key: &str, number: u8) -> NewVersion {
    let like = file(key, number);
    NewVersion {
        upload: None,
        file_id: FileId::from_bytes([99; 32]),
        bucket: like.bucket,
        domain: DomainId(1),
        key: like.key,
        condition: KeyCondition::Any,
        chunks: vec![chunk(600), chunk(400)],
        redo: Vec::new(),
        size_bytes: 1_000,
        digests: digests(number),
        media_type: like.media_type,
        declared_media_type: None,
        owner: UserName::parse("bob").unwrap(),
        metadata: BTreeMap::new(),
        labels: BTreeMap::new(),
        stored: StoredBytes { bytes: 70, chunks: 2, deduplicated_bytes: 5 },
        runs: Vec::new(),
        release: Release::AfterSuccess,
        derived_from: None,
        idempotency_key: None,
        quota_bytes: None,
    }
}

fn run() -> NewRun {
    NewRun {
        id: RunId::from_bytes([3; 32]),
        rule: RuleName::parse("r").unwrap(),
        rule_version: 1,
        retry: RetryPolicy::default(),
        priority: 0,
        required: true,
        steps: Vec::new(),
    }
}

fn facts(standing: Option<&File>) -> Facts<'_> {
    Facts {
        standing,
        bucket_bytes: 0,
        content: Content::Whole,
        at: Timestamp::from_unix_ms(5_000),
        nonce: 0xabc,
    }
}

#[test]
fn the_first_version_has_the_preliminary_id_and_the_next_one_keeps_it() {
    let first = decide(&new_version("a", 1), &facts(None)).unwrap();
    assert_eq!((first.file.id, first.file.version), (FileId::from_bytes([99; 32]), 1));
    assert_eq!((first.file.created_at, first.file.updated_at), (facts(None).at, facts(None).at));
    assert_eq!((first.usage.file_count, first.usage.version_count, first.usage.current_bytes), (1, 1, 1_000));
    let standing = file("a", 7);
    let next = decide(&new_version("a", 1), &facts(Some(&standing))).unwrap();
    assert_eq!((next.file.id, next.file.version), (standing.id, 2));
    assert_eq!((next.usage.file_count, next.usage.version_count, next.usage.current_bytes), (0, 1, 0));
    assert_eq!(next.file.owner, "bob", "a version is its writer's");
    assert_eq!(next.file.expires_at, None);
}

#[test]
fn equal_bytes_of_one_version_have_one_etag() {
    let etag_of = |version: &NewVersion, standing| decide(version, &facts(standing)).unwrap().file.etag;
    let one = new_version("a", 0x1a);
    let standing = file("a", 9);
    assert_eq!(etag_of(&one, None), format!("{}-1", "1a".repeat(16)));
    assert_eq!(etag_of(&one, Some(&standing)), format!("{}-2", "1a".repeat(16)));
    assert_ne!(etag_of(&one, None), etag_of(&new_version("a", 2), None));
    let without = NewVersion { digests: ContentDigests::new(), ..one };
    assert_eq!(etag_of(&without, None), "r0000000000000abc-1");
}

#[test]
fn a_condition_is_about_what_stands() {
    let key = FileKey::parse("a").unwrap();
    let matching =
        |etags: &[&str]| KeyCondition::Matches(etags.iter().map(|etag| (*etag).to_owned()).collect());
    let cases = [
        (KeyCondition::Any, None, true),
        (KeyCondition::Any, Some("e"), true),
        (KeyCondition::Absent, None, true),
        (KeyCondition::Absent, Some("e"), false),
        (matching(&["e"]), Some("e"), true),
        (matching(&["x", "e"]), Some("e"), true),
        (matching(&["x"]), Some("e"), false),
        (matching(&["E"]), Some("e"), false),
        (matching(&[]), Some("e"), true),
        (matching(&[]), None, false),
        (matching(&["e"]), None, false),
    ];
    for (condition, standing, holds) in cases {
        let checked = check_condition(&condition, standing, &key);
        assert_eq!(checked.is_ok(), holds, "{condition:?} {standing:?}");
        assert!(checked.err().is_none_or(|error| error.kind() == ErrorKind::PreconditionFailed));
    }
    let stale = NewVersion { condition: matching(&["x"]), ..new_version("a", 1) };
    let refused = decide(&stale, &facts(Some(&file("a", 1)))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
}

#[test]
fn a_quota_counts_what_is_replaced() {
    let standing = file("a", 7);
    let limited = NewVersion { quota_bytes: Some(1_500), ..new_version("a", 1) };
    let cases = [
        (500, None, true),
        (501, None, false),
        (1_500, Some(&standing), true),
        (1_501, Some(&standing), false),
    ];
    for (bucket_bytes, standing, fits) in cases {
        let decided = decide(&limited, &Facts { bucket_bytes, ..facts(standing) });
        assert_eq!(decided.is_ok(), fits, "{bucket_bytes}");
        assert!(decided.err().is_none_or(|error| error.kind() == ErrorKind::StorageFull));
    }
}

#[test]
fn what_a_version_waits_for() {
    let cases = [
        (vec![], Release::Immediate, FileState::Ready, true),
        (vec![], Release::AfterSuccess, FileState::Ready, true),
        (vec![run()], Release::Immediate, FileState::Processing, true),
        (vec![run()], Release::AfterSuccess, FileState::Processing, false),
    ];
    for (runs, release, state, released) in cases {
        let new = NewVersion { runs, release, ..new_version("a", 1) };
        let committed = decide(&new, &facts(None)).unwrap();
        assert_eq!((committed.file.state, committed.file.released), (state, released), "{release}");
        let kinds = committed.events.each_ref().map(EventBody::kind);
        let next = match state {
            FileState::Ready => usp_model::EventKind::FileReady,
            _ => usp_model::EventKind::FileProcessing,
        };
        assert_eq!(kinds, [usp_model::EventKind::FileStored, next]);
    }
}

#[test]
fn chunks_must_add_up_to_the_size_that_was_said() {
    for size_bytes in [999, 1_001] {
        let wrong = NewVersion { size_bytes, ..new_version("a", 1) };
        assert_eq!(decide(&wrong, &facts(None)).unwrap_err().kind(), ErrorKind::Internal);
    }
}

#[test]
fn an_upload_is_continued_and_its_cost_counted() {
    let session = upload::tests::session("a", 500);
    let before = ManifestSize { size_bytes: 500, chunk_count: 3 };
    let new = NewVersion { chunks: vec![chunk(500)], ..new_version("a", 1) };
    let with = |content| Facts { content, ..facts(None) };
    let committed = decide(&new, &with(Content::Upload(&session, before))).unwrap();
    assert_eq!(committed.manifest, ManifestSize { size_bytes: 1_000, chunk_count: 4 });
    assert_eq!(committed.file.stored, StoredBytes { bytes: 170, chunks: 4, deduplicated_bytes: 25 });
    let elsewhere = NewVersion { key: FileKey::parse("b").unwrap(), ..new.clone() };
    let refused = decide(&elsewhere, &with(Content::Upload(&session, before))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Internal);
    let short = ManifestSize { size_bytes: 499, ..before };
    assert_eq!(
        decide(&new, &with(Content::Upload(&session, short))).unwrap_err().kind(),
        ErrorKind::Internal
    );
}

#[test]
fn a_shared_content_costs_nothing() {
    let shared = Shared { manifest: ManifestId(5), chunk_count: 9 };
    let copy = NewVersion { chunks: Vec::new(), stored: StoredBytes::default(), ..new_version("b", 1) };
    let committed = decide(&copy, &Facts { content: Content::Shared(shared), ..facts(None) }).unwrap();
    assert_eq!(committed.manifest, ManifestSize { size_bytes: 1_000, chunk_count: 9 });
    assert_eq!(committed.file.stored, StoredBytes { bytes: 0, chunks: 9, deduplicated_bytes: 1_000 });
}

fn copy_of(source: &File) -> NewCopy {
    NewCopy {
        source: source.id,
        source_version: None,
        file_id: FileId::from_bytes([77; 32]),
        bucket: source.bucket.clone(),
        key: FileKey::parse("copy").unwrap(),
        condition: KeyCondition::Absent,
        owner: UserName::parse("bob").unwrap(),
        metadata: BTreeMap::new(),
        labels: BTreeMap::new(),
        runs: vec![run()],
        release: Release::AfterSuccess,
        idempotency_key: Some("k".to_owned()),
        quota_bytes: Some(9),
    }
}

#[test]
fn a_copy_has_the_content_of_its_source_and_terms_of_its_own() {
    let source = file("a", 3);
    let new = copied(&copy_of(&source), &source, DomainId(4)).unwrap();
    assert_eq!((new.size_bytes, &new.digests, &new.media_type), (1_000, &source.digests, &source.media_type));
    assert_eq!((new.key.as_str(), new.owner.as_str(), new.domain), ("copy", "bob", DomainId(4)));
    assert_eq!(
        (new.condition, new.runs.len(), new.release),
        (KeyCondition::Absent, 1, Release::AfterSuccess)
    );
    assert_eq!((new.idempotency_key.as_deref(), new.quota_bytes), (Some("k"), Some(9)));
    assert!(new.chunks.is_empty() && new.stored == StoredBytes::default());
}

#[test]
fn what_is_held_back_is_not_copied() {
    for state in FileState::ALL {
        for released in [true, false] {
            let source = File { state: *state, released, ..file("a", 1) };
            let may = released && !matches!(state, FileState::Quarantined | FileState::Rejected);
            let copied = copied(&copy_of(&source), &source, DomainId(1));
            assert_eq!(copied.is_ok(), may, "{state} {released}");
            assert!(copied.err().is_none_or(|error| error.kind() == ErrorKind::Conflict));
        }
    }
}
