//! `usp admin queue`

use anyhow::Result;
use clap::{Args, Subcommand};
use usp_client::types::{QueueConsumer, QueueStatus, QueueStream};

use crate::render::{size, table};
use crate::session::Session;

/// Look at the queue that tells workers of due runs
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp admin queue status\n  usp admin queue status --json")]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Debug, Subcommand)]
enum QueueVerb {
    /// Show the broker, what usp keeps on it, and what waits there
    #[command(after_help = "Example:\n  usp admin queue status --json")]
    Status,
}

pub(super) async fn run(args: QueueArgs, session: &Session) -> Result<()> {
    let QueueVerb::Status = args.verb;
    let status = session.client()?.queue().await?;
    session.output.result(&status, || describe(&status))
}

fn describe(status: &QueueStatus) -> String {
    let mut rows = vec![("queue", status.kind.clone())];
    if let Some(url) = &status.url {
        let version = status.server_version.as_ref().map(|version| format!(", NATS {version}"));
        rows.push(("broker", format!("{url}{}", version.unwrap_or_default())));
        rows.push(("connected", if status.connected { "yes" } else { "no" }.to_owned()));
    }
    if let Some(trouble) = &status.trouble {
        rows.push(("trouble", trouble.clone()));
    }
    rows.push(("waiting", status.waiting.to_string()));
    rows.push(("in hand", status.in_hand.to_string()));
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut parts = vec![table(&rows)];
    if !status.streams.is_empty() {
        let heads = ["stream", "layout", "subjects", "messages", "bytes", "replicas"].map(str::to_owned);
        let streams = status.streams.iter().map(stream_row);
        parts.push(table(&[heads.to_vec()].into_iter().chain(streams).collect::<Vec<_>>()));
        let heads = ["consumer", "waiting", "in hand", "redelivered", "asking"].map(str::to_owned);
        let consumers = status.streams.iter().flat_map(|stream| &stream.consumers).map(consumer_row);
        parts.push(table(&[heads.to_vec()].into_iter().chain(consumers).collect::<Vec<_>>()));
    }
    parts.join("\n\n")
}

fn stream_row(stream: &QueueStream) -> Vec<String> {
    vec![
        stream.name.clone(),
        stream.layout_version.to_string(),
        stream.subjects.join(" "),
        stream.messages.to_string(),
        size(stream.bytes),
        stream.replicas.to_string(),
    ]
}

fn consumer_row(consumer: &QueueConsumer) -> Vec<String> {
    let counts = [consumer.waiting, consumer.in_hand, consumer.redelivered, consumer.asking];
    std::iter::once(consumer.name.clone()).chain(counts.map(|count| count.to_string())).collect()
}
