//! The content store as its callers see it: with an index in memory, on packs in memory, on disk and on failing disks.

mod ingest;
mod support;
