//! What an operator can set about storage.

use std::time::Duration;

/// What an operator can set about storage.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// A stream commits what it has after this many bytes, so that no more than this is at risk.
    pub checkpoint_bytes: u64,
    /// An upload without new bytes for this long is ended.
    pub upload_idle_max: Duration,
    /// A worker that is silent for this long loses its run.
    pub lease_time: Duration,
    /// Events are kept for this long, for those who come back.
    pub event_retention: Duration,
    /// How often what is due is looked for, beyond what events already said.
    pub sweep_interval: Duration,
    /// From the end of one collection to the next. Zero: only when it is asked for.
    pub collect_interval: Duration,
    /// How long the file of a pack that holds nothing any more is kept, besides two cycles.
    pub collect_grace: Duration,
    /// From the end of one scrub of all packs to the next. Zero: only when it is asked for.
    pub scrub_interval: Duration,
    /// How fast a scrub reads that nobody asked for. 0: as fast as the medium.
    pub scrub_pace_bytes_per_s: u64,
    /// With less free space than this no bytes are taken in.
    pub free_space_bytes_min: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            checkpoint_bytes: 64 << 20,
            upload_idle_max: Duration::from_secs(24 * 60 * 60),
            lease_time: Duration::from_secs(30),
            event_retention: Duration::from_secs(7 * 24 * 60 * 60),
            sweep_interval: Duration::from_secs(2),
            collect_interval: Duration::from_secs(60 * 60),
            collect_grace: Duration::from_secs(10 * 60),
            scrub_interval: Duration::from_secs(30 * 24 * 60 * 60),
            scrub_pace_bytes_per_s: 32 << 20,
            free_space_bytes_min: 256 << 20,
        }
    }
}
