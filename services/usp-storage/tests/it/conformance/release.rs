//! Files that wait for their release: who sees them meanwhile, and who does not.

use usp_api::ReadFile;
use usp_model::{
    ErrorKind, FileQuery, FileRef, FileState, ReportOutcome, Role, RunOutcome, RunQuery, RunState,
};

use crate::support::{House, admin, bucket, in_bucket, key, worker};

facts! {
    an_unreleased_file_is_hidden_from_readers_and_its_content_from_writers,
    success_of_all_runs_releases_the_file,
    a_dead_run_keeps_the_file_back,
    a_new_version_that_waits_does_not_show_through_the_old_one,
}

async fn an_unreleased_file_is_hidden_from_readers_and_its_content_from_writers(house: House) {
    let file = house.file("gated/a", b"suspicious").await;
    assert!(!file.released);
    assert_eq!(file.state, FileState::Processing);
    let reader = in_bucket("bob", "default", Role::Reader);
    let by_key = FileRef::Key(bucket("default"), key("gated/a"));
    for named in [FileRef::Id(file.id), by_key] {
        let hidden = house.door.get_file(&reader, named.clone(), None).await.unwrap_err();
        assert_eq!(hidden.kind(), ErrorKind::NotFound);
        assert_eq!(house.read(&reader, named).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(house.door.file_status(&reader, file.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(house.door.list_versions(&reader, file.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    let query = FileQuery { limit: 10, with_unreleased: true, ..FileQuery::default() };
    let seen = house.door.list_files(&reader, bucket("default"), query.clone()).await.unwrap();
    assert!(seen.files.is_empty(), "what a caller claims to see does not count");

    let runs = house.door.list_runs(&reader, RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap();
    assert!(runs.runs.is_empty(), "a run tells of its file");

    let writer = in_bucket("alice", "default", Role::Writer);
    let run = house.door.file_status(&writer, file.id).await.unwrap().runs[0].id;
    assert_eq!(house.door.get_run(&reader, run).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(house.door.get_run(&writer, run).await.unwrap().id, run);
    assert_eq!(house.door.get_file(&writer, FileRef::Id(file.id), None).await.unwrap(), file);
    assert_eq!(house.door.file_status(&writer, file.id).await.unwrap().runs.len(), 2);
    let seen = house.door.list_files(&writer, bucket("default"), query).await.unwrap();
    assert_eq!(seen.files.len(), 1);
    assert_eq!(house.read(&writer, FileRef::Id(file.id)).await.unwrap_err().kind(), ErrorKind::Locked);
    for trusted in [in_bucket("carol", "default", Role::Manager), worker()] {
        assert_eq!(house.read(&trusted, FileRef::Id(file.id)).await.unwrap(), b"suspicious");
    }
}

async fn success_of_all_runs_releases_the_file(house: House) {
    let file = house.file("gated/a", b"harmless").await;
    let reader = in_bucket("bob", "default", Role::Reader);
    for left in [1, 0] {
        let leased = house.lease().await;
        let held = house.report(&leased, Vec::new(), Some(RunOutcome::Succeeded)).await;
        assert_eq!(held, ReportOutcome::Held { run_cancelled: false });
        let seen = house.door.get_file(&reader, FileRef::Id(file.id), None).await;
        assert_eq!(seen.is_ok(), left == 0);
    }
    let file = house.find("gated/a").await.unwrap();
    assert_eq!((file.state, file.released), (FileState::Ready, true));
    assert_eq!(house.read(&reader, FileRef::Id(file.id)).await.unwrap(), b"harmless");
}

async fn a_dead_run_keeps_the_file_back(house: House) {
    let file = house.file("gated/a", b"harmful").await;
    let leased = house.lease().await;
    let failed = RunOutcome::Failed { reason: "a virus".to_owned(), is_permanent: true };
    house.report(&leased, Vec::new(), Some(failed)).await;
    let leased = house.lease().await;
    house.report(&leased, Vec::new(), Some(RunOutcome::Succeeded)).await;
    let file = house.door.get_file(&admin(), FileRef::Id(file.id), None).await.unwrap();
    assert_eq!((file.state, file.released), (FileState::Failed, false));
    let reader = in_bucket("bob", "default", Role::Reader);
    let hidden = house.door.get_file(&reader, FileRef::Id(file.id), None).await.unwrap_err();
    assert_eq!(hidden.kind(), ErrorKind::NotFound);
    let runs = house.door.file_status(&admin(), file.id).await.unwrap().runs;
    assert_eq!(runs.iter().filter(|run| run.state == RunState::Dead).count(), 1);
}

async fn a_new_version_that_waits_does_not_show_through_the_old_one(house: House) {
    house.file("gated/a", b"first").await;
    for _ in 0..2 {
        let leased = house.lease().await;
        house.report(&leased, Vec::new(), Some(RunOutcome::Succeeded)).await;
    }
    let second = house.file("gated/a", b"second").await;
    let reader = in_bucket("bob", "default", Role::Reader);
    for version in [None, Some(2)] {
        let read =
            ReadFile { file: FileRef::Id(second.id), version, range: None, coding: usp_api::Coding::Plain };
        assert_eq!(house.door.read(&reader, read).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let first = house.door.get_file(&reader, FileRef::Id(second.id), Some(1)).await.unwrap();
    assert!(first.released);
}
