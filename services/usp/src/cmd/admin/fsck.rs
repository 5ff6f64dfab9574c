//! `usp admin fsck`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use usp_catalog::{SqliteCatalog, SqliteConfig, UpkeepFacts};
use usp_client::types::{CheckReport, Finding};
use usp_content::PackInspector;
use usp_model::{Act, Error, ErrorKind, Timestamp};
use usp_rt::{Clock, SystemClock};
use usp_storage::Checker;

use crate::dir_lock::DirLock;
use crate::exit::{Ending, Exit};
use crate::output::Output;
use crate::pack_store;
use crate::paths;
use crate::render::table;
use crate::session::Session;

/// Compare catalogue and packs, both ways, and tell every finding in a sentence
///
/// Asks a running server, or with --data-dir looks at the directory of one that is stopped. Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 0 when there is nothing to tell, with 1 when there are findings that harm no file, and with 74 when bytes that \
were acknowledged may be unreadable.

Example:
  usp admin fsck
  usp admin fsck --data-dir /var/lib/usp --deep
  usp admin fsck --data-dir /var/lib/usp --repair")]
pub(super) struct FsckArgs {
    /// The data directory of a server that is stopped
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Read every frame too, not only what sealed packs say of themselves
    #[arg(long)]
    deep: bool,
    /// Count sums anew that are wrong; nothing else is ever repaired by guessing
    #[arg(long, requires = "data_dir")]
    repair: bool,
}

pub(super) async fn run(args: FsckArgs, session: &Session) -> Result<()> {
    let report = match &args.data_dir {
        None => session.client()?.check_store(args.deep).await?,
        Some(dir) => {
            let _lock = DirLock::take(existing(dir)?)?;
            let catalog = open_catalog(dir)?;
            if args.repair {
                let now = Timestamp::from_unix_ms(SystemClock.now_unix_ms());
                let count = catalog.mend_sums(Act::duty("repair", now)).await?;
                session.output.note(&format!("{count} sums were counted anew"));
            }
            check(catalog, dir, args.deep).await?
        }
    };
    tell(&report, session.output)
}

/// The directory, if there is a store in it.
pub(super) fn existing(dir: &Path) -> Result<&Path> {
    if paths::catalog(dir).is_file() && dir.join("packs").is_dir() {
        return Ok(dir);
    }
    let reason = format!("{} holds no store: it has no catalog.db, or no packs", dir.display());
    Err(Error::new(ErrorKind::NotFound, "open the store").because(reason).into())
}

pub(super) fn open_catalog(dir: &Path) -> Result<Arc<SqliteCatalog>> {
    Ok(SqliteCatalog::open(SqliteConfig::new(paths::catalog(dir)))?)
}

/// Checks the store of a directory whose lock the caller holds.
pub(super) async fn check(catalog: Arc<SqliteCatalog>, dir: &Path, is_deep: bool) -> Result<CheckReport> {
    let packs = PackInspector::new(pack_store::open(dir)?);
    let report = Checker { facts: catalog.clone(), store: catalog, packs, is_deep }.check().await?;
    let finding =
        |finding: usp_model::Finding| Finding { kind: finding.kind.as_str().to_owned(), text: finding.text };
    Ok(CheckReport {
        deep: report.is_deep,
        contents: report.contents,
        packs: report.packs,
        chunks: report.chunks,
        finding_count: report.finding_count,
        grave: report.is_grave,
        findings: report.findings.into_iter().map(finding).collect(),
    })
}

/// Prints the report and ends as it asks for.
pub(super) fn tell(report: &CheckReport, output: Output) -> Result<()> {
    output.report(report, || describe(report))?;
    let exit = match (report.grave, report.finding_count) {
        (_, 0) => return Ok(()),
        (true, _) => Exit::StorageFault,
        (false, _) => Exit::Failed,
    };
    let sentence = match report.grave {
        true => format!("{} findings; some files may be unreadable", report.finding_count),
        false => format!("{} findings; no file is harmed by them", report.finding_count),
    };
    Err(Ending::Found { sentence, exit }.into())
}

fn describe(report: &CheckReport) -> String {
    let mut rows = vec![vec![
        "checked".to_owned(),
        format!("{} contents, {} chunks, {} packs", report.contents, report.chunks, report.packs),
    ]];
    rows.extend(report.findings.iter().map(|finding| vec![finding.kind.clone(), finding.text.clone()]));
    if report.finding_count > report.findings.len() as u64 {
        let more = report.finding_count - report.findings.len() as u64;
        rows.push(vec!["more".to_owned(), format!("{more} findings are not listed")]);
    }
    if report.finding_count == 0 {
        rows.push(vec!["found".to_owned(), "nothing".to_owned()]);
    }
    table(&rows)
}
