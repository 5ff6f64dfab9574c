//! `usp admin scrub`

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use usp_client::Client;
use usp_client::types::{AffectedFile, DamageReport, PackDamage, ScrubStatus};

use crate::config::ByteSize;
use crate::exit::{Ending, Exit};
use crate::render::{size, table};
use crate::session::Session;

/// Read every byte that is kept and check it, while the server goes on
///
/// Waits for the end and names the files that are hit. Ctrl-C only ends the waiting: the server goes on, and a restart of
/// the server goes on where it stood.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 0 when all is sound and with 74 when something is damaged. Damaged packs are set aside and kept; upload a file \
that is hit again, and every file with the same content is mended.

Example:
  usp admin scrub
  usp admin scrub --pace 20MiB --no-wait
  usp admin scrub --report --json")]
pub(super) struct ScrubArgs {
    /// Bytes per second to read; without it as fast as the disk
    #[arg(long, value_name = "SIZE")]
    pace: Option<ByteSize>,
    /// Go on with a scrub that was cut off, or change the pace of the one that runs
    #[arg(long)]
    resume: bool,
    /// Only begin
    #[arg(long, conflicts_with_all = ["stop", "status", "report"])]
    no_wait: bool,
    /// Stop the one that runs; what it did counts
    #[arg(long, conflicts_with_all = ["pace", "resume", "status", "report"])]
    stop: bool,
    /// Only tell how far it is
    #[arg(long, conflicts_with_all = ["pace", "resume", "report"])]
    status: bool,
    /// Only tell what the last one found, and whom it hits
    #[arg(long, conflicts_with_all = ["pace", "resume"])]
    report: bool,
}

pub(super) async fn run(args: ScrubArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    let output = session.output;
    if args.stop {
        let status = client.stop_scrub().await?;
        return output.result(&status, || describe(&status));
    }
    if args.status {
        let status = client.scrub_status().await?;
        return output.result(&status, || describe(&status));
    }
    if !args.report {
        let status = client.start_scrub(args.pace.map(|pace| pace.0), args.resume).await?;
        if args.no_wait {
            return output.result(&status, || describe(&status));
        }
        wait(&client, session).await?;
    }
    let status = client.scrub_status().await?;
    let report = if status.damaged > 0 { client.damage().await? } else { DamageReport::default() };
    let whole = json!({
        "scrub": status, "damage": report.damage, "files": report.files, "more": report.more,
    });
    output.report(&whole, || {
        let parts = [describe(&status), describe_damage(&report)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    })?;
    if status.damaged == 0 {
        return Ok(());
    }
    let sentence = format!(
        "{} places of the store are damaged, {} files are hit; see OPERATIONS.md, \"Scrub\"",
        status.damaged,
        report.files.len()
    );
    Err(Ending::Found { sentence, exit: Exit::StorageFault }.into())
}

async fn wait(client: &Client, session: &Session) -> Result<()> {
    const LOOK_EVERY: Duration = Duration::from_millis(300);
    const TELL_EVERY: u32 = 10;
    for look in 1_u32.. {
        let status = client.scrub_status().await?;
        if !status.running {
            break;
        }
        if look % TELL_EVERY == 0 {
            session.output.note(&format!(
                "{} packs checked, {} left, {}, {} damaged",
                status.packs,
                status.packs_left,
                size(status.bytes),
                status.damaged
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn describe(status: &ScrubStatus) -> String {
    let state = match (status.running, status.began_at, status.ended_at) {
        (true, ..) => match status.pace {
            Some(pace) if pace > 0 => format!("running, {} per second", size(pace)),
            _ => "running".to_owned(),
        },
        (false, None, _) => "there was none yet".to_owned(),
        (false, Some(_), None) => "cut off; --resume goes on".to_owned(),
        (false, Some(_), Some(ended_at)) => format!("ended {ended_at}"),
    };
    let rows = [
        ("scrub", state),
        ("checked", format!("{} packs, {} frames, {}", status.packs, status.frames, size(status.bytes))),
        ("left", format!("{} packs", status.packs_left)),
        ("damaged", format!("{} places", status.damaged)),
    ];
    table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
}

fn describe_damage(report: &DamageReport) -> String {
    let mut blocks = Vec::new();
    if !report.damage.is_empty() {
        let heads = vec!["pack".to_owned(), "offset".to_owned(), "bytes".to_owned(), "part".to_owned()];
        blocks
            .push(table(&std::iter::once(heads).chain(report.damage.iter().map(place)).collect::<Vec<_>>()));
    }
    if !report.files.is_empty() {
        let heads = vec!["file".to_owned(), "version".to_owned(), "id".to_owned(), "places".to_owned()];
        blocks.push(table(&std::iter::once(heads).chain(report.files.iter().map(file)).collect::<Vec<_>>()));
    }
    if report.more {
        blocks.push("more files are hit than are listed".to_owned());
    }
    blocks.join("\n\n")
}

fn place(damage: &PackDamage) -> Vec<String> {
    vec![damage.pack.to_string(), damage.offset.to_string(), damage.bytes.to_string(), damage.part.clone()]
}

fn file(file: &AffectedFile) -> Vec<String> {
    let version = file.version.map_or_else(|| "upload".to_owned(), |version| version.to_string());
    vec![
        format!("usp://{}/{}", file.bucket, file.key),
        version,
        file.id.to_string(),
        file.damage.len().to_string(),
    ]
}
