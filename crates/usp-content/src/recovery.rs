//! After a crash: what was committed stands, what was not is cut off, nothing is thrown away.
//!
//! For each open pack, whose row says how many of its bytes commits rely on:
//! 1. It lies nowhere: nothing committed → the row is set aside; else the pack is reported missing.
//! 2. Sealed packs have a place of their own and it lies there: it was complete when it was put. The row becomes sealed. If
//!    its footer does not list every committed frame it is another pack, and opening the store fails.
//! 3. Frames that were committed without a sync are written again, and holes that the crash left between committed frames
//!    are filled ([`holes`]).
//! 4. The header or a committed frame fails its check, or the pack is too short: set aside where it is, so that the sound
//!    frames stay readable.
//! 5. Else: truncation to the committed length, then sealing as ever ([`crate::pack_store`]). A crash in between repeats this.
//!
//! A sealed pack that lies in both of two places leaves the first. Then packs without a row go to lost+found.

use std::collections::BTreeSet;

use usp_model::{ByteRange, Error, ErrorKind, PackId, PackRecord, PackState, RedoFrame, Result};

use crate::frame::FrameHeader;
use crate::index::ChunkIndex;
use crate::pack::{self, FrameEntry, PACK_HEADER_BYTES};
use crate::pack_store::PackStore;
use crate::scan;

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
    /// Which pack.
    pub pack: PackId,
    /// Of the first frame that failed its check.
    pub offset: u64,
}

pub(crate) async fn recover(packs: &PackStore, index: &dyn ChunkIndex) -> Result<RecoveryReport> {
    let mut report = RecoveryReport::default();
    let rows = index.packs().await?;
    let found = packs.listing().await?;
    refuse_foreign_packs(&rows, found.open.len() + found.sealed.len())?;
    for row in &rows {
        let (is_open, is_sealed) = (found.open.contains(&row.pack), found.sealed.contains(&row.pack));
        match row.state {
            PackState::Open if is_sealed => recover_handed_over(packs, index, row, &mut report).await?,
            PackState::Open if is_open => recover_open(packs, index, row, &mut report).await?,
            PackState::Open if row.committed_bytes <= PACK_HEADER_BYTES => {
                index.set_pack_aside(row.pack).await?;
                report.set_aside.push(row.pack);
            }
            PackState::Open | PackState::Sealed if !is_open && !is_sealed => {
                index.doubt(row.pack, ByteRange::whole(u64::MAX)).await?;
                report.missing.push(row.pack);
            }
            PackState::Sealed if is_open && is_sealed => release_copy(packs, row).await?,
            // What was committed without a sync is readable at once; later it is stored anew elsewhere.
            PackState::SetAside if is_open => {
                let written = holes::write_again(packs, index, row.pack, row.committed_bytes).await;
                if let Err(error) = written {
                    tracing::warn!(pack.id = %row.pack, error = %error.chain(), "frames wait for another place");
                }
                packs.open().retire(row.pack).await;
            }
            PackState::Open | PackState::Sealed | PackState::SetAside | PackState::Doomed => {}
        }
    }
    let named: BTreeSet<PackId> = rows.iter().map(|row| row.pack).collect();
    for &unknown in found.open.difference(&named) {
        packs.open().move_to_lost_and_found(unknown).await?;
        report.lost_and_found.push(unknown);
    }
    for unknown in found.sealed.difference(&named) {
        tracing::warn!(pack.id = %unknown, "a pack that no row names lies where sealed packs are kept; it is left alone");
    }
    Ok(report)
}

/// A row is made before its file, so packs without any row have lost their catalogue. Setting them aside would make a mistake
/// that can be undone into one that cannot.
fn refuse_foreign_packs(rows: &[PackRecord], pack_count: usize) -> Result<()> {
    if !rows.is_empty() || pack_count == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "open the store").because(format!(
        "there are {pack_count} packs and the catalogue knows none of them: put the catalogue back, or move the packs \
         away to begin anew; nothing was touched"
    )))
}

/// Writes frames that a catalogue kept to their places, and gives what they are. For a rebuild: what it surveys of a pack
/// ends where one of them is missing. Durable when it returns.
pub async fn write_kept(packs: &PackStore, pack: PackId, kept: Vec<RedoFrame>) -> Result<Vec<FrameEntry>> {
    let mut written = Vec::with_capacity(kept.len());
    for RedoFrame { place, bytes } in kept {
        let Some(header) = FrameHeader::decode(&bytes) else { continue };
        written.push(FrameEntry::of(place.offset, &header));
        packs.open().append(pack, place.offset, vec![bytes.into()]).await?;
    }
    if !written.is_empty() {
        packs.open().sync(pack).await?;
        packs.open().retire(pack).await;
    }
    Ok(written)
}

/// The crash came after the pack was put in its place and before its row was updated.
async fn recover_handed_over(
    packs: &PackStore,
    index: &dyn ChunkIndex,
    row: &PackRecord,
    report: &mut RecoveryReport,
) -> Result<()> {
    let Some(sealed) = packs.sealed() else { return Ok(()) };
    let size_bytes = sealed.len(row.pack).await?;
    let footer = scan::read_footer(sealed, row.pack, size_bytes).await?.unwrap_or_default();
    let listed: BTreeSet<_> =
        footer.iter().map(|entry| (entry.offset, entry.place(row.pack).stored_bytes)).collect();
    let committed = index.committed_frames(row.pack).await?;
    if !committed.iter().all(|place| listed.contains(&(place.offset, place.stored_bytes))) {
        return Err(Error::new(ErrorKind::Corrupt, "recover pack").about(row.pack).because(
            "where sealed packs are kept lies another pack under its id: is the place used by two stores? nothing was \
             touched",
        ));
    }
    match index.seal_pack(row.pack, size_bytes).await {
        Ok(()) => {
            packs.release(row.pack).await;
            report.frame_count += footer.len() as u64;
            report.sealed.push(row.pack);
            Ok(())
        }
        Err(error) => unsealed_if_full(row.pack, error, report),
    }
}

/// The crash came before the open place let go of the pack.
async fn release_copy(packs: &PackStore, row: &PackRecord) -> Result<()> {
    let Some(sealed) = packs.sealed() else { return Ok(()) };
    if sealed.len(row.pack).await? == row.committed_bytes {
        packs.release(row.pack).await;
    } else {
        tracing::error!(pack.id = %row.pack, "a sealed pack is not as long as its row says; its copy is kept");
    }
    Ok(())
}

async fn recover_open(
    packs: &PackStore,
    index: &dyn ChunkIndex,
    row: &PackRecord,
    report: &mut RecoveryReport,
) -> Result<()> {
    let committed = row.committed_bytes.max(PACK_HEADER_BYTES);
    if let Err(error) = holes::write_again(packs, index, row.pack, committed).await {
        // What could not be written again stays in the index.
        return unsealed_if_full(row.pack, error, report);
    }
    let size_bytes = packs.open().len(row.pack).await?;
    let frames = index.committed_frames(row.pack).await?;
    let found = match holes::walk_and_fill(packs, row.pack, size_bytes, committed, &frames).await {
        Ok(found) => found,
        // The hole that is left is found again by the next walk.
        Err(error) => return unsealed_if_full(row.pack, error, report),
    };
    if let Some(offset) = found.damaged_at {
        index.set_pack_aside(row.pack).await?;
        if row.committed_bytes <= PACK_HEADER_BYTES {
            // Its creation was interrupted: no byte of it was ever promised.
            packs.open().move_to_lost_and_found(row.pack).await?;
            report.set_aside.push(row.pack);
        } else {
            index.doubt(row.pack, ByteRange::new(offset, u64::MAX)?).await?;
            report.damaged.push(DamagedPack { pack: row.pack, offset });
        }
        return Ok(());
    }
    report.frame_count += found.entries.len() as u64;
    report.cut_off_bytes += size_bytes - committed;
    let sealed = seal(packs, index, row.pack, committed, &found.entries).await;
    packs.open().retire(row.pack).await;
    match sealed {
        Ok(()) => {
            report.sealed.push(row.pack);
            Ok(())
        }
        // What the process before had sent came to the sealed place only now.
        Err(error) if error.kind() == ErrorKind::Conflict && packs.sealed().is_some() => {
            recover_handed_over(packs, index, row, report).await
        }
        Err(error) => unsealed_if_full(row.pack, error, report),
    }
}

/// A full disk must not keep the store from opening: reading and deleting work without the footer.
fn unsealed_if_full(pack: PackId, error: Error, report: &mut RecoveryReport) -> Result<()> {
    if error.kind() != ErrorKind::StorageFull {
        return Err(error);
    }
    report.unsealed.push(pack);
    Ok(())
}

/// Cuts the pack behind its last committed frame, puts the footer there, and goes through the rest of sealing.
async fn seal(
    packs: &PackStore,
    index: &dyn ChunkIndex,
    pack: PackId,
    committed: u64,
    entries: &[FrameEntry],
) -> Result<()> {
    let footer = pack::encode_footer(pack, committed, entries);
    let sealed_bytes = committed + footer.len() as u64;
    packs.open().truncate(pack, committed).await?;
    packs.open().append(pack, committed, vec![footer.into()]).await?;
    packs.open().sync(pack).await?;
    packs.hand_over(pack, sealed_bytes).await?;
    index.seal_pack(pack, sealed_bytes).await?;
    packs.release(pack).await;
    Ok(())
}
