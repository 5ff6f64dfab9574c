//! The REST dialect: parses, calls storage, prints. The contract is in `/openapi.json`.

pub(crate) mod admin;
pub(crate) mod auth;
pub(crate) mod buckets;
pub(crate) mod content;
mod dialect;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod headers;
pub(crate) mod health;
pub(crate) mod input;
pub(crate) mod json;
pub(crate) mod metrics;
pub(crate) mod multipart;
mod parameters;
pub(crate) mod queue;
pub(crate) mod rules;
pub(crate) mod runs;
pub(crate) mod store;
pub(crate) mod tus;
pub(crate) mod unread;
pub(crate) mod upload;

pub(crate) use dialect::RestDialect;
