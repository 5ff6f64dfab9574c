//! The contract between roles: what storage does for gateways and processors.
//!
//! [`StorageApi`] is the one door to stored files. The storage service implements it in process; [`GrpcStorage`] and
//! [`StorageNode`] carry it over gRPC, so that a caller cannot tell which one it holds. Object-level permission is
//! checked behind this door, for every dialect at once.

pub mod api;
mod breaker;
mod client;
mod event;
mod server;
pub mod trace;
pub mod types;
mod wire;

pub use api::{ByteStream, EventStream, Reply, Request, StorageApi, StorageCalls};
pub use client::{GrpcStorage, GrpcStorageConfig};
pub use event::event_json;
pub use server::{Door, StorageNode};
pub use types::{
    AffectedContent, AppendUpload, Caller, CheckReport, Coding, CollectReport, CreatedApiKey, CreatedUser,
    DamageReport, FileStatus, NewApiKey, NewBucket, NewFile, NewUser, PutOutcome, ReadFile, Readiness,
    Reading, RetriedRuns, RuleTest, ScrubOptions, ScrubStatus, Stats, TokenGrant, TokenPair, UploadStatus,
    UserPatch, WrittenRule,
};
pub use wire::{CONNECTION_WINDOW_BYTES, TRANSFER_WINDOW_BYTES};
