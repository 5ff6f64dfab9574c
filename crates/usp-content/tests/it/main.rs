//! The content store as its callers see it: with an index in memory, on packs in memory, on disk and on failing disks.

mod crashes;
mod durability;
mod fixtures;
mod flips;
mod ingest;
mod maintain;
mod open_packs;
mod read;
mod recovery;
mod redo;
mod scrub;
mod sealed_packs;
mod support;
mod two_places;
