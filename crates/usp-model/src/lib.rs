//! The vocabulary of usp: what every crate means by a file, a run, a digest, an error.
//!
//! Nothing here reads a disk, a socket or a clock. Types check themselves when they are built, so that
//! code further in can rely on them. The serde derives serve two places only: the protocol between roles
//! (`usp-api`) and JSON columns of the catalogue. REST and public gRPC have shapes of their own.

#[macro_use]
mod text;

pub mod act;
pub mod bucket;
pub mod check;
pub mod chunk;
pub mod digest;
pub mod error;
pub mod event;
pub mod file;
pub mod id;
pub mod limits;
pub mod manifest;
pub mod media;
pub mod name;
pub mod page;
pub mod principal;
pub mod query;
pub mod queue;
pub mod range;
pub mod rule;
pub mod run;
pub mod time;
pub mod work;

pub use act::{Act, Actor};
pub use bucket::{Bucket, BucketPolicy, Compression, Release};
pub use check::{Finding, FindingKind};
pub use chunk::{
    ChunkRef, FramePlace, PackDamage, PackPart, PackRecord, PackState, PlacedChunk, RedoFrame, ResumePoint,
    StoredChunk,
};
pub use digest::{ContentDigest, ContentDigests, Digest, DigestAlgorithm, DomainKey};
pub use error::{Error, ErrorKind, Result, Violation};
pub use event::{
    Event, EventBody, EventKind, EventSeq, FileChange, FileEvent, RunChange, RunEvent, UploadChange,
    UploadEvent,
};
pub use file::{DerivedFile, File, FileState, StoredBytes, Upload, UploadShape, UploadState};
pub use id::{ApiKeyId, ChunkId, DomainId, FileId, ManifestId, PackId, RunId, UploadId};
pub use manifest::{ManifestEntry, Segment};
pub use media::MediaType;
pub use name::{BucketName, FileKey, LabelKey, RuleName, UserName};
pub use page::PageLimit;
pub use principal::{ApiKey, Grant, Principal, PrincipalKind, Role, User};
pub use query::{
    Change, EventQuery, FilePage, FilePatch, FileQuery, FileRef, FileSort, KeyCondition, RunPage, RunQuery,
    StoreTotals, Usage,
};
pub use queue::{ConsumerStatus, QueueKind, QueueStatus, StreamStatus};
pub use range::ByteRange;
pub use rule::{RetryPolicy, Rule, RuleStep};
pub use run::{Run, RunState, Step, StepState};
pub use time::Timestamp;
pub use work::{LeasedRun, ReportOutcome, RunOutcome, RunReport, StepReport};
