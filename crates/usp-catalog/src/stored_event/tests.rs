use proptest::prelude::*;
use usp_model::RuleName;

use super::*;

fn key() -> FileKey {
    FileKey::parse("2026/12/bericht ä.csv").unwrap()
}

fn file(change: FileChange, state: FileState, media_type: &str) -> EventBody {
    EventBody::File(FileEvent {
        change,
        version: 300,
        size_bytes: 5_000_000_000,
        media_type: MediaType::parse(media_type).unwrap(),
        state,
        released: state == FileState::Ready,
    })
}

fn run(change: RunChange, state: RunState) -> EventBody {
    EventBody::Run(RunEvent {
        change,
        run_id: RunId::from_bytes([7; 32]),
        rule: RuleName::parse("profile").unwrap(),
        rule_version: 2,
        version: 1,
        state,
        attempt: 3,
        step: Some("first".to_owned()),
        error: Some(String::new()),
        next_attempt_at: Some(Timestamp::from_unix_ms(1_800_000_000_000)),
        trace: None,
    })
}

fn upload(change: UploadChange, size_bytes: Option<u64>) -> EventBody {
    EventBody::Upload(UploadEvent {
        change,
        upload_id: UploadId::from_bytes([9; 32]),
        size_bytes,
        received_bytes: 4_096,
    })
}

fn kept() -> Vec<EventBody> {
    vec![
        upload(UploadChange::Created, None),
        upload(UploadChange::Completed { version: 4 }, Some(4_096)),
        upload(UploadChange::Expired, Some(0)),
        upload(UploadChange::Terminated, Some(u64::MAX - 1)),
        file(FileChange::Stored, FileState::Stored, "text/csv"),
        file(FileChange::Processing, FileState::Processing, "x/y"),
        file(FileChange::Ready, FileState::Ready, "application/octet-stream"),
        file(FileChange::Failed, FileState::Failed, "audio/mpeg"),
        file(FileChange::Quarantined, FileState::Quarantined, "audio/mpeg"),
        file(FileChange::Rejected, FileState::Rejected, "audio/mpeg"),
        file(FileChange::Deleted, FileState::Ready, "audio/mpeg"),
        run(RunChange::Queued, RunState::Queued),
        run(RunChange::Started, RunState::Running),
        run(RunChange::Retrying, RunState::Retrying),
        run(RunChange::Succeeded, RunState::Succeeded),
        run(RunChange::Dead, RunState::Dead),
        run(RunChange::Cancelled, RunState::Cancelled),
    ]
}

#[test]
fn every_kind_that_is_kept_reads_back_as_it_was_written() {
    let kept = kept();
    let mut kinds: Vec<_> = kept.iter().map(EventBody::kind).collect();
    kinds.sort_unstable();
    let all: Vec<_> = EventKind::ALL.iter().copied().filter(|kind| kind.is_kept()).collect();
    assert_eq!(kinds, all, "a kind is missing here");
    for body in kept {
        let mask = mask_of([body.kind()]);
        let bytes = encode(&key(), std::slice::from_ref(&body)).unwrap();
        assert_eq!(decode(mask, &bytes).unwrap(), (key(), vec![body]));
    }
}

#[test]
fn a_file_that_is_ready_at_once_has_both_events_in_one_short_row() {
    let both = [
        file(FileChange::Stored, FileState::Stored, "application/octet-stream"),
        file(FileChange::Ready, FileState::Ready, "application/octet-stream"),
    ];
    let bytes = encode(&key(), &both).unwrap();
    assert_eq!(bytes.len(), 15 + key().as_str().len());
    let mask = mask_of(both.iter().map(EventBody::kind));
    assert_eq!(decode(mask, &bytes).unwrap().1, both);
}

/// A query finds a row by the kinds that it says, and numbers follow from how many they are.
#[test]
fn a_row_whose_kinds_are_not_those_of_its_events_is_refused() {
    let both = [
        file(FileChange::Stored, FileState::Stored, "text/csv"),
        file(FileChange::Ready, FileState::Ready, "text/csv"),
    ];
    let bytes = encode(&key(), &both).unwrap();
    let mut twice = bytes.clone();
    twice[5] = twice[3];
    let mut none = bytes.clone();
    none.drain(3..7);
    none[2] = 0;
    let (stored, ready) = (EventKind::FileStored, EventKind::FileReady);
    let cases: [(&[u8], &[EventKind], bool); 9] = [
        (&bytes, &[stored, ready], true),
        (&bytes, &[stored], false),
        (&bytes, &[ready], false),
        (&bytes, &[], false),
        (&bytes, &[stored, ready, EventKind::FileFailed], false),
        (&bytes, &[stored, EventKind::FileFailed], false),
        (&twice, &[stored], false),
        (&none, &[], false),
        (&none, &[stored], false),
    ];
    for (bytes, kinds, expected) in cases {
        let decoded = decode(mask_of(kinds.iter().copied()), bytes);
        assert_eq!(decoded.is_ok(), expected, "{kinds:?}");
        assert!(decoded.err().is_none_or(|error| error.kind() == ErrorKind::Corrupt));
    }
}

#[test]
fn events_of_different_objects_do_not_share_a_row() {
    let first = file(FileChange::Stored, FileState::Stored, "text/csv");
    let other = file(FileChange::Ready, FileState::Ready, "text/plain");
    let queued = run(RunChange::Queued, RunState::Queued);
    for bodies in
        [vec![], vec![first.clone(), other], vec![first.clone(), first.clone()], vec![first, queued]]
    {
        assert_eq!(encode(&key(), &bodies).unwrap_err().kind(), ErrorKind::Internal);
    }
}

/// Bodies as versions before 8 left them, with the key that the migration adds.
#[test]
fn rows_of_older_versions_are_read() {
    let file = r#"{"key":"a","version":1,"size":3,"state":"ready","media_type":"text/csv","released":true}"#;
    let (key, bodies) = decode(mask_of([EventKind::FileReady]), file.as_bytes()).unwrap();
    assert_eq!(key.as_str(), "a");
    assert_eq!(bodies.first().map(EventBody::kind), Some(EventKind::FileReady));
    let id = RunId::from_bytes([1; 32]);
    let run = format!(
        r#"{{"key":"a","run_id":"{id}","rule":"r","rule_version":1,"version":1,"state":"dead","attempt":3,"error":"e"}}"#
    );
    let (_, bodies) = decode(mask_of([EventKind::RunDead]), run.as_bytes()).unwrap();
    assert!(
        matches!(bodies.as_slice(), [EventBody::Run(run)] if run.run_id == id && run.error.as_deref() == Some("e"))
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kinds in any::<i64>(), bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
        drop(decode(kinds, &bytes));
        for body in kept() {
            let mut written = encode(&key(), &[body]).unwrap();
            written.truncate(at);
            drop(decode(kinds, &written));
        }
    }
}
