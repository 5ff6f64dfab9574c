use async_trait::async_trait;
use usp_model::{Act, ChunkId, Finding, ManifestId, PackDamage, Result, StoreTotals};

use crate::UpkeepFacts;
use crate::records::{ContentCheck, ContentOwner, NamingPage, ReferencePlace, ScrubState, ScrubbedPack};
use crate::sqlite::ask::Ask;
use crate::sqlite::{SqliteCatalog, check, scrub, totals};

#[async_trait]
impl UpkeepFacts for SqliteCatalog {
    async fn begin_scrub(&self, act: Act) -> Result<ScrubState> {
        self.writer.write("begin scrub", act, move |tx| scrub::begin(tx, tx.at())).await
    }

    async fn note_scrubbed(&self, act: Act, scrubbed: ScrubbedPack) -> Result<()> {
        self.writer.write("note scrubbed pack", act, move |tx| scrub::note(tx, &scrubbed)).await
    }

    async fn end_scrub(&self, act: Act) -> Result<ScrubState> {
        self.writer.write("end scrub", act, move |tx| scrub::end(tx, tx.at())).await
    }

    async fn scrub_state(&self) -> Result<ScrubState> {
        self.readers.read("look at scrub", scrub::state).await
    }

    async fn scrub_damage(&self) -> Result<Vec<PackDamage>> {
        self.readers.read("list damage", scrub::damage).await
    }

    async fn contents_naming(
        &self,
        chunks: Vec<ChunkId>,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<NamingPage> {
        let chunks = chunks.into_iter().collect();
        self.readers
            .read("find contents", move |conn| scrub::naming(conn, &chunks, after, segment_count_max))
            .await
    }

    async fn owners(&self, manifests: Vec<ManifestId>) -> Result<Vec<ContentOwner>> {
        self.readers.read("find owners", move |conn| scrub::owners(conn, &manifests)).await
    }

    async fn check_file(&self) -> Result<Vec<Finding>> {
        self.readers.read("check catalogue", check::file).await
    }

    async fn check_contents(&self, after: ManifestId, count_max: u32) -> Result<ContentCheck> {
        self.readers.read("check contents", move |conn| check::contents(conn, after, count_max)).await
    }

    async fn check_versions(&self) -> Result<Vec<Finding>> {
        self.readers.read("check versions", check::versions).await
    }

    async fn check_sums(&self) -> Result<Vec<Finding>> {
        self.readers.read("check sums", check::sums).await
    }

    async fn mend_sums(&self, act: Act) -> Result<u64> {
        self.writer.write("mend sums", act, check::mend_sums).await
    }

    async fn totals(&self) -> Result<StoreTotals> {
        self.readers.read("sum totals", totals::totals).await
    }

    async fn recover(&self, act: Act) -> Result<()> {
        self.writer.write("recover", act, move |tx| totals::recover(tx, tx.at())).await
    }

    async fn ping(&self, act: Act) -> Result<()> {
        self.readers.read("read catalogue", |conn| conn.one("SELECT 1", [], |_row| Ok(()))).await?;
        self.writer.write("write catalogue", act, |_tx| Ok(())).await
    }
}
