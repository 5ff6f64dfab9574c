//! The content store as its callers see it: with an index in memory, on packs in memory, on disk and on failing disks.

mod backends;
mod crashes;
mod durability;
mod faulty;
mod fixtures;
mod flips;
mod ingest;
mod maintain;
mod read;
mod recovery;
mod redo;
mod scrub;
mod support;
