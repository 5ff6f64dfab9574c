//! Bytes: chunk, hash, compress, pack, place, verify.
//!
//! A content is written as a stream ([`Ingest`]), cut into chunks at boundaries that its bytes determine, and every chunk is
//! stored once, as a checked frame in an append-only pack. It is read as a stream ([`ReadStream`]) whose every byte was
//! compared with the digest of its chunk. Which content a chunk belongs to is the knowledge of the [`ChunkIndex`].
//!
//! ```text
//! push ─▶ slab ─▶ cut + digest ─▶ look up ─▶ compress + verify ─▶ append ─▶ Batch      (ingest.rs, ingest/)
//! sync ─▶ one fdatasync per pack, shared ─▶ the caller commits the Batch               (packs/)
//! seal ─▶ footer ─▶ to where sealed packs lie ─▶ row                                   (packs.rs, pack_store.rs)
//! read ─▶ resolve ─▶ pread neighbours ─▶ decode + verify ─▶ pieces                     (read.rs, read/)
//! ```
//!
//! What must never happen: a byte leaves whose chunk digest differs; a pack is written below its committed length; a
//! failed sync is tried again; a second appender writes to a pack. Formats: docs/formats/pack.md.

pub mod config;
pub mod frame;
pub mod index;
pub mod ingest;
pub mod maintain;
pub mod pack;
pub mod pack_store;
#[doc(hidden)]
pub mod parts;
pub mod places;
pub mod read;
pub mod scrub;
pub mod stats;
pub mod store;

mod chunker;
mod codec;
mod engine;
mod filter;
mod hashing;
mod packs;
mod pending;
mod recovery;
mod scan;
#[cfg(test)]
mod schedules;
mod wire;

pub use config::{ChunkBounds, ContentConfig};
pub use index::ChunkIndex;
pub use ingest::{Batch, Ingest, IngestSettings};
pub use maintain::CopiedFrames;
pub use pack_store::PackStore;
pub use pending::PackPins;
pub use places::{DeleteLock, LocalPacks, MemoryPacks, OpenPacks, PackSource, SealedPacks};
pub use read::ReadStream;
pub use recovery::{DamagedPack, RecoveryReport, write_kept};
pub use scrub::{Extent, Pace, PackInspector, ScrubReport, Survey};
pub use stats::ContentStats;
pub use store::ContentStore;
