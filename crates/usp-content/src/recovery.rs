//! After a crash: what was committed stands, what was not is cut off, nothing is thrown away.
//!
//! For each open pack, whose row says how many of its bytes commits rely on:
//! 1. No file: nothing committed → the row is set aside; else the pack is reported missing.
//! 2. Frames that were committed without a sync are written again, and holes that the crash left between committed frames
//!    are filled ([`holes`]).
//! 3. The header or a committed frame fails its check, or the file is too short: set aside where it is, so that the sound
//!    frames stay readable.
//! 4. Else: truncation to the committed length, footer, sync, row. A crash in between repeats this.
//!
//! Then files without a row go to lost+found.

use std::collections::BTreeSet;

use usp_model::{ByteRange, Error, ErrorKind, PackId, PackRecord, PackState, RedoFrame, Result};

use crate::backend::PackBackend;
use crate::frame::FrameHeader;
use crate::index::ChunkIndex;
use crate::pack::{self, FrameEntry, PACK_HEADER_BYTES};

mod holes;

/// What opening the store found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Open packs that were cut to their committed length and sealed.
    pub sealed: Vec<PackId>,
    /// Open packs that were cut but could not be sealed for want of space. They are read as they are; the next start
    /// tries again.
    pub unsealed: Vec<PackId>,
    /// Frames in them that were checked.
    pub frame_count: u64,
    /// Bytes after the committed lengths that were cut off. Nothing was ever promised for them.
    pub cut_off_bytes: u64,
    /// Rows that were set aside: nothing had been committed in them and their file is absent or never began.
    pub set_aside: Vec<PackId>,
    /// Packs in which committed bytes failed a check. They were set aside; the rest of them stays readable.
    pub damaged: Vec<DamagedPack>,
    /// Packs in which bytes were committed and whose file is gone.
    pub missing: Vec<PackId>,
    /// Files that no row names, now in lost+found.
    pub lost_and_found: Vec<PackId>,
}

/// Where a pack is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPack {
    pub pack: PackId,
    /// Of the first frame that failed its check.
    pub offset: u64,
}

pub(crate) async fn recover(backend: &dyn PackBackend, index: &dyn ChunkIndex) -> Result<RecoveryReport> {
    let mut report = RecoveryReport::default();
    let rows = index.packs().await?;
    let files: BTreeSet<PackId> = backend.list().await?.into_iter().collect();
    refuse_foreign_packs(&rows, &files)?;
    for row in &rows {
        let present = files.contains(&row.pack);
        match row.state {
            PackState::Open if present => recover_open(backend, index, row, &mut report).await?,
            PackState::Open if row.committed_bytes <= PACK_HEADER_BYTES => {
                index.set_pack_aside(row.pack).await?;
                report.set_aside.push(row.pack);
            }
            PackState::Open | PackState::Sealed if !present => {
                index.doubt(row.pack, ByteRange::whole(u64::MAX)).await?;
                report.missing.push(row.pack);
            }
            // What was committed without a sync is readable at once; later it is stored anew elsewhere.
            PackState::SetAside if present => {
                let written = holes::write_again(backend, index, row.pack, row.committed_bytes).await;
                if let Err(error) = written {
                    tracing::warn!(pack.id = %row.pack, error = %error.chain(), "frames wait for another place");
                }
                backend.retire(row.pack).await;
            }
            PackState::Open | PackState::Sealed | PackState::SetAside | PackState::Doomed => {}
        }
    }
    let named: BTreeSet<PackId> = rows.iter().map(|row| row.pack).collect();
    for &stray in files.difference(&named) {
        backend.set_aside(stray).await?;
        report.lost_and_found.push(stray);
    }
    Ok(report)
}

/// A row is made before its file, so packs that no row at all names have lost their catalogue. Setting them aside would
/// make a mishap that can be mended into one that cannot.
fn refuse_foreign_packs(rows: &[PackRecord], files: &BTreeSet<PackId>) -> Result<()> {
    if !rows.is_empty() || files.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "open the store").because(format!(
        "there are {} packs and the catalogue knows none of them: put the catalogue back, or move the packs away to \
         begin anew; nothing was touched",
        files.len()
    )))
}

/// Writes frames that a catalogue kept to their places, and gives what they are. For a rebuild: what it surveys of a pack
/// ends where one of them is missing. Durable when it returns.
pub async fn write_kept(
    backend: &dyn PackBackend,
    pack: PackId,
    kept: Vec<RedoFrame>,
) -> Result<Vec<FrameEntry>> {
    let mut written = Vec::with_capacity(kept.len());
    for RedoFrame { place, bytes } in kept {
        let Some(header) = FrameHeader::decode(&bytes) else { continue };
        written.push(FrameEntry::of(place.offset, &header));
        backend.append(pack, place.offset, vec![bytes.into()]).await?;
    }
    if !written.is_empty() {
        backend.sync(pack).await?;
        backend.retire(pack).await;
    }
    Ok(written)
}

async fn recover_open(
    backend: &dyn PackBackend,
    index: &dyn ChunkIndex,
    row: &PackRecord,
    report: &mut RecoveryReport,
) -> Result<()> {
    let committed = row.committed_bytes.max(PACK_HEADER_BYTES);
    match holes::write_again(backend, index, row.pack, committed).await {
        // A full disk must not keep the store from opening. What could not be written again stays in the index.
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            report.unsealed.push(row.pack);
            return Ok(());
        }
        written => written?,
    }
    let size_bytes = backend.len(row.pack).await?;
    let frames = index.committed_frames(row.pack).await?;
    let found = match holes::walk_and_fill(backend, row.pack, size_bytes, committed, &frames).await {
        // The hole that is left is found again by the next walk.
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            report.unsealed.push(row.pack);
            return Ok(());
        }
        walked => walked?,
    };
    if let Some(offset) = found.damaged_at {
        index.set_pack_aside(row.pack).await?;
        if row.committed_bytes <= PACK_HEADER_BYTES {
            // Born half-way: no byte of it was ever promised.
            backend.set_aside(row.pack).await?;
            report.set_aside.push(row.pack);
        } else {
            index.doubt(row.pack, ByteRange::new(offset, u64::MAX)?).await?;
            report.damaged.push(DamagedPack { pack: row.pack, offset });
        }
        return Ok(());
    }
    report.frame_count += found.entries.len() as u64;
    report.cut_off_bytes += size_bytes - committed;
    let mut sealed = seal(backend, row.pack, committed, &found.entries).await;
    backend.retire(row.pack).await;
    if let Ok(sealed_bytes) = sealed {
        sealed = index.seal_pack(row.pack, sealed_bytes).await.map(|()| sealed_bytes);
    }
    match sealed {
        Ok(_) => {
            report.sealed.push(row.pack);
            Ok(())
        }
        // A full disk must not keep the store from opening: reading and deleting work without the footer.
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            report.unsealed.push(row.pack);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Cuts the pack behind its last committed frame and puts the footer there. Answers its size.
async fn seal(
    backend: &dyn PackBackend,
    pack: PackId,
    committed: u64,
    entries: &[FrameEntry],
) -> Result<u64> {
    let footer = pack::encode_footer(pack, committed, entries);
    let sealed_bytes = committed + footer.len() as u64;
    backend.truncate(pack, committed).await?;
    backend.append(pack, committed, vec![footer.into()]).await?;
    backend.sync(pack).await?;
    Ok(sealed_bytes)
}
