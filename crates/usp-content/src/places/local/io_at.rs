//! Whole reads and writes of one file.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use usp_model::ByteRange;

/// Drops clean pages from the page cache; dirty ones stay.
pub(super) fn drop_cache(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Writes every byte of `parts` or fails: a short write is continued, never taken for a whole one.
pub(super) fn write_all_at(file: &File, parts: &[Bytes], mut offset: u64) -> io::Result<()> {
    /// What one call takes on Linux (`IOV_MAX`).
    const SLICE_COUNT_MAX: usize = 1024;
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let batch = rest.get(..SLICE_COUNT_MAX).unwrap_or(rest);
        match rustix::io::pwritev(file, batch, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset = offset.saturating_add(written as u64);
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) fn read_exact_at(file: &File, range: ByteRange) -> io::Result<Bytes> {
    let len = usize::try_from(range.len()).map_err(|_too_long| io::ErrorKind::InvalidInput)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start())?;
    Ok(bytes.into())
}

/// `None` when the file system would have to wait for the disk, or cannot say.
pub(super) fn read_exact_without_waiting(file: &File, range: ByteRange) -> io::Result<Option<Bytes>> {
    let len = usize::try_from(range.len()).map_err(|_too_long| io::ErrorKind::InvalidInput)?;
    let mut bytes = vec![0; len];
    let read =
        rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut bytes)], range.start(), ReadWriteFlags::NOWAIT);
    match read {
        Ok(read) => Ok((read == len).then(|| bytes.into())),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTSUP | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
