use super::*;
use crate::testing::file;

const NOW: i64 = 1_000_000_000_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOW + ms)
}

fn id(number: u8) -> UploadId {
    UploadId::from_bytes([number; 32])
}

/// An open, announced session with so many bytes, all of them in chunks.
pub(crate) fn session(key: &str, received_bytes: u64) -> Session {
    let like = file(key, 1);
    let upload = Upload {
        id: id(1),
        file_id: FileId::from_bytes([4; 32]),
        bucket: like.bucket,
        key: like.key,
        size_bytes: None,
        received_bytes,
        state: UploadState::Open,
        shape: UploadShape::Whole,
        declared_media_type: None,
        metadata: BTreeMap::new(),
        labels: BTreeMap::new(),
        owner: "alice".to_owned(),
        created_at: at(0),
        expires_at: at(10),
    };
    let stored = StoredBytes { bytes: 100, chunks: 3, deduplicated_bytes: 20 };
    Session { upload, is_announced: true, stored, tail_bytes: 0, is_joined: false, domain: DomainId(1) }
}

fn in_state(state: UploadState) -> Session {
    let session = session("a", 100);
    Session { upload: Upload { state, ..session.upload }, ..session }
}

#[test]
fn a_session_ends_when_it_was_idle_for_its_time() {
    assert_eq!(expires_at(at(1), Duration::from_secs(60), false), at(60_001));
    assert_eq!(expires_at(at(1), Duration::from_secs(60), true), at(420_001));
    assert!(expires_at(at(1), Duration::MAX, true) > at(1), "a time that is not counted");
    let (mine, other) = (HashSet::from([id(1)]), HashSet::from([id(2)]));
    let none = HashSet::new();
    let cases = [
        (UploadState::Open, 9, &none, false),
        (UploadState::Open, 10, &none, true),
        (UploadState::Open, 10, &other, true),
        (UploadState::Open, 10, &mine, false),
        (UploadState::Completed, 10, &none, false),
        (UploadState::Terminated, 10, &none, false),
        (UploadState::Expired, 10, &none, false),
    ];
    for (state, now, receiving, over) in cases {
        assert_eq!(is_over(&in_state(state).upload, at(now), receiving), over, "{state} {now}");
    }
}

#[test]
fn bytes_put_the_end_of_a_part_off_for_longer() {
    let (part, size) = part(1);
    let more = UploadProgress { chunks: Vec::new(), ..progress(50, 50) };
    let (upload, _) = append(&part, size, &more, at(5)).unwrap();
    assert_eq!(upload.expires_at, at(5 + 7 * 15));
}

#[test]
fn what_is_left_of_a_session() {
    let announced = session("a", 1);
    let quiet = Session { is_announced: false, ..announced.clone() };
    for state in [UploadState::Expired, UploadState::Terminated, UploadState::Completed] {
        assert_eq!(end(&announced, state), Remains::Row(state));
        assert_eq!(end(&quiet, state), Remains::Nothing);
    }
    assert!(ends_at_start(&quiet) && !ends_at_start(&announced));
    let ended = Session { upload: Upload { state: UploadState::Expired, ..quiet.upload.clone() }, ..quiet };
    assert!(!ends_at_start(&ended));
    for state in UploadState::ALL {
        assert_eq!(ends_with_replay(&in_state(*state).upload), *state == UploadState::Open, "{state}");
    }
    let (own, standing) = (FileId::from_bytes([1; 32]), FileId::from_bytes([2; 32]));
    assert_eq!((file_id(own, None), file_id(own, Some(standing))), (own, standing));
}

#[test]
fn what_ended_is_remembered_for_a_week() {
    const WEEK: i64 = 7 * 24 * 60 * 60 * 1_000;
    let own = FileId::from_bytes([4; 32]);
    let other = FileId::from_bytes([5; 32]);
    let cases = [
        (UploadState::Expired, None, 10 + WEEK, true),
        (UploadState::Expired, None, 9 + WEEK, false),
        (UploadState::Open, None, 10 + WEEK, false),
        (UploadState::Completed, None, 10 + WEEK, true),
        (UploadState::Completed, Some(&own), 10 + WEEK, true),
        (UploadState::Completed, Some(&other), 10 + WEEK, false),
    ];
    for (state, became, now, forgotten) in cases {
        assert_eq!(is_forgotten(&in_state(state).upload, became, at(now)), forgotten, "{state} {now}");
    }
}

#[test]
fn only_an_open_session_takes_bytes() {
    let cases = [
        (UploadState::Open, None),
        (UploadState::Completed, Some(ErrorKind::Conflict)),
        (UploadState::Terminated, Some(ErrorKind::Gone)),
        (UploadState::Expired, Some(ErrorKind::Gone)),
    ];
    for (state, refused) in cases {
        let session = in_state(state);
        let kinds = [
            check_open("test", &session.upload).err(),
            check_commit(&session, &session.upload.bucket, &session.upload.key).err(),
            announce_size(&session.upload, 100).err(),
            append(&session, ManifestSize::default(), &progress(100, 100), at(5))
                .err()
                .filter(|_| refused.is_some()),
        ];
        for error in kinds {
            assert_eq!(error.map(|error| error.kind()), refused, "{state}");
        }
    }
}

#[test]
fn a_client_hears_of_open_and_completed_sessions() {
    let state = JoinedTo::State;
    let cases = [
        (UploadState::Open, None, true),
        (UploadState::Completed, None, true),
        (UploadState::Terminated, None, false),
        (UploadState::Expired, None, false),
        (UploadState::Completed, Some(state(UploadState::Open)), true),
        (UploadState::Completed, Some(state(UploadState::Completed)), true),
        (UploadState::Completed, Some(state(UploadState::Terminated)), false),
        (UploadState::Completed, Some(state(UploadState::Expired)), false),
        (UploadState::Completed, Some(JoinedTo::Gone), false),
    ];
    for (state, joined, known) in cases {
        let checked = check_known("test", &in_state(state).upload, joined);
        assert_eq!(checked.is_ok(), known, "{state} {joined:?}");
        assert!(checked.err().is_none_or(|error| error.kind() == ErrorKind::Gone));
    }
}

fn progress(offset: u64, received_bytes: u64) -> UploadProgress {
    UploadProgress {
        id: id(1),
        offset,
        received_bytes,
        chunks: Vec::new(),
        redo: Vec::new(),
        resume: ResumePoint::default(),
        stored: StoredBytes { bytes: 1, chunks: 1, deduplicated_bytes: 1 },
        idle_max: Duration::from_millis(15),
    }
}

#[test]
fn bytes_continue_where_the_session_ends() {
    let session = session("a", 100);
    let manifest = ManifestSize { size_bytes: 90, chunk_count: 3 };
    let with_tail = |offset, received, tail: usize| UploadProgress {
        resume: ResumePoint { tail: vec![0; tail], ..ResumePoint::default() },
        ..progress(offset, received)
    };
    let cases = [
        (with_tail(100, 110, 20), None),
        (with_tail(100, 100, 10), None),
        (with_tail(99, 110, 20), Some(ErrorKind::PreconditionFailed)),
        (with_tail(101, 110, 20), Some(ErrorKind::PreconditionFailed)),
        (with_tail(100, 110, 19), Some(ErrorKind::Internal)),
        (with_tail(100, 110, 21), Some(ErrorKind::Internal)),
        (with_tail(100, 99, 9), Some(ErrorKind::Internal)),
    ];
    for (progress, refused) in cases {
        let decided = append(&session, manifest, &progress, at(5));
        match decided {
            Ok((upload, stored)) => {
                assert_eq!(refused, None);
                assert_eq!((upload.received_bytes, upload.expires_at), (progress.received_bytes, at(20)));
                assert_eq!(stored, StoredBytes { bytes: 101, chunks: 4, deduplicated_bytes: 21 });
            }
            Err(error) => assert_eq!(Some(error.kind()), refused, "{progress:?}"),
        }
    }
}

#[test]
fn a_size_is_said_once() {
    let open = session("a", 100).upload;
    let sized = Upload { size_bytes: Some(200), ..open.clone() };
    let cases = [
        (&open, 100, true),
        (&open, 99, false),
        (&sized, 200, true),
        (&sized, 201, false),
        (&sized, 199, false),
    ];
    for (upload, size_bytes, may) in cases {
        match announce_size(upload, size_bytes) {
            Ok(after) => assert_eq!((after.size_bytes, may), (Some(size_bytes), true)),
            Err(error) => assert_eq!((error.kind(), may), (ErrorKind::InvalidInput, false), "{size_bytes}"),
        }
    }
}

#[test]
fn a_commit_completes_the_session_of_its_key() {
    let session = session("a", 100);
    let (bucket, key) = (session.upload.bucket.clone(), session.upload.key.clone());
    assert!(check_commit(&session, &bucket, &key).is_ok());
    let other_key = check_commit(&session, &bucket, &FileKey::parse("b").unwrap()).unwrap_err();
    let other_bucket = check_commit(&session, &BucketName::parse("other").unwrap(), &key).unwrap_err();
    assert_eq!([other_key.kind(), other_bucket.kind()], [ErrorKind::Internal; 2]);
}

fn part(number: u8) -> (Session, ManifestSize) {
    let session = session("a", 50);
    let upload = Upload { id: id(number), shape: UploadShape::Part, size_bytes: Some(50), ..session.upload };
    (Session { upload, ..session }, ManifestSize { size_bytes: 50, chunk_count: 2 })
}

fn new_upload() -> NewUpload {
    let like = session("a", 0).upload;
    NewUpload {
        id: id(9),
        file_id: like.file_id,
        bucket: like.bucket,
        domain: DomainId(1),
        key: like.key,
        size_bytes: None,
        declared_media_type: None,
        metadata: BTreeMap::new(),
        labels: BTreeMap::new(),
        terms: UploadTerms::default(),
        is_part: false,
        owner: UserName::parse("alice").unwrap(),
        idle_max: Duration::from_millis(10),
        is_announced: true,
    }
}

#[test]
fn whole_parts_become_one_upload() {
    let Join::Now(size, stored) =
        join(&new_upload(), &[id(1), id(2)], &[part(1), part(2)], None, b"s").unwrap()
    else {
        panic!("they were not joined before");
    };
    assert_eq!(size, ManifestSize { size_bytes: 100, chunk_count: 4 });
    assert_eq!(stored, StoredBytes { bytes: 200, chunks: 6, deduplicated_bytes: 40 });
}

#[test]
fn what_is_no_whole_part_is_refused_by_its_number() {
    let spoil = |change: &dyn Fn(&mut Session)| {
        let (mut session, size) = part(2);
        change(&mut session);
        (session, size)
    };
    let cases = [
        (
            spoil(&|part| part.upload.shape = UploadShape::Whole),
            ErrorKind::Conflict,
            "was not begun as a part",
        ),
        (spoil(&|part| part.is_joined = true), ErrorKind::Conflict, "another upload already"),
        (spoil(&|part| part.upload.state = UploadState::Expired), ErrorKind::Conflict, "is expired"),
        (spoil(&|part| part.domain = DomainId(2)), ErrorKind::Conflict, "another dedup domain"),
        (spoil(&|part| part.upload.size_bytes = None), ErrorKind::Conflict, "is not complete"),
        (spoil(&|part| part.upload.size_bytes = Some(51)), ErrorKind::Conflict, "is not complete"),
        (spoil(&|part| part.tail_bytes = 1), ErrorKind::Internal, "not cut"),
    ];
    for (spoilt, kind, words) in cases {
        let refused = join(&new_upload(), &[id(1), id(2)], &[part(1), spoilt], None, b"s").unwrap_err();
        assert_eq!(refused.kind(), kind, "{words}");
        assert!(refused.detail().contains(words), "{}", refused.detail());
        assert!(kind == ErrorKind::Internal || refused.detail().starts_with("part 2 "));
    }
    let undigested = join(&new_upload(), &[id(1)], &[part(1)], None, b"").unwrap_err();
    assert_eq!(undigested.kind(), ErrorKind::Internal);
}

#[test]
fn the_same_wish_again_answers_as_before() {
    let joined =
        Upload { id: id(8), shape: UploadShape::Joined(vec![id(1), id(2)]), ..session("a", 100).upload };
    let before = JoinedBefore { upload: joined.clone(), expected_digests: Vec::new() };
    let ended_parts = || {
        [1, 2].map(|number| {
            let (session, size) = part(number);
            (Session { is_joined: true, ..session }, size)
        })
    };
    let ask = |new: &NewUpload, ids: &[UploadId], before: &JoinedBefore| match join(
        new,
        ids,
        &ended_parts(),
        Some(before),
        b"s",
    ) {
        Ok(Join::Before(upload)) => Ok(upload.id),
        Ok(Join::Now(..)) => panic!("parts were joined twice"),
        Err(error) => Err(error.kind()),
    };
    let ids = [id(1), id(2)];
    assert_eq!(ask(&new_upload(), &ids, &before), Ok(id(8)));
    let other = [
        ask(&new_upload(), &[id(2), id(1)], &before),
        ask(&NewUpload { key: FileKey::parse("b").unwrap(), ..new_upload() }, &ids, &before),
        ask(&NewUpload { bucket: BucketName::parse("other").unwrap(), ..new_upload() }, &ids, &before),
        ask(&NewUpload { owner: UserName::parse("bob").unwrap(), ..new_upload() }, &ids, &before),
    ];
    assert_eq!(other, [Err(ErrorKind::Conflict); 4]);
    let digest = ContentDigest::from_hex(usp_model::DigestAlgorithm::Sha256, &"ab".repeat(32)).unwrap();
    let terms = UploadTerms { expected_digests: vec![digest], ..UploadTerms::default() };
    assert_eq!(ask(&NewUpload { terms, ..new_upload() }, &ids, &before), Err(ErrorKind::Conflict));
    for (state, expected) in [
        (UploadState::Completed, Ok(id(8))),
        (UploadState::Terminated, Err(ErrorKind::Gone)),
        (UploadState::Expired, Err(ErrorKind::Gone)),
    ] {
        let ended = JoinedBefore { upload: Upload { state, ..joined.clone() }, expected_digests: Vec::new() };
        assert_eq!(ask(&new_upload(), &ids, &ended), expected, "{state}");
    }
}

#[test]
fn events_are_of_announced_sessions_that_become_files() {
    let announced = session("a", 1);
    let quiet = Session { is_announced: false, ..announced.clone() };
    let part = part(1).0;
    for (session, told) in [(&announced, true), (&quiet, false), (&part, false)] {
        assert_eq!(event(session, UploadChange::Created).is_some(), told);
    }
    let file = file("a", 1);
    assert!(completed_event(&quiet, &file).is_none());
    let Some(EventBody::Upload(completed)) = completed_event(&announced, &file) else { panic!("no event") };
    assert_eq!(completed.change, UploadChange::Completed { version: 1 });
    assert_eq!((completed.size_bytes, completed.received_bytes), (Some(1_000), 1_000));
}
