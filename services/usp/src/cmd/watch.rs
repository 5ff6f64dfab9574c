//! `usp watch`

use std::collections::HashMap;
use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use futures::StreamExt;
use usp_client::types::Event;
use usp_client::{Client, EventFilter};
use usp_model::{BucketName, FileId};

use crate::place::{FileArg, Place};
use crate::render::{event_line, short_id, short_key};
use crate::session::Session;

/// Names remembered, so that events that carry only an id are shown with their file's name.
const NAME_COUNT_MAX: usize = 10_000;

/// Show what happens as it happens, one line per event
#[derive(Debug, Args)]
#[command(after_help = "\
Goes on until Ctrl-C, through restarts of the server. --after 0 begins with all events that are kept.

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
    match args.subject {
        None => {}
        Some(Subject::Bucket(bucket)) => filter.bucket = Some(bucket),
        Some(Subject::File(file)) => filter.file = Some(super::id_of(&client, &file.0).await?),
    }
    let mut names = Names { client: client.clone(), known: HashMap::new() };
    let mut events = client.events(filter);
    while let Some(event) = events.next().await.transpose()? {
        // JSON shows events as they are.
        let name = if session.output.json { String::new() } else { names.of(&event).await };
        session.output.result(&event, || event_line(&event, &name))?;
    }
    Ok(())
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
        let name = file.map_or_else(|| short_id(&event.subject), |file| short_key(file.key.as_str()));
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
