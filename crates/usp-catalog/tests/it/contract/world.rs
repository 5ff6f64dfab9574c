//! A fresh catalogue, and short forms for what facts put into it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Engine;
use usp_catalog::Catalog;
use usp_catalog::records::{CommittedVersion, NewRun, NewUpload, NewVersion, UploadTerms};
use usp_model::{
    Act, BucketName, BucketPolicy, ChunkId, ChunkRef, Digest, DigestAlgorithm, DomainId, Error, ErrorKind,
    Event, EventKind, EventQuery, FileId, FileKey, FramePlace, KeyCondition, LabelKey, ManifestId, MediaType,
    PackId, Release, RetryPolicy, Rule, RuleName, RuleStep, RunId, StoredBytes, Timestamp, UploadId,
    UserName,
};

pub(crate) struct World {
    pub(crate) catalog: Arc<dyn Catalog>,
    engine: Box<dyn Engine>,
    /// Of bucket `default`.
    domain: DomainId,
    /// Where the next frame stands in its pack.
    next_offset: AtomicU64,
    pub(crate) pack: PackId,
}

/// The clock of most tests stands here; they say later times as `at(ms)`.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + ms)
}

/// A change at `at(ms)`.
pub(crate) fn act(ms: i64) -> Act {
    Act::duty("test", at(ms))
}

pub(crate) fn bucket(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}

pub(crate) fn key(text: &str) -> FileKey {
    FileKey::parse(text).unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(crate) fn tags(entries: &[(&str, &str)]) -> BTreeMap<LabelKey, String> {
    entries.iter().map(|(name, value)| (LabelKey::parse(name).unwrap(), (*value).to_owned())).collect()
}

/// The kind of the error that must have come.
#[track_caller]
pub(crate) fn kind_of<T: std::fmt::Debug>(outcome: Result<T, Error>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

/// A digest that differs from those of other numbers.
pub(crate) fn digest(number: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Digest::from_bytes(bytes)
}

pub(crate) fn rule_name(name: &str) -> RuleName {
    RuleName::parse(name).unwrap()
}

pub(crate) fn rule(name: &str) -> Rule {
    let step = |name: &str| RuleStep {
        name: name.to_owned(),
        uses: "profile".to_owned(),
        with: BTreeMap::new(),
        timeout_s: 60,
    };
    Rule {
        name: rule_name(name),
        description: String::new(),
        version: 1,
        when: "true".to_owned(),
        steps: vec![step("first"), step("second")],
        retry: RetryPolicy::default(),
        timeout_s: 60,
        priority: 0,
        concurrency: None,
        release: None,
        required: true,
    }
}

/// A run of `rule` with three attempts.
pub(crate) fn new_run(rule: &str) -> NewRun {
    NewRun {
        id: RunId::random().unwrap(),
        rule: rule_name(rule),
        rule_version: 1,
        retry: RetryPolicy { attempts_max: 3, ..RetryPolicy::default() },
        priority: 0,
        required: true,
        steps: vec![("first".to_owned(), "profile".to_owned()), ("second".to_owned(), "profile".to_owned())],
    }
}

impl World {
    /// With bucket `default`, one open pack and rule `profile`.
    pub(crate) async fn over(engine: Box<dyn Engine>) -> Self {
        let catalog = engine.open().await;
        catalog.create_bucket(act(0), bucket("default"), BucketPolicy::default()).await.unwrap();
        catalog.put_rule(act(0), rule("profile")).await.unwrap();
        let pack = catalog.begin_pack(act(0)).await.unwrap();
        let domain = catalog.bucket(&bucket("default")).await.unwrap().domain;
        Self { catalog, engine, domain, next_offset: AtomicU64::new(4_096), pack }
    }

    /// Another one of the same engine.
    pub(crate) async fn another(&self) -> Self {
        Self::over(self.engine.fresh().await).await
    }

    /// The same, closed and opened again.
    pub(crate) async fn reopened(self) -> Self {
        let Self { catalog, engine, .. } = self;
        drop(catalog);
        let catalog = engine.open().await;
        Self { catalog, engine, ..self }
    }

    pub(crate) async fn domain_of(&self, name: &str) -> DomainId {
        self.catalog.bucket(&bucket(name)).await.unwrap().domain
    }

    pub(crate) fn new_upload(&self, text: &str) -> NewUpload {
        NewUpload {
            terms: UploadTerms::default(),
            id: UploadId::random().unwrap(),
            file_id: FileId::random().unwrap(),
            bucket: bucket("default"),
            domain: self.domain,
            key: key(text),
            size_bytes: None,
            declared_media_type: None,
            metadata: BTreeMap::new(),
            labels: BTreeMap::new(),
            owner: user("alice"),
            idle_max: Duration::from_millis(1_000),
            is_announced: true,
            is_part: false,
        }
    }

    /// A chunk that was appended to the open pack.
    pub(crate) fn new_chunk(&self, number: u64, size_bytes: u32) -> ChunkRef {
        let stored_bytes = size_bytes / 2 + 1;
        let offset = self.next_offset.fetch_add(u64::from(stored_bytes), Ordering::Relaxed);
        let place = FramePlace { pack: self.pack, offset, stored_bytes };
        ChunkRef::New { digest: digest(number), size_bytes, place }
    }

    /// A hit on a chunk that was collected meanwhile, and its pack with it.
    pub(crate) fn gone_chunk(&self, id: i64, size_bytes: u32) -> ChunkRef {
        let place = FramePlace { pack: PackId(self.pack.0 + 1_000), offset: 64, stored_bytes: 100 };
        ChunkRef::Known { id: ChunkId(id), digest: digest(u64::MAX), size_bytes, place }
    }

    /// A content of one chunk; equal numbers mean equal bytes.
    pub(crate) fn new_version(&self, text: &str, number: u64) -> NewVersion {
        let size_bytes = 1_000;
        NewVersion {
            upload: None,
            file_id: FileId::random().unwrap(),
            bucket: bucket("default"),
            domain: self.domain,
            key: key(text),
            condition: KeyCondition::Any,
            chunks: vec![self.new_chunk(number, size_bytes)],
            redo: Vec::new(),
            size_bytes: u64::from(size_bytes),
            digests: [(DigestAlgorithm::Sha256, digest(number).to_string())].into(),
            media_type: MediaType::parse("text/csv").unwrap(),
            declared_media_type: None,
            owner: user("alice"),
            metadata: BTreeMap::new(),
            labels: BTreeMap::new(),
            stored: StoredBytes { bytes: 501, chunks: 1, deduplicated_bytes: 0 },
            runs: Vec::new(),
            release: Release::Immediate,
            derived_from: None,
            idempotency_key: None,
            quota_bytes: None,
        }
    }

    pub(crate) async fn put(&self, text: &str, number: u64) -> CommittedVersion {
        self.catalog.commit_version(act(0), self.new_version(text, number)).await.unwrap()
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        self.catalog.events(EventQuery { limit: 1_000, ..EventQuery::default() }).await.unwrap()
    }

    pub(crate) async fn event_kinds(&self) -> Vec<EventKind> {
        self.events().await.iter().map(|event| event.kind()).collect()
    }

    /// Contents, versions and sums agree with each other.
    pub(crate) async fn assert_sound(&self) {
        let mut findings = self.catalog.check_file().await.unwrap();
        let mut after = Some(ManifestId(0));
        while let Some(manifest) = after {
            let check = self.catalog.check_contents(manifest, 100).await.unwrap();
            findings.extend(check.findings);
            after = check.next;
        }
        findings.extend(self.catalog.check_versions().await.unwrap());
        findings.extend(self.catalog.check_sums().await.unwrap());
        assert_eq!(findings, []);
    }
}
