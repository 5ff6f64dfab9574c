//! Following events: one stream that outlives its connections.
//!
//! 1. Connect, with the id of the last event seen; the server first repeats what is kept after it.
//! 2. Hand on events as they come. A server that is silent for three of its heartbeats is taken for gone.
//! 3. When the connection ends, wait and go to 1. What can not get better (denied, not found) ends the stream, and so
//!    do ten failures in a row.

mod sse;

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use reqwest::header::{ACCEPT, HeaderValue};
use usp_model::{BucketName, FileId};

use self::sse::{Message, Parser};
use crate::body::incoming;
use crate::call::Call;
use crate::retry::backoff;
use crate::types::Event;
use crate::{Client, ClientError, ContentStream};

/// The server says something every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const FAILURE_COUNT_MAX: u32 = 10;
/// A server may ask for a pause, not for an absence.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Events in order; an error ends it. Dropping it ends the connection.
pub type EventsStream = Pin<Box<dyn Stream<Item = Result<Event, ClientError>> + Send>>;

/// Which events to follow. With neither file nor bucket: all that the caller may see.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub file: Option<FileId>,
    pub bucket: Option<BucketName>,
    /// Begin after this event; `0` for all that are kept, `None` for what happens from now on.
    pub after: Option<String>,
}

impl Client {
    /// Follows events until the caller drops the stream.
    ///
    /// Errors: `NotFound`, `Denied`, `Unauthenticated`; `Unavailable` after ten failures in a row.
    pub fn events(&self, filter: EventFilter) -> EventsStream {
        let following = Following {
            client: self.clone(),
            last_id: filter.after.clone().unwrap_or_default(),
            filter,
            connection: None,
            ready: VecDeque::new(),
            pause: None,
            failure_count: 0,
        };
        Box::pin(futures::stream::try_unfold(following, Following::next))
    }
}

struct Following {
    client: Client,
    filter: EventFilter,
    last_id: String,
    connection: Option<Connection>,
    ready: VecDeque<Event>,
    /// What the server asked us to wait before we come back.
    pause: Option<Duration>,
    /// Since the last event or heartbeat.
    failure_count: u32,
}

struct Connection {
    pieces: ContentStream,
    parser: Parser,
}

impl Following {
    async fn next(mut self) -> Result<Option<(Event, Self)>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some((event, self)));
            }
            match self.connection.take() {
                None => match self.connect().await {
                    Ok(connection) => self.connection = Some(connection),
                    Err(error) => self.wait_or_end(error).await?,
                },
                Some(connection) => match self.read(connection).await {
                    Ok(Some(connection)) => self.connection = Some(connection),
                    Ok(None) => self.wait_or_end(self.client.broken("the stream ended".to_owned())).await?,
                    Err(error) => self.wait_or_end(error).await?,
                },
            }
        }
    }

    // `&mut`, although nothing changes: a connection may move between threads but not be shared by them.
    async fn connect(&mut self) -> Result<Connection, ClientError> {
        let base = self.client.base();
        let url = match &self.filter.file {
            Some(id) => base.by_id(id, Some("events"))?,
            None => base.at(["events"])?,
        };
        let bucket = self.filter.bucket.as_ref().filter(|_| self.filter.file.is_none());
        let mut call = Call::get(url)
            .query("bucket", bucket)
            .header(ACCEPT.as_str(), HeaderValue::from_static("text/event-stream"));
        if !self.last_id.is_empty() {
            let id = HeaderValue::from_str(&self.last_id)
                .map_err(|_source| ClientError::usage("follow events", "the event id is not valid"))?;
            call = call.header("last-event-id", id);
        }
        let response = self.client.send(call).await?;
        let pieces = Box::pin(incoming(response, self.client.url().to_owned()));
        Ok(Connection { pieces, parser: Parser::default() })
    }

    /// Reads one piece. `None`: the stream ended in order.
    async fn read(&mut self, mut connection: Connection) -> Result<Option<Connection>, ClientError> {
        let next = tokio::time::timeout(SILENCE_MAX, connection.pieces.next())
            .await
            .map_err(|_elapsed| self.client.broken("the stream went silent".to_owned()))?;
        let Some(piece) = next.transpose()? else { return Ok(None) };
        self.failure_count = 0;
        let mut messages = Vec::new();
        let pushed = connection.parser.push(&piece, &mut messages);
        pushed
            .map_err(|problem| self.client.unexpected(format!("its events cannot be read: {}", problem.0)))?;
        self.pause = connection.parser.retry();
        for message in messages {
            self.take(&message)?;
        }
        Ok(Some(connection))
    }

    fn take(&mut self, message: &Message) -> Result<(), ClientError> {
        let event = serde_json::from_str(&message.text)
            .map_err(|source| self.client.unexpected(format!("an event cannot be read: {source}")))?;
        // An empty id would begin anew from now and lose what happens in between.
        if !message.id.is_empty() {
            message.id.clone_into(&mut self.last_id);
        }
        self.ready.push_back(event);
        Ok(())
    }

    async fn wait_or_end(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.failure_count += 1;
        if !error.kind().is_temporary() || self.failure_count >= FAILURE_COUNT_MAX {
            return Err(error);
        }
        let asked = error.problem().and_then(|problem| problem.retry_after).or(self.pause);
        let wait = asked.unwrap_or_default().min(PAUSE_MAX).max(backoff(self.failure_count));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
