//! Events as they happen: the kept ones from the catalogue, progress straight from where it is made.

use std::sync::Arc;

use futures::stream;
use tokio::sync::mpsc;
use usp_api::{Caller, EventStream};
use usp_auth::{Permission, authorize};
use usp_catalog::{EventFacts, UploadFacts};
use usp_model::{Error, ErrorKind, Event, EventBody, EventQuery, EventSeq, FileId, FileRef, Result};

use crate::access::{absent_file, scope, sees_unreleased};
use crate::buckets::Buckets;
use crate::files::Files;
use crate::progress::ProgressChannel;

mod announce;
mod follow;

use follow::{Follower, PAGE_COUNT};

/// Events on their way to one follower.
const BUFFER_COUNT_MAX: usize = 64;

/// The part of storage that shows events. Clones share everything.
#[derive(Clone)]
pub(crate) struct Events {
    facts: Arc<dyn EventFacts>,
    /// For files that are followed by the preliminary id of their upload.
    uploads: Arc<dyn UploadFacts>,
    files: Files,
    buckets: Buckets,
    progress: Arc<ProgressChannel>,
}

impl Events {
    pub(crate) fn new(
        facts: Arc<dyn EventFacts>,
        uploads: Arc<dyn UploadFacts>,
        files: Files,
        buckets: Buckets,
        progress: Arc<ProgressChannel>,
    ) -> Self {
        Self { facts, uploads, files, buckets, progress }
    }

    pub(crate) async fn last_event(&self, caller: &Caller) -> Result<EventSeq> {
        authorize(&caller.principal, Permission::SelfRead, None)?;
        self.facts.last_event().await
    }

    /// Kept events after `query.after`, then whatever comes, until the stream is dropped or the catalogue fails.
    pub(crate) async fn watch(&self, caller: &Caller, mut query: EventQuery) -> Result<EventStream> {
        if let Some(bucket) = &query.bucket {
            self.buckets.for_caller(caller, Permission::EventRead, bucket).await?;
        }
        if let Some(id) = query.file {
            query.file = Some(self.file_to_follow(caller, id).await?);
        }
        query.buckets = scope(caller, Permission::EventRead);
        query.limit = PAGE_COUNT;
        let (sender, receiver) = mpsc::channel(BUFFER_COUNT_MAX);
        tokio::spawn(Follower::new(self.clone(), caller.clone(), query, sender).run());
        Ok(Box::pin(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|event| (event, receiver))
        })))
    }

    /// A file may be watched from its first byte on, by its preliminary id. Once that led to a file, it stands for it.
    async fn file_to_follow(&self, caller: &Caller, id: FileId) -> Result<FileId> {
        let found = match self.files.for_caller(caller, Permission::EventRead, &FileRef::Id(id), None).await {
            Ok(record) => return Ok(record.file.id),
            Err(error) if error.kind() == ErrorKind::NotFound => self.uploads.upload_of_file(&id).await,
            Err(error) => return Err(error),
        };
        let gone = || absent_file(&FileRef::Id(id));
        let upload =
            found.map_err(|error: Error| if error.kind() == ErrorKind::NotFound { gone() } else { error })?;
        self.buckets.for_caller(caller, Permission::EventRead, &upload.bucket).await.map_err(|_| gone())?;
        Ok(id)
    }

    /// Whether the caller may know of the event.
    async fn shows(&self, caller: &Caller, event: &Event) -> Result<bool> {
        if sees_unreleased(caller, &event.bucket) {
            return Ok(true);
        }
        match &event.body {
            EventBody::File(file) => Ok(file.released),
            EventBody::Run(_) => self.files.is_released(event.file_id, None).await,
            // Uploads are the business of those who may write.
            EventBody::Upload(_) => Ok(false),
        }
    }
}
