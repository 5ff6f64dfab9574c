//! `usp admin backup|restore`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::fsck;
use crate::backup::{BackupOptions, BackupReport};
use crate::cmd::serve::ConfigFlags;
use crate::config::ByteSize;
use crate::exit::{Ending, Exit};
use crate::output::Output;
use crate::render::{size, table};
use crate::session::Session;

/// Back a data directory up, while a server works in it or not
///
/// A snapshot of the catalogue and every pack that it speaks of. Into the same directory again, only what is new is copied.
/// Run it as the user that the server runs as, on the machine that stores.
#[derive(Debug, Args)]
#[command(after_help = "\
The backup holds every byte, every password hash and, without --without-keys, the signing keys: keep it as safe as the \
server. Whoever can read the data directory is its root: no password is asked.

Example:
  usp admin backup /mnt/backup/usp --data-dir /var/lib/usp
  usp admin backup /mnt/backup/usp --pace 50MiB --verify")]
pub(super) struct BackupArgs {
    /// Where the backup goes; on another disk, or it is none
    #[arg(value_name = "BACKUP")]
    target: PathBuf,
    #[command(flatten)]
    config: ConfigFlags,
    /// Bytes per second to read; without it as fast as the disk
    #[arg(long, value_name = "SIZE")]
    pace: Option<ByteSize>,
    /// Leave keys/ out: after a restore everybody signs in anew
    #[arg(long)]
    without_keys: bool,
    /// Read again what earlier backups copied, and copy anew what is damaged
    #[arg(long)]
    verify: bool,
}

/// Put a backup back into an empty directory, and check it
///
/// Every file is compared with its digest; then the store is checked as by `usp admin fsck`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp admin restore /mnt/backup/usp --data-dir /var/lib/usp")]
pub(super) struct RestoreArgs {
    /// What `usp admin backup` made
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Where the store goes; must be empty or absent
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

pub(super) async fn back_up(args: BackupArgs, session: &Session) -> Result<()> {
    let config = args.config.sources().load_unchecked()?.config;
    fsck::existing(&config.data_dir)?;
    let options = BackupOptions {
        pace_bytes_per_s: args.pace.map_or(0, |pace| pace.0),
        with_keys: !args.without_keys,
        verify: args.verify,
    };
    let making = tokio::task::spawn_blocking(move || {
        crate::backup::make(&config.data_dir, &config.rules_dir(), &args.target, options)
    });
    let report = making.await.context("the backup panicked")??;
    told(&report, session.output)
}

fn told(report: &BackupReport, output: Output) -> Result<()> {
    output.report(report, || {
        let rows = [
            ("backup", format!("number {}, {} in {} packs", report.number, size(report.bytes), report.packs)),
            ("copied", format!("{} packs, {}", report.copied_packs, size(report.copied_bytes))),
        ];
        table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
    })?;
    if report.incomplete.is_empty() {
        return Ok(());
    }
    let kept = match report.kept.len() {
        0 => String::new(),
        count => format!(" (of {count} of them the backup keeps its earlier copy)"),
    };
    let sentence = format!(
        "the backup is made, but {} packs of the store are absent or too short{kept}: see `usp admin fsck`",
        report.incomplete.len()
    );
    Err(Ending::Found { sentence, exit: Exit::StorageFault }.into())
}

pub(super) async fn restore(args: RestoreArgs, session: &Session) -> Result<()> {
    let dir = args.data_dir.clone();
    let restoring = tokio::task::spawn_blocking(move || crate::backup::restore(&args.backup, &args.data_dir));
    let _lock = restoring.await.context("the restore panicked")??;
    session.output.note("every file is as it was backed up; checking the store");
    let report = fsck::check(fsck::open_catalog(&dir)?, &dir, false).await?;
    fsck::tell(&report, session.output)
}
