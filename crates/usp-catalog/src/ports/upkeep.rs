//! What keeps the store healthy: scrub, check, sums, start.

use async_trait::async_trait;
use usp_model::{Act, ChunkId, Finding, ManifestId, PackDamage, Result, StoreTotals};

use crate::records::{ContentCheck, ContentOwner, NamingPage, ReferencePlace, ScrubState, ScrubbedPack};

#[async_trait]
pub trait UpkeepFacts: Send + Sync + 'static {
    /// Begins a scrub: what an earlier one found is forgotten. Doubted chunks stay doubted.
    async fn begin_scrub(&self, act: Act) -> Result<ScrubState>;
    /// Notes that a pack was checked. With damage its pack is set aside, and chunks whose frames begin in a damaged
    /// stretch count as not stored until someone stores them anew.
    async fn note_scrubbed(&self, act: Act, scrubbed: ScrubbedPack) -> Result<()>;
    async fn end_scrub(&self, act: Act) -> Result<ScrubState>;
    async fn scrub_state(&self) -> Result<ScrubState>;
    /// What the last scrub found, by pack and offset; the first 10,000.
    async fn scrub_damage(&self) -> Result<Vec<PackDamage>>;
    /// Which contents name one of these chunks, `segment_count_max` segments at a time, as in `references`.
    async fn contents_naming(
        &self,
        chunks: Vec<ChunkId>,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<NamingPage>;
    /// Whose these contents are. Takes a look at every file: for the rare moment in which something is damaged.
    async fn owners(&self, manifests: Vec<ManifestId>) -> Result<Vec<ContentOwner>>;
    /// What the database says of its own file: reads every page.
    async fn check_file(&self) -> Result<Vec<Finding>>;
    /// Some contents, in order of their manifests: whole, with a row for every chunk, and owned once.
    async fn check_contents(&self, after: ManifestId, count_max: u32) -> Result<ContentCheck>;
    /// Versions and open uploads against their contents.
    async fn check_versions(&self) -> Result<Vec<Finding>>;
    /// Every sum against what it counts.
    async fn check_sums(&self) -> Result<Vec<Finding>>;
    /// Writes every sum anew; gives how many were wrong.
    async fn mend_sums(&self, act: Act) -> Result<u64>;
    async fn totals(&self) -> Result<StoreTotals>;
    /// What a start after a crash mends: ends sessions behind plain PUTs, makes runs that an earlier process held due
    /// again (the attempt counts). Run once, before anything else.
    async fn recover(&self, act: Act) -> Result<()>;
    /// Answers when the catalogue can read and write.
    async fn ping(&self, act: Act) -> Result<()>;
}
