use usp_model::{FileChange, FileEvent};

use super::*;

const NOW: i64 = 9_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn file(state: FileState, released: bool) -> File {
    File { version: 3, state, released, ..crate::testing::file("a", 7) }
}

fn part(state: RunState, required: bool) -> RunPart {
    RunPart { state, required }
}

#[test]
fn one_run_makes_its_version() {
    use FileState::{Failed, Processing, Ready};
    // State of the run; state of the version if it is required, and if it is not.
    let cases = [
        (RunState::Queued, Processing, Processing),
        (RunState::Running, Processing, Processing),
        (RunState::Retrying, Processing, Processing),
        (RunState::Succeeded, Ready, Ready),
        (RunState::Dead, Failed, Ready),
        (RunState::Cancelled, Failed, Ready),
    ];
    assert_eq!(cases.len(), RunState::ALL.len());
    for (state, if_required, if_not) in cases {
        assert_eq!(state_of(&[part(state, true)]), if_required, "{state}");
        assert_eq!(state_of(&[part(state, false)]), if_not, "{state}");
    }
    assert_eq!(state_of(&[]), Ready, "without runs");
}

/// Failure before work, work before readiness, whatever the order.
#[test]
fn of_two_runs_the_graver_one_counts() {
    let grave = |state| match state {
        FileState::Failed => 2,
        FileState::Processing => 1,
        _ => 0,
    };
    let parts: Vec<_> =
        RunState::ALL.iter().flat_map(|state| [part(*state, true), part(*state, false)]).collect();
    for one in &parts {
        for other in &parts {
            let alone = [state_of(&[*one]), state_of(&[*other])];
            let expected = alone.into_iter().max_by_key(|state| grave(*state)).unwrap();
            assert_eq!(state_of(&[*one, *other]), expected, "{one:?} {other:?}");
        }
    }
}

#[test]
fn a_version_changes_if_its_runs_say_something_else() {
    use FileState::{Failed, Processing, Quarantined, Ready, Rejected, Stored, Uploading};
    use Release::{AfterSuccess, Immediate};
    let (succeeded, busy, dead) =
        (part(RunState::Succeeded, true), part(RunState::Running, true), part(RunState::Dead, true));
    // State, released and release before; its run; what it is from now on.
    let cases = [
        (Stored, true, Immediate, busy, Some((Processing, true))),
        (Processing, true, Immediate, busy, None),
        (Processing, true, Immediate, succeeded, Some((Ready, true))),
        (Processing, true, Immediate, dead, Some((Failed, true))),
        (Ready, true, Immediate, succeeded, None),
        (Ready, true, Immediate, busy, Some((Processing, true))),
        (Failed, true, Immediate, dead, None),
        (Failed, true, Immediate, busy, Some((Processing, true))),
        // Held back until it is ready, and not held back again.
        (Processing, false, AfterSuccess, busy, None),
        (Processing, false, AfterSuccess, dead, Some((Failed, false))),
        (Processing, false, AfterSuccess, succeeded, Some((Ready, true))),
        (Ready, true, AfterSuccess, busy, Some((Processing, true))),
        (Failed, false, AfterSuccess, busy, Some((Processing, false))),
        (Ready, false, AfterSuccess, succeeded, Some((Ready, true))),
        // The release alone differs.
        (Processing, false, Immediate, busy, Some((Processing, true))),
        // Decided about by something else.
        (Quarantined, false, Immediate, succeeded, None),
        (Rejected, false, Immediate, succeeded, None),
        (Uploading, false, Immediate, succeeded, None),
    ];
    for (state, released, release, run, expected) in cases {
        for is_current in [true, false] {
            let standing = Standing { file: &file(state, released), release, is_current };
            let now = roll_up(standing, &[run], at(NOW));
            let found = now.as_ref().map(|now| (now.state, now.released));
            assert_eq!(found, expected, "{state} {released} {release} {run:?}");
            let said = now.and_then(|now| now.event);
            assert_eq!(said.is_some(), expected.is_some() && is_current);
            let Some(EventBody::File(FileEvent { change, state, released, version, .. })) = said else {
                continue;
            };
            assert_eq!((Some((state, released)), version), (expected, 3));
            let word = match state {
                Ready => FileChange::Ready,
                Failed => FileChange::Failed,
                _ => FileChange::Processing,
            };
            assert_eq!(change, word);
        }
    }
}

#[test]
fn runs_have_no_say_about_versions_that_something_else_decided_about() {
    for state in FileState::ALL.iter().copied() {
        let is_left_alone =
            matches!(state, FileState::Quarantined | FileState::Rejected | FileState::Uploading);
        assert_eq!(follows_runs(state), !is_left_alone, "{state}");
    }
}
