//! Files copied and digested in one go, at a pace.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const BUFFER_BYTES: usize = 1 << 20;

/// Ends the name of a file that is not whole yet.
pub(super) const PART: &str = "part";

/// Keeps reading to so many bytes per second; 0: as fast as the disk.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_s: u64,
    due: Instant,
}

impl Rate {
    pub(super) fn of(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, due: Instant::now() }
    }

    fn spend(&mut self, bytes: u64) {
        if self.bytes_per_s == 0 {
            return;
        }
        let now = Instant::now();
        let ns = u128::from(bytes).saturating_mul(1_000_000_000) / u128::from(self.bytes_per_s);
        self.due = self.due.max(now) + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
        std::thread::sleep(self.due.saturating_duration_since(now));
    }
}

/// Copies the first `bytes` of a file, or all of it, under a name that it takes once it is whole and on the disk. Only
/// its owner may read it. Gives its length and digest.
pub(super) fn copy(from: &Path, to: &Path, bytes: Option<u64>, rate: &mut Rate) -> Result<(u64, String)> {
    const OWNER_ONLY: u32 = 0o600;
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{PART}"));
    let part = Path::new(&name);
    let wrote = || format!("failed to write {}", part.display());
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(OWNER_ONLY)
        .open(part)
        .with_context(wrote)?;
    let (size_bytes, blake3) = read(from, bytes, rate, |piece| out.write_all(piece).with_context(wrote))?;
    if let Some(bytes) = bytes {
        ensure!(size_bytes == bytes, "{} ends after {size_bytes} bytes instead of {bytes}", from.display());
    }
    out.sync_all().with_context(wrote)?;
    fs::rename(part, to).with_context(|| format!("failed to write {}", to.display()))?;
    Ok((size_bytes, blake3))
}

/// Length and digest of a file.
pub(super) fn digest_of(path: &Path, rate: &mut Rate) -> Result<(u64, String)> {
    read(path, None, rate, |_piece| Ok(()))
}

fn read(
    path: &Path,
    bytes: Option<u64>,
    rate: &mut Rate,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(u64, String)> {
    let failed = || format!("failed to read {}", path.display());
    let mut file = File::open(path).with_context(failed)?.take(bytes.unwrap_or(u64::MAX));
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut hasher = blake3::Hasher::new();
    let mut size_bytes = 0;
    loop {
        let count = file.read(&mut buffer).with_context(failed)?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
        hasher.update(piece);
        each(piece)?;
        size_bytes += count as u64;
        rate.spend(count as u64);
    }
    Ok((size_bytes, hasher.finalize().to_hex().to_string()))
}
