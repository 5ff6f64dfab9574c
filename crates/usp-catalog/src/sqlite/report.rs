//! Stores what a worker says of its run, as `usp_decide::run::report` decides.

use usp_decide::run::report::{Reported, TakenReport, VersionTags, report, wants_retry, wants_tags};
use usp_model::ReportOutcome;

use super::ask::Ask;
use super::fail::Outcome;
use super::rules;
use super::run_row::{self, RunPlace};
use super::tags::{TagKind, Tagged};
use super::tx::Tx;
use super::version_row::{self, VersionRow};
use crate::records::ReportRun;

pub(super) fn report_run(tx: &Tx<'_>, mut asked: ReportRun) -> Outcome<ReportOutcome> {
    let (place, record) = run_row::find(tx, &asked.report.run)?.map(|row| (row.place, row.record)).unzip();
    if usp_rt::is_planted("lease-without-number") {
        asked.report.lease_no = record.as_ref().map_or(0, |record| record.lease_no);
    }
    let version = match (&place, &record) {
        (Some(place), Some(record)) if wants_tags(&asked.report) => {
            version_row::version(tx, place.file_row, record.run.version)?
        }
        _ => None,
    };
    let retry = match &record {
        Some(record) if wants_retry(&asked.report) => {
            rules::version(tx, &record.run.rule, record.run.rule_version)?.map(|rule| rule.retry)
        }
        _ => None,
    };
    let tags = version
        .as_ref()
        .map(|row| VersionTags { labels: row.file.labels.clone(), metadata: row.file.metadata.clone() });
    let taken = match (report(record, asked, &retry.unwrap_or_default(), tags, tx.at())?, place) {
        (Reported::Cancelled, _) => return Ok(ReportOutcome::Held { run_cancelled: true }),
        (Reported::Taken(taken), Some(place)) => {
            store(tx, &place, version.as_ref(), *taken)?;
            ReportOutcome::Held { run_cancelled: false }
        }
        (Reported::Lost, _) | (Reported::Taken(_), None) => ReportOutcome::Lost,
    };
    Ok(taken)
}

fn store(tx: &Tx<'_>, place: &RunPlace, version: Option<&VersionRow>, taken: TakenReport) -> Outcome<()> {
    for (step, body) in &taken.reports {
        tx.run(
            "INSERT INTO reports (file, version, step, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (file, version, step) DO UPDATE SET body = excluded.body",
            (place.file_row, taken.run.record.run.version, step, body),
        )?;
    }
    if let Some((version, tags)) = version.zip(taken.tags) {
        store_tags(tx, version, &tags)?;
    }
    place.store(tx, taken.run)?;
    Ok(())
}

fn store_tags(tx: &Tx<'_>, standing: &VersionRow, now: &VersionTags) -> Outcome<()> {
    let (file, VersionTags { labels, metadata }) = (&standing.file, now);
    if version_row::set_tags(tx, standing.file_row, file.version, labels, metadata, tx.at())? {
        let tagged = Tagged { file_row: standing.file_row, bucket_row: standing.bucket_row, key: &file.key };
        tagged.replace(tx, TagKind::Label, &file.labels, labels)?;
        tagged.replace(tx, TagKind::Metadata, &file.metadata, metadata)?;
    }
    Ok(())
}
