use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use rusqlite::ffi;
use tempfile::TempDir;
use usp_model::{EventBody, FileId, FileKey, Timestamp, UploadChange, UploadEvent, UploadId};

use super::*;
use crate::sqlite::events::{self, Subject};
use crate::sqlite::schema;

struct Fixture {
    dir: TempDir,
    writer: Writer,
    faults: Arc<AtomicUsize>,
    /// COMMIT makes its transaction durable and says that it failed.
    commits_fail: Arc<AtomicBool>,
}

fn fixture() -> Fixture {
    fixture_with(|| {})
}

/// `on_fault` runs on the writer's thread.
fn fixture_with(on_fault: impl Fn() + Send + Sync + 'static) -> Fixture {
    let dir = TempDir::new().unwrap();
    let mut conn = schema::open_writer(&dir.path().join("catalog.db"), 1_024).unwrap();
    conn.busy_timeout(Duration::ZERO).unwrap();
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&faults);
    let fault: FaultHook = Arc::new(move |_fault| {
        counted.fetch_add(1, Ordering::SeqCst);
        on_fault();
    });
    let (logged, commits_fail) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let (noted, fails) = (Arc::clone(&logged), Arc::clone(&commits_fail));
    conn.wal_hook(Some(move |_log: &mut Wal, pages| {
        noted.store(i64::from(pages), Ordering::Relaxed);
        // What the hook says is what COMMIT says, although all is on the disk by then.
        if fails.load(Ordering::SeqCst) { Err(rusqlite::Error::InvalidQuery) } else { Ok(()) }
    }))
    .unwrap();
    let writer = Writer::over(conn, logged, 0, fault, CatalogMetrics::default()).unwrap();
    Fixture { dir, writer, faults, commits_fail }
}

fn act() -> Act {
    Act::duty("test", Timestamp::from_unix_ms(0))
}

fn note(tx: &Tx<'_>, name: &str) -> Outcome<()> {
    tx.run("INSERT INTO meta (name, value) VALUES (?1, 0)", [name])?;
    Ok(())
}

fn sqlite_fails<T>(code: i32) -> Outcome<T> {
    Err(Fail::Sql(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)))
}

impl Fixture {
    async fn note(&self, name: &'static str) -> Result<()> {
        self.writer.write("note", act(), move |tx| note(tx, name)).await
    }

    /// What a connection of its own finds on the disk.
    fn noted(&self) -> Vec<String> {
        let conn = Connection::open(self.dir.path().join("catalog.db")).unwrap();
        let sql = "SELECT name FROM meta WHERE name LIKE 'note%' ORDER BY name";
        conn.all(sql, [], |row| Ok(row.get(0)?)).unwrap()
    }

    /// Holds the writer inside a job until the sender is used, so that later jobs gather into one group.
    async fn held(&self) -> std::sync::mpsc::Sender<()> {
        let (release, gate) = std::sync::mpsc::channel();
        let (entered, has_entered) = oneshot::channel();
        let job = self.writer.write("hold", act(), move |_tx| {
            entered.send(()).unwrap();
            gate.recv().unwrap();
            Ok(())
        });
        // Polled once to hand the job over; its answer does not matter.
        let mut job = Box::pin(job);
        tokio::select! {
            biased;
            _ = &mut job => unreachable!("the gate is closed"),
            entered = has_entered => entered.unwrap(),
        }
        release
    }
}

#[tokio::test]
async fn a_job_that_fails_takes_back_its_own_changes_and_no_others() {
    let fixture = fixture();
    let gate = fixture.held().await;
    let failing = fixture.writer.write("fail", act(), |tx| {
        note(tx, "note-failed")?;
        Err::<(), _>(Error::new(ErrorKind::Conflict, "fail").into())
    });
    let panicking = fixture.writer.write("panic", act(), |tx| {
        note(tx, "note-panicked")?;
        if tx.is_autocommit() { Ok(()) } else { panic!("on purpose") }
    });
    let release = async { gate.send(()).unwrap() };
    let (before, failed, panicked, after, ()) =
        tokio::join!(fixture.note("note-1"), failing, panicking, fixture.note("note-2"), release);
    assert!(before.is_ok() && after.is_ok());
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(fixture.noted(), ["note-1", "note-2"]);
    assert_eq!(fixture.faults.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_fault_refuses_its_whole_group_and_all_that_follows_and_is_told_once() {
    for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
        let fixture = fixture();
        fixture.note("note-0").await.unwrap();
        let gate = fixture.held().await;
        let fault = fixture.writer.write("fault", act(), move |_tx| sqlite_fails::<()>(code));
        let release = async { gate.send(()).unwrap() };
        let (before, at, after, ()) =
            tokio::join!(fixture.note("note-1"), fault, fixture.note("note-2"), release);
        for outcome in [before, at, after, fixture.note("note-3").await] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        let again = fixture.writer.write("fault", act(), move |_tx| sqlite_fails::<()>(code)).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(fixture.noted(), ["note-0"]);
        assert_eq!(fixture.faults.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_commit_that_fails_behind_its_mark_is_open_for_all_whose_work_had_succeeded() {
    let fixture = fixture();
    let gate = fixture.held().await;
    fixture.commits_fail.store(true, Ordering::SeqCst);
    let failing = fixture.writer.write("fail", act(), |tx| {
        note(tx, "note-failed")?;
        Err::<(), _>(Error::new(ErrorKind::Conflict, "fail").into())
    });
    let release = async { gate.send(()).unwrap() };
    let (before, failed, after, ()) =
        tokio::join!(fixture.note("note-1"), failing, fixture.note("note-2"), release);
    for outcome in [before, after] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert!(error.detail().contains("look whether it is there before you send it again"), "{error}");
    }
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Conflict, "what failed by itself is not there");
    assert_eq!(fixture.noted(), ["note-1", "note-2"], "here they came to be");
    fixture.commits_fail.store(false, Ordering::SeqCst);
    fixture.note("note-3").await.unwrap();
    assert_eq!(fixture.faults.load(Ordering::SeqCst), 0, "it was no failure of the disk");
}

#[tokio::test]
async fn work_of_a_writer_that_died_is_open_and_work_that_comes_later_is_refused() {
    let fixture = fixture_with(|| panic!("on purpose"));
    let gate = fixture.held().await;
    let fault = fixture.writer.write("fault", act(), |_tx| sqlite_fails::<()>(ffi::SQLITE_IOERR_WRITE));
    let release = async { gate.send(()).unwrap() };
    let (before, at, after, ()) =
        tokio::join!(fixture.note("note-1"), fault, fixture.note("note-2"), release);
    for outcome in [before, at, after] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    }
    // It answers nobody any more before its line is closed.
    while !fixture.writer.thread.as_ref().unwrap().is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.note("note-3").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fixture.noted(), Vec::<String>::new());
}

#[tokio::test]
async fn a_group_that_cannot_begin_is_refused_and_the_next_one_is_not() {
    let fixture = fixture();
    let other = Connection::open(fixture.dir.path().join("catalog.db")).unwrap();
    other.run("BEGIN IMMEDIATE", []).unwrap();
    assert_eq!(fixture.note("note-1").await.unwrap_err().kind(), ErrorKind::Unavailable);
    other.run("ROLLBACK", []).unwrap();
    fixture.note("note-2").await.unwrap();
    assert_eq!(fixture.noted(), ["note-2"]);
    assert_eq!(fixture.faults.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_after_it() {
    let fixture = fixture();
    let full = fixture.writer.write("fill", act(), |tx| {
        let pages: i64 = tx.pragma_query_value(None, "page_count", |row| row.get(0))?;
        tx.pragma_update(None, "max_page_count", pages + 2)?;
        note(tx, "note-full")?;
        tx.run("INSERT INTO meta (name, value) VALUES (hex(randomblob(100000)), 0)", [])?;
        Ok(())
    });
    assert_eq!(full.await.unwrap_err().kind(), ErrorKind::StorageFull);
    fixture.note("note-1").await.unwrap();
    assert_eq!(fixture.noted(), ["note-1"]);
    assert_eq!(fixture.faults.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn followers_hear_of_events_only_after_they_are_committed() {
    let fixture = fixture();
    let mut events = fixture.writer.events();
    let path = fixture.dir.path().join("catalog.db");
    let seen = Arc::new(Mutex::new(None));
    let emit = |tx: &Tx<'_>| {
        let id = UploadId::from_bytes([0; 32]);
        let body =
            UploadEvent { change: UploadChange::Created, upload_id: id, size_bytes: None, received_bytes: 0 };
        let file = FileId::from_bytes([0; 32]);
        events::emit(tx, 1, Subject::Upload(&file), &FileKey::parse("a")?, &[EventBody::Upload(body)])
    };
    let follower = async {
        events.changed().await.unwrap();
        let conn = Connection::open(path).unwrap();
        *seen.lock() = conn.one("SELECT max(seq) FROM events", [], |row| Ok(row.get::<_, i64>(0)?)).unwrap();
    };
    let (written, ()) = tokio::join!(fixture.writer.write("emit", act(), emit), follower);
    written.unwrap();
    assert_eq!(*seen.lock(), Some(1));
    let taken_back = fixture.writer.write("emit", act(), move |tx| {
        emit(tx)?;
        Err::<(), _>(Error::new(ErrorKind::Conflict, "fail").into())
    });
    assert!(taken_back.await.is_err());
    assert!(!events.has_changed().unwrap());
}

#[tokio::test]
async fn the_log_is_cut_back_and_never_grows_without_bound() {
    const ROW_BYTES: i64 = 1 << 20;
    let fixture = fixture();
    let mut largest = 0;
    for number in 0..100 {
        let written = fixture.writer.write("fill", act(), move |tx| {
            let sql = "INSERT INTO meta (name, value) VALUES (?1 || hex(randomblob(?2)), 0)";
            tx.run(sql, (format!("fill-{number}-"), ROW_BYTES / 2))?;
            Ok(())
        });
        written.await.unwrap();
        let wal = std::fs::metadata(fixture.dir.path().join("catalog.db-wal")).unwrap();
        largest = largest.max(wal.len());
    }
    assert!(largest > 1 << 20, "{largest}");
    assert!(largest < 16 << 20, "{largest}");
    let Fixture { dir, writer, .. } = fixture;
    drop(writer);
    assert!(!dir.path().join("catalog.db-wal").exists(), "the last connection tidies up");
}

#[tokio::test]
async fn work_that_was_taken_is_done_although_its_caller_went_away() {
    let fixture = fixture();
    let gate = fixture.held().await;
    {
        let mut abandoned = Box::pin(fixture.note("note-1"));
        tokio::select! {
            biased;
            _ = &mut abandoned => unreachable!("the writer is held"),
            () = std::future::ready(()) => {}
        }
    }
    gate.send(()).unwrap();
    fixture.note("note-2").await.unwrap();
    assert_eq!(fixture.noted(), ["note-1", "note-2"]);
}

#[tokio::test]
async fn a_job_alone_has_a_transaction_to_itself() {
    let fixture = fixture();
    let gate = fixture.held().await;
    let before = fixture.note("note-1-before");
    let kept = fixture.writer.write_alone("keep", act(), |tx| note(tx, "note-2-alone"));
    let failing = fixture.writer.write_alone("fail", act(), |tx| {
        note(tx, "note-3-failed")?;
        Err::<(), _>(Error::new(ErrorKind::Conflict, "fail").into())
    });
    let panicking = fixture.writer.write_alone("panic", act(), |tx| {
        note(tx, "note-4-panicked")?;
        if tx.is_autocommit() { Ok(()) } else { panic!("on purpose") }
    });
    let after = fixture.note("note-5-after");
    let seen = fixture.writer.write("look", act(), |tx| {
        tx.all("SELECT name FROM meta WHERE name LIKE 'note%' ORDER BY name", [], |row| {
            Ok(row.get::<_, String>(0)?)
        })
    });
    let (before, kept, failed, panicked, after, seen, ()) =
        tokio::join!(before, kept, failing, panicking, after, seen, async { gate.send(()).unwrap() });
    before.unwrap();
    kept.unwrap();
    after.unwrap();
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Internal);
    let kept = ["note-1-before", "note-2-alone", "note-5-after"];
    assert_eq!(
        (seen.unwrap(), fixture.noted()),
        (kept.map(str::to_owned).to_vec(), kept.map(str::to_owned).to_vec())
    );
    assert_eq!(fixture.faults.load(Ordering::SeqCst), 0);
}
