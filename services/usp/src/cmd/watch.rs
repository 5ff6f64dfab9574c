//! `usp watch`

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures::StreamExt;
use usp_client::types::Event;
use usp_client::{Client, ClientError, EventFilter, EventsStream};
use usp_model::{BucketName, ErrorKind, EventKind, FileId};

use crate::output::shown;
use crate::place::{FileArg, Place};
use crate::render::{event_line, short_id, short_key};
use crate::session::Session;

/// Names remembered, so that events that carry only an id are shown with their file's name.
const NAME_COUNT_MAX: usize = 10_000;

/// A settled file's kept events are there at once; after this long there are no more. The first of them waits for a
/// connection, and the oldest may be kept no more.
const QUIET: Duration = Duration::from_secs(1);
const QUIET_AT_FIRST: Duration = Duration::from_secs(10);

/// Show what happens as it happens, one line per event
#[derive(Debug, Args)]
#[command(after_help = "\
A file is shown from its first event on, and the command ends once nothing more happens to it by itself. A bucket, or \
everything, is shown from now on until Ctrl-C, through restarts of the server; --after 0 begins with all events that \
are kept.

Example:
  usp watch
  usp watch usp://default
  usp watch usp://default/2026/orders.csv --json")]
pub(crate) struct WatchArgs {
    /// A file id, usp://BUCKET/KEY or usp://BUCKET; everything without it
    subject: Option<Subject>,
    /// Begin after the event with this id instead of now
    #[arg(long, value_name = "EVENT")]
    after: Option<u64>,
}

/// What is watched.
#[derive(Debug, Clone)]
enum Subject {
    Bucket(BucketName),
    File(FileArg),
}

impl FromStr for Subject {
    type Err = usp_model::Error;

    fn from_str(text: &str) -> Result<Self, usp_model::Error> {
        match text.parse::<Place>() {
            Ok(place) if place.path.is_empty() => Ok(Self::Bucket(place.bucket)),
            _ => text.parse().map(Self::File),
        }
    }
}

pub(crate) async fn run(args: WatchArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    let mut filter = EventFilter { after: args.after.map(|id| id.to_string()), ..EventFilter::default() };
    let mut end = None;
    match args.subject {
        // Asked first: a stream of events waits for a server that is away, and says nothing of one that never was there.
        None => drop(client.me().await?),
        Some(Subject::Bucket(bucket)) => filter.bucket = Some(client.bucket(&bucket).await?.name),
        Some(Subject::File(file)) => {
            let id = super::id_of(&client, &file.0).await?;
            let is_settled = client.status(&id).await?.is_settled();
            end = Some(End { client: client.clone(), id, is_settled });
            filter.file = Some(id);
            filter.after.get_or_insert_with(|| "0".to_owned());
        }
    }
    let mut names = Names { client: client.clone(), known: HashMap::new() };
    let mut events = client.events(filter);
    let mut quiet = QUIET_AT_FIRST;
    while let Some(event) = next(&mut events, end.as_ref(), quiet).await.transpose()? {
        quiet = QUIET;
        // JSON shows events as they are.
        let name = if session.output.json { String::new() } else { names.of(&event).await };
        session.output.result(&event, || event_line(&event, &name))?;
        if let Some(end) = &mut end {
            end.see(&event).await?;
        }
    }
    Ok(())
}

/// The next event; `None` when a file that is settled has been quiet for a moment.
async fn next(
    events: &mut EventsStream,
    end: Option<&End>,
    quiet: Duration,
) -> Option<Result<Event, ClientError>> {
    match end.is_some_and(|end| end.is_settled) {
        true => tokio::time::timeout(quiet, events.next()).await.ok().flatten(),
        false => events.next().await,
    }
}

/// When a watched file has come to its end.
struct End {
    client: Client,
    id: FileId,
    is_settled: bool,
}

impl End {
    /// Asks how the file stands after each event that changed something.
    async fn see(&mut self, event: &Event) -> Result<()> {
        if !event.kind().is_some_and(EventKind::is_kept) {
            return Ok(());
        }
        self.is_settled = match self.client.status(&self.id).await {
            Ok(status) => status.is_settled(),
            // Deleted.
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }
}

/// File id → the name under which its events are shown.
struct Names {
    client: Client,
    known: HashMap<String, String>,
}

impl Names {
    async fn of(&mut self, event: &Event) -> String {
        if let Some(key) = event.details.get("key").and_then(serde_json::Value::as_str) {
            return self.remember(event.subject.clone(), short_key(key));
        }
        if let Some(name) = self.known.get(&event.subject) {
            return name.clone();
        }
        let file = match FileId::parse(&event.subject) {
            Ok(id) => self.client.file(&id).await.ok(),
            Err(_) => None,
        };
        // A file that is gone is asked for only once, too.
        let name = file.map_or_else(|| shown(&short_id(&event.subject)), |file| short_key(file.key.as_str()));
        self.remember(event.subject.clone(), name)
    }

    fn remember(&mut self, id: String, name: String) -> String {
        if self.known.len() >= NAME_COUNT_MAX {
            self.known.clear();
        }
        self.known.insert(id, name.clone());
        name
    }
}
