//! Any history of calls, in any order and with any refusals, leaves a catalogue that agrees with itself and with its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;
use usp_catalog::records::{ClaimRuns, NewVersion, ReportRun, Turn};
use usp_model::{
    ErrorKind, Event, EventBody, EventQuery, FileQuery, KeyCondition, LeasedRun, Release, Result, RunId,
    RunOutcome, RunReport, StepReport, StepState, UploadId, UploadState,
};

use super::uploads::progress;
use super::world::{World, act, at, bucket, new_run};

/// Histories that are tried, and how many steps each has at most.
const HISTORY_COUNT: u32 = 10;
const STEP_COUNT_MAX: usize = 40;
const LEASE_MS: i64 = 100;

/// Numbers choose among what is there; they wrap.
#[derive(Debug, Clone)]
enum Step {
    /// Contents that arrive at once.
    Put(Vec<Put>),
    Delete {
        key: u8,
    },
    CreateUpload {
        key: u8,
    },
    Append {
        upload: usize,
        content: u8,
    },
    Complete {
        upload: usize,
        content: u8,
    },
    Terminate {
        upload: usize,
    },
    Claim {
        count: u8,
    },
    Report {
        lease: usize,
        outcome: Option<RunOutcome>,
    },
    Cancel {
        run: usize,
    },
    Retry {
        run: usize,
    },
    Wait {
        ms: u8,
    },
    Collect,
    Restart,
}

#[derive(Debug, Clone)]
struct Put {
    key: u8,
    content: u8,
    run_count: u8,
    condition: KeyCondition,
    release: Release,
}

fn put() -> impl Strategy<Value = Put> {
    let condition = prop_oneof![4 => Just(KeyCondition::Any), 1 => Just(KeyCondition::Absent)];
    let release = prop_oneof![Just(Release::Immediate), Just(Release::AfterSuccess)];
    (0..4_u8, 0..6_u8, 0..3_u8, condition, release).prop_map(
        |(key, content, run_count, condition, release)| Put { key, content, run_count, condition, release },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let number = || any::<u8>().prop_map(usize::from);
    let outcome = prop_oneof![
        Just(None),
        Just(Some(RunOutcome::Succeeded)),
        Just(Some(RunOutcome::Released)),
        any::<bool>()
            .prop_map(|is_permanent| Some(RunOutcome::Failed { reason: "no luck".to_owned(), is_permanent })),
    ];
    prop_oneof![
        6 => vec(put(), 1..5).prop_map(Step::Put),
        3 => (0..4_u8).prop_map(|key| Step::Delete { key }),
        2 => (0..4_u8).prop_map(|key| Step::CreateUpload { key }),
        2 => (number(), 0..6_u8).prop_map(|(upload, content)| Step::Append { upload, content }),
        2 => (number(), 0..6_u8).prop_map(|(upload, content)| Step::Complete { upload, content }),
        1 => number().prop_map(|upload| Step::Terminate { upload }),
        3 => (1..4_u8).prop_map(|count| Step::Claim { count }),
        4 => (number(), outcome).prop_map(|(lease, outcome)| Step::Report { lease, outcome }),
        1 => number().prop_map(|run| Step::Cancel { run }),
        2 => number().prop_map(|run| Step::Retry { run }),
        2 => any::<u8>().prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Collect),
        1 => Just(Step::Restart),
    ]
}

/// What a history has come to know, some of which is gone by now.
struct Past {
    world: World,
    ms: i64,
    uploads: Vec<(UploadId, u8)>,
    runs: Vec<RunId>,
    leases: Vec<LeasedRun>,
}

/// One of the newest: the older ones have ended, most likely.
fn chosen<T: Clone>(from: &[T], number: usize) -> Option<T> {
    from.iter().rev().nth(number.checked_rem(from.len().min(4))?).cloned()
}

/// A refusal that depends on what is there is an answer; anything else is a defect.
#[track_caller]
fn told<T>(outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            let is_answer = matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::Gone | ErrorKind::Conflict | ErrorKind::PreconditionFailed
            );
            assert!(is_answer, "{}", error.chain());
            None
        }
    }
}

impl Past {
    async fn take(mut self, step: Step) -> Self {
        self.ms += 1;
        let (catalog, act) = (Arc::clone(&self.world.catalog), || act(self.ms));
        match step {
            Step::Put(puts) => self.put(puts).await,
            Step::Delete { key } => {
                let files = catalog.list_files(&bucket("default"), every_file()).await.unwrap().files;
                if let Some(file) = files.iter().find(|file| file.key.as_str() == name(key)) {
                    catalog.delete_file(act(), &file.id, None).await.unwrap();
                }
            }
            Step::CreateUpload { key } => {
                let new = self.world.new_upload(&name(key));
                self.uploads.push((new.id, key));
                catalog.create_upload(act(), new).await.unwrap();
            }
            Step::Append { upload, content } => self.append(upload, content).await,
            Step::Complete { upload, content } => self.complete(upload, content).await,
            Step::Terminate { upload } => {
                if let Some((id, _)) = chosen(&self.uploads, upload) {
                    told(catalog.terminate_upload(act(), &id).await);
                }
            }
            Step::Claim { count } => {
                let asked = ClaimRuns {
                    count_max: u32::from(count),
                    lease_until: at(self.ms + LEASE_MS),
                    bounds: Arc::default(),
                    turn: Turn::default(),
                };
                self.leases.extend(catalog.claim_runs(act(), asked).await.unwrap().runs);
            }
            Step::Report { lease, outcome } => self.report(lease, outcome).await,
            Step::Cancel { run } => {
                if let Some(id) = chosen(&self.runs, run) {
                    told(catalog.cancel_run(act(), &id).await);
                }
            }
            Step::Retry { run } => {
                if let Some(id) = chosen(&self.runs, run) {
                    told(catalog.retry_run(act(), &id).await);
                }
            }
            Step::Wait { ms } => self.ms += i64::from(ms),
            Step::Collect => drop(self.world.collect().await),
            Step::Restart => {
                drop(catalog);
                self.world = self.world.reopened().await;
                self.world.catalog.recover(super::world::act(self.ms)).await.unwrap();
            }
        }
        self
    }

    async fn put(&mut self, puts: Vec<Put>) {
        let mut tasks = Vec::new();
        for put in puts {
            let runs: Vec<_> = (0..put.run_count).map(|_| new_run("profile")).collect();
            self.runs.extend(runs.iter().map(|run| run.id));
            let new = NewVersion {
                condition: put.condition,
                release: put.release,
                runs,
                ..self.world.new_version(&name(put.key), u64::from(put.content))
            };
            let (catalog, act) = (Arc::clone(&self.world.catalog), act(self.ms));
            tasks.push(tokio::spawn(async move { catalog.commit_version(act, new).await }));
        }
        for task in tasks {
            told(task.await.unwrap());
        }
    }

    async fn append(&mut self, upload: usize, content: u8) {
        let Some((id, _)) = chosen(&self.uploads, upload) else { return };
        let Some(record) = told(self.world.catalog.upload(&id).await) else { return };
        let chunks = vec![self.world.new_chunk(u64::from(content), 1_000)];
        told(self.world.catalog.append_upload(act(self.ms), progress(&record.upload, chunks, b"")).await);
    }

    async fn complete(&mut self, upload: usize, content: u8) {
        let Some((id, key)) = chosen(&self.uploads, upload) else { return };
        let Some(record) = told(self.world.catalog.upload(&id).await) else { return };
        let last = self.world.new_version(&name(key), u64::from(content));
        let new = NewVersion {
            upload: Some(id),
            file_id: record.upload.file_id,
            size_bytes: record.upload.received_bytes + last.size_bytes,
            ..last
        };
        told(self.world.catalog.commit_version(act(self.ms), new).await);
    }

    async fn report(&mut self, lease: usize, outcome: Option<RunOutcome>) {
        let Some(leased) = chosen(&self.leases, lease) else { return };
        let step = StepReport {
            name: "first".to_owned(),
            state: if outcome.is_some() { StepState::Succeeded } else { StepState::Running },
            percent: 50,
            error: None,
            began_ms_ago: None,
            ended_ms_ago: None,
            report: Some(serde_json::json!({ "at": self.ms })),
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        let report = RunReport { run: leased.run.id, lease_no: leased.lease_no, steps: vec![step], outcome };
        let report = ReportRun { report, lease_until: at(self.ms + LEASE_MS), jitter: 1.0 };
        self.world.catalog.report_run(act(self.ms), report).await.unwrap();
    }

    /// The whole log, in pages that end anywhere.
    async fn log(&self) -> Vec<Event> {
        let mut log: Vec<Event> = Vec::new();
        loop {
            let after = log.last().map_or(0, |event| event.seq);
            let page = EventQuery { after, limit: 3, ..EventQuery::default() };
            let page = self.world.catalog.events(page).await.unwrap();
            if page.is_empty() {
                return log;
            }
            log.extend(page);
        }
    }

    async fn assert_whole(&self) {
        self.world.assert_sound().await;
        let (catalog, log) = (&self.world.catalog, self.log().await);
        assert!((1..).zip(&log).all(|(seq, event)| event.seq == seq), "numbers have no gaps");
        assert_eq!(catalog.last_event().await.unwrap(), i64::try_from(log.len()).unwrap());
        for file in catalog.list_files(&bucket("default"), every_file()).await.unwrap().files {
            let last = log.iter().rev().find_map(|event| match &event.body {
                EventBody::File(said) if event.file_id == file.id && said.version == file.version => {
                    Some(said)
                }
                EventBody::File(_) | EventBody::Upload(_) | EventBody::Run(_) => None,
            });
            let last = last.map(|said| (said.state, said.released));
            assert_eq!(last, Some((file.state, file.released)), "{file:?}");
        }
        for id in &self.runs {
            let Some(run) = told(catalog.run(id).await) else { continue };
            let last = log.iter().rev().find_map(|event| match &event.body {
                EventBody::Run(said) if said.run_id == *id => Some(said),
                EventBody::Run(_) | EventBody::File(_) | EventBody::Upload(_) => None,
            });
            let last = last.map(|said| (said.state, said.attempt, said.next_attempt_at));
            assert_eq!(last, Some((run.state, run.attempt, run.next_attempt_at)), "{run:?}");
        }
        let mut open_count = 0;
        for (id, _) in &self.uploads {
            let found = told(catalog.upload(id).await);
            open_count += u64::from(found.is_some_and(|found| found.upload.state == UploadState::Open));
        }
        assert_eq!(catalog.totals().await.unwrap().open_uploads, open_count);
    }
}

fn name(key: u8) -> String {
    format!("key-{key}")
}

fn every_file() -> FileQuery {
    FileQuery { limit: 100, with_unreleased: true, ..FileQuery::default() }
}

pub(crate) async fn any_history_leaves_a_catalogue_that_agrees_with_itself_and_with_its_events(world: World) {
    let config = Config {
        cases: HISTORY_COUNT,
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&vec(step(), 1..STEP_COUNT_MAX), |steps| {
            runtime.block_on(async {
                let world = world.another().await;
                let mut past =
                    Past { world, ms: 0, uploads: Vec::new(), runs: Vec::new(), leases: Vec::new() };
                for step in steps {
                    past = past.take(step).await;
                }
                past.assert_whole().await;
            });
            Ok(())
        })
    });
    outcome.unwrap();
}
