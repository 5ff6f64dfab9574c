//! A storage that keeps everything in memory. Its tokens are the names of roles.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fake may stop its test at once, and panics when asked to"
)]

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, broadcast};
use usp_api::{
    AppendUpload, ByteStream, Caller, EventStream, NewFile, PutOutcome, ReadFile, Readiness, Reading,
    StorageApi, StorageCalls, TokenGrant, TokenPair,
};
use usp_auth::Credential;
use usp_model::{
    Bucket, BucketName, BucketPolicy, ByteRange, Error, ErrorKind, Event, EventBody, EventQuery, File,
    FileChange, FileEvent, FileId, FileKey, FilePatch, FileQuery, FileRef, FileState, Grant, KeyCondition,
    MediaType, Principal, PrincipalKind, Result, Role, Run, RunId, RunQuery, StoredBytes, Timestamp, Upload,
    UploadId, UploadState, UserName,
};

#[derive(Debug)]
pub(crate) struct FakeStorage {
    pub(super) state: Mutex<State>,
    live: broadcast::Sender<Event>,
    /// What storage was asked last, for tests of what a dialect reads.
    pub(crate) asked: Mutex<Asked>,
    /// Uploads that a request is writing to.
    appending: Mutex<BTreeSet<UploadId>>,
    /// The token `gate` is verified only after a permit came from here.
    pub(crate) gate: Notify,
    /// Told when a call with that token waits.
    pub(crate) at_gate: Notify,
}

/// The last question of each kind.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) put: Option<NewFile>,
    pub(crate) upload: Option<NewFile>,
    pub(crate) list: Option<FileQuery>,
    pub(crate) patch: Option<FilePatch>,
    pub(crate) runs: Option<RunQuery>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) buckets: BTreeMap<BucketName, Bucket>,
    pub(super) files: BTreeMap<FileId, (File, Bytes)>,
    pub(super) uploads: BTreeMap<UploadId, (Upload, NewFile, BytesMut)>,
    /// So often an upload cannot be finished because another request holds it.
    pub(super) held_count: u32,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) events: Vec<Event>,
    revoked: BTreeSet<String>,
}

pub(super) fn fault(kind: ErrorKind, reason: &str) -> Error {
    Error::new(kind, "pretend storage").because(reason)
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_007)
}

impl FakeStorage {
    pub(crate) fn new() -> Self {
        let storage = Self {
            state: Mutex::default(),
            asked: Mutex::default(),
            appending: Mutex::default(),
            live: broadcast::channel(64).0,
            gate: Notify::new(),
            at_gate: Notify::new(),
        };
        storage.add_bucket("default", BucketPolicy::default());
        storage
    }

    pub(crate) fn add_bucket(&self, name: &str, policy: BucketPolicy) {
        let name = BucketName::parse(name).unwrap();
        let bucket = Bucket { name: name.clone(), policy, created_at: now(), updated_at: now() };
        self.state.lock().buckets.insert(name, bucket);
    }

    /// From now on the token does not hold any more.
    pub(crate) fn revoke(&self, token: &str) {
        self.state.lock().revoked.insert(token.to_owned());
    }

    pub(crate) fn hold_uploads(&self, held_count: u32) {
        self.state.lock().held_count = held_count;
    }

    pub(crate) fn open_upload_count(&self) -> usize {
        self.state.lock().uploads.values().filter(|(upload, ..)| upload.state == UploadState::Open).count()
    }

    /// Bytes arrive, and whoever should have finished the upload is gone.
    pub(crate) fn receive_only(&self, id: &str, content: &[u8]) {
        let mut state = self.state.lock();
        let (upload, _, bytes) = state.uploads.get_mut(&UploadId::parse(id).unwrap()).unwrap();
        bytes.extend_from_slice(content);
        upload.received_bytes = bytes.len() as u64;
    }

    /// The HTTP path of an upload that was opened elsewhere.
    pub(crate) async fn prepared(&self, key: &str, size_bytes: Option<u64>) -> String {
        let principal = self.authenticate(Credential::Bearer("admin".to_owned().into())).await.unwrap();
        let caller = Caller { principal, request_id: String::new() };
        let place = NewFile::at(BucketName::parse("default").unwrap(), FileKey::parse(key).unwrap());
        let upload = self.start_upload(&caller, NewFile { size_bytes, ..place }).await.unwrap();
        format!("/api/v1/uploads/{}", upload.id)
    }

    pub(super) fn tell_of_file(&self, file: &File, change: FileChange) {
        let body = FileEvent {
            change,
            version: file.version,
            size_bytes: file.size_bytes,
            media_type: file.media_type.clone(),
            state: file.state,
            released: file.released,
        };
        self.tell(file, EventBody::File(body));
    }

    pub(super) fn tell(&self, file: &File, body: EventBody) {
        let mut state = self.state.lock();
        let is_kept = body.kind().is_kept();
        let seq = if is_kept { i64::try_from(state.events.len()).unwrap() + 1 } else { 0 };
        let (bucket, key) = (file.bucket.clone(), file.key.clone());
        let event = Event { seq, at: now(), bucket, file_id: file.id, key, body };
        if is_kept {
            state.events.push(event.clone());
        }
        let _ = self.live.send(event);
    }

    pub(super) fn find(&self, file: &FileRef) -> Result<(File, Bytes)> {
        let state = self.state.lock();
        let is_meant = |known: &File| match file {
            FileRef::Id(id) => known.id == *id,
            FileRef::Key(bucket, key) => known.bucket == *bucket && known.key == *key,
        };
        let found = state.files.values().find(|(known, _)| is_meant(known)).cloned();
        found.ok_or_else(|| fault(ErrorKind::NotFound, "there is no such file"))
    }

    pub(super) fn commit(&self, new: NewFile, content: Bytes, caller: &Caller) -> Result<PutOutcome> {
        if new.size_bytes.is_some_and(|size| size != content.len() as u64) {
            return Err(fault(ErrorKind::InvalidInput, "the content has another length than announced"));
        }
        let standing =
            self.find(&FileRef::Key(new.bucket.clone(), new.key.clone())).ok().map(|(file, _)| file);
        let holds = match (&new.condition, &standing) {
            (KeyCondition::Any, _) | (KeyCondition::Absent, None) => true,
            (KeyCondition::Matches(etags), Some(file)) => etags.is_empty() || etags.contains(&file.etag),
            (KeyCondition::Absent, Some(_)) | (KeyCondition::Matches(_), None) => false,
        };
        if !holds {
            return Err(fault(ErrorKind::PreconditionFailed, "the condition does not hold"));
        }
        let version = standing.as_ref().map_or(1, |file| file.version + 1);
        let file = File {
            id: standing.as_ref().map_or_else(FileId::random, |file| Ok(file.id))?,
            bucket: new.bucket,
            key: new.key,
            version,
            size_bytes: content.len() as u64,
            media_type: new.declared_media_type.clone().unwrap_or_else(MediaType::octet_stream),
            declared_media_type: new.declared_media_type,
            etag: format!("v{version}"),
            digests: BTreeMap::new(),
            state: FileState::Ready,
            created_at: now(),
            updated_at: now(),
            owner: caller.principal.name.to_string(),
            metadata: new.metadata,
            labels: new.labels,
            stored: StoredBytes::default(),
            reports: BTreeMap::from([("profile".to_owned(), json!({"rows": 3}))]),
            derived: Vec::new(),
            derived_from: None,
            expires_at: None,
            released: true,
        };
        self.state.lock().files.insert(file.id, (file.clone(), content));
        self.tell_of_file(&file, FileChange::Stored);
        Ok(PutOutcome { file, is_new_file: standing.is_none() })
    }
}

/// What arrives until the end or the first error.
async fn received(mut content: ByteStream) -> (BytesMut, Result<()>) {
    let mut all = BytesMut::new();
    while let Some(piece) = content.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) => return (all, Err(error)),
        }
    }
    (all, Ok(()))
}

#[async_trait]
impl StorageApi for FakeStorage {
    async fn authenticate(&self, credential: Credential) -> Result<Principal> {
        let Credential::Bearer(token) = credential else {
            return Err(fault(ErrorKind::Unauthenticated, "only bearer tokens are known"));
        };
        let token = token.expose();
        let role = match token {
            "panic" => panic!("the token said so"),
            "gate" => {
                self.at_gate.notify_one();
                self.gate.notified().await;
                Some(Role::Admin)
            }
            "nobody" => None,
            role => Some(Role::parse(role).map_err(|_| fault(ErrorKind::Unauthenticated, "no such token"))?),
        };
        if self.state.lock().revoked.contains(token) {
            return Err(fault(ErrorKind::Unauthenticated, "the token was revoked"));
        }
        let grants = role.map(|role| Grant { bucket: None, role }).into_iter().collect();
        Ok(Principal { kind: PrincipalKind::User, name: UserName::parse(token)?, api_key: None, grants })
    }

    async fn issue_token(&self, grant: TokenGrant) -> Result<TokenPair> {
        match grant {
            TokenGrant::Password { user, password } if password == "right" => Ok(TokenPair {
                access_token: user.to_string(),
                expires_in_s: 900,
                refresh_token: format!("refresh-{user}"),
            }),
            _ => Err(fault(ErrorKind::Unauthenticated, "user name or password is wrong")),
        }
    }

    async fn readiness(&self) -> Result<Readiness> {
        Ok(Readiness { ready: true, waiting_for: Vec::new() })
    }

    /// A key `fail/KIND` fails with that kind, before a byte is read.
    async fn put(&self, caller: &Caller, file: NewFile, content: ByteStream) -> Result<PutOutcome> {
        self.asked.lock().put = Some(file.clone());
        if let Some(code) = file.key.as_str().strip_prefix("fail/") {
            let kind = ErrorKind::ALL.iter().find(|kind| kind.code() == code).unwrap();
            return Err(fault(*kind, "the key says so").caused_by("secret cause"));
        }
        let (content, end) = received(content).await;
        end?;
        self.commit(file, content.freeze(), caller)
    }

    async fn append(&self, _caller: &Caller, append: AppendUpload, content: ByteStream) -> Result<Upload> {
        {
            let state = self.state.lock();
            let known = state.uploads.get(&append.id);
            let (upload, ..) = known.ok_or_else(|| fault(ErrorKind::NotFound, "there is no such upload"))?;
            if self.appending.lock().contains(&append.id) {
                return Err(fault(ErrorKind::Locked, "another request is writing"));
            }
            if upload.received_bytes != append.offset {
                return Err(fault(ErrorKind::PreconditionFailed, "the offset is not what was received"));
            }
        }
        self.appending.lock().insert(append.id);
        let (content, end) = received(content).await;
        self.appending.lock().remove(&append.id);
        let mut state = self.state.lock();
        let known = state.uploads.get_mut(&append.id);
        let (upload, _, bytes) = known.ok_or_else(|| fault(ErrorKind::Gone, "the upload is gone"))?;
        bytes.extend_from_slice(&content);
        upload.received_bytes = bytes.len() as u64;
        end.map(|()| upload.clone())
    }

    /// A key `rotten/…` has lost its bytes; one of `breaking/…` loses them after the first.
    async fn read(&self, caller: &Caller, read: ReadFile) -> Result<Reading> {
        let file = self.get_file(caller, read.file.clone(), read.version).await?;
        let rotten = || fault(ErrorKind::Corrupt, "a chunk differs from its digest");
        if file.key.as_str().starts_with("rotten/") {
            return Err(rotten());
        }
        let (_, content) = self.find(&read.file)?;
        let range =
            read.range.unwrap_or_else(|| ByteRange::whole(file.size_bytes)).within(file.size_bytes)?;
        let bounds = usize::try_from(range.start()).unwrap()..usize::try_from(range.end()).unwrap();
        let content = content.slice(bounds);
        let content = match file.key.as_str().starts_with("breaking/") {
            true => stream::iter(vec![Ok(content.slice(..1)), Err(rotten())]),
            false => stream::iter(vec![Ok(content)]),
        };
        Ok(Reading { file, range, content: Box::pin(content) })
    }

    async fn watch(&self, _caller: &Caller, query: EventQuery) -> Result<EventStream> {
        let (kept, live) = {
            let state = self.state.lock();
            let kept: Vec<_> = state.events.iter().filter(|event| event.seq > query.after).cloned().collect();
            (kept, self.live.subscribe())
        };
        let live = stream::unfold(live, |mut live| async {
            let event = live.recv().await.ok()?;
            Some((event, live))
        });
        let is_meant = move |event: &Event| {
            query.file.is_none_or(|file| event.file_id == file)
                && query.bucket.as_ref().is_none_or(|bucket| event.bucket == *bucket)
                && (query.kinds.is_empty() || query.kinds.contains(&event.kind()))
        };
        let events = stream::iter(kept).chain(live).filter(move |event| std::future::ready(is_meant(event)));
        Ok(Box::pin(events.map(Ok)))
    }
}
