//! Frames of short contents whose pack failed before it was synced: they are stored anew from what the catalogue kept.
//!
//! 1. The frames that chunks need are appended to another pack, and it is synced. [tried again at the next sweep]
//! 2. Their rows move there, and the copies in the catalogue go, in one transaction. [as 1: the frames lie unused]

use usp_catalog::records::ChunkMove;
use usp_content::CopiedFrames;
use usp_model::Result;

use super::Upkeep;

/// Frames of one go; each is a few KiB.
const FRAME_COUNT_MAX: u32 = 256;

impl Upkeep {
    /// Until this has run, a read of such a chunk may fail; its bytes are not lost.
    pub(super) async fn rescue_stranded(&self) -> Result<()> {
        loop {
            let stranded = self.store.stranded_redo(FRAME_COUNT_MAX).await?;
            if stranded.is_empty() {
                return Ok(());
            }
            let (chunks, frames): (Vec<_>, Vec<_>) = stranded.into_iter().unzip();
            let from: Vec<_> = frames.iter().map(|frame| frame.place).collect();
            let CopiedFrames { places, pins } = self.content.store_again(frames).await?;
            self.content.sync(&places.iter().map(|place| place.pack).collect()).await?;
            let pairs = chunks.into_iter().zip(from).zip(places);
            let moves = pairs.map(|((chunk, from), to)| ChunkMove { chunk, from, to }).collect();
            let moved_chunks = self.store.rescue_chunks(self.core.duty("upkeep"), moves).await?;
            drop(pins);
            tracing::info!(moved_chunks, "chunks of a failed pack were stored anew");
        }
    }
}
