//! `usp stat`

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use usp_client::types::File;

use crate::cmd::id_of;
use crate::place::FileArg;
use crate::render::{size, table};
use crate::session::Session;

/// Describe a file: size, type, digests, labels, reports
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  usp stat usp://default/2026/orders.csv\n  usp stat usp://default/a.csv --json"
)]
pub(crate) struct StatArgs {
    /// usp://BUCKET/KEY or a file id
    file: FileArg,
}

pub(crate) async fn run(args: StatArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    // A list leaves reports out, so that a file found by its key is asked for once more.
    let id = id_of(&client, &args.file.0).await?;
    let file = client.file(&id).await?;
    session.output.result(&file, || describe(&file))
}

fn describe(file: &File) -> String {
    let mut rows = Vec::new();
    let mut add = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    add("place", format!("usp://{}/{}", file.bucket, file.key));
    add("id", file.id.to_string());
    add("state", file.state.to_string());
    add("version", file.version.to_string());
    add("size", format!("{} ({} bytes)", size(file.size), file.size));
    let declared = file.declared_media_type.as_ref().filter(|declared| **declared != file.media_type);
    let declared = declared.map(|declared| format!(" (declared {declared})")).unwrap_or_default();
    add("type", format!("{}{declared}", file.media_type));
    add("etag", file.etag.clone());
    for (algorithm, digest) in &file.digests {
        add(algorithm.as_str(), digest.clone().unwrap_or_else(|| "being computed".to_owned()));
    }
    add("stored", stored(file));
    add("owner", file.owner.clone());
    add("created", file.created_at.to_string());
    add("updated", file.updated_at.to_string());
    if let Some(at) = file.expires_at {
        add("expires", at.to_string());
    }
    for (key, value) in &file.metadata {
        add("meta", format!("{key}={value}"));
    }
    for (key, value) in &file.labels {
        add("label", format!("{key}={value}"));
    }
    for derived in &file.derived {
        add("derived", format!("{} {}", derived.name, derived.file_id));
    }
    if let Some(source) = &file.derived_from {
        add("derived from", source.to_string());
    }
    for (step, report) in &file.reports {
        add("report", format!("{step}: {}", in_short(report)));
    }
    table(&rows)
}

/// The plain members of a report; lists and tables in it are for `--json`.
fn in_short(report: &Value) -> String {
    let Some(members) = report.as_object() else { return report.to_string() };
    let plain = members.iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some(format!("{name} {text}")),
        Value::Number(number) => Some(format!("{name} {number}")),
        Value::Bool(holds) => Some(format!("{name} {holds}")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    });
    let nested = members.values().any(|value| value.is_array() || value.is_object());
    let more = if nested { " … (--json shows all)" } else { "" };
    format!("{}{more}", plain.collect::<Vec<_>>().join(", "))
}

fn stored(file: &File) -> String {
    let stored = &file.stored;
    let known = match stored.deduplicated_bytes {
        0 => String::new(),
        bytes => format!(", {} were there already", size(bytes)),
    };
    format!("{} in {} chunks{known}", size(stored.bytes), stored.chunks)
}
