//! The state of the queue.

use serde::Serialize;
use usp_model::{ConsumerStatus, QueueKind, QueueStatus, StreamStatus};
use utoipa::ToSchema;

use super::words;

/// How the queue is doing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueStatus)]
pub(crate) struct QueueStatusJson {
    /// `embedded`: in the storage process. `nats`: on a broker.
    #[schema(schema_with = words::queue_kind)]
    kind: QueueKind,
    /// Where the broker is, without credentials.
    #[schema(example = "nats://broker:4222")]
    url: Option<String>,
    connected: bool,
    /// Why it cannot be used, if it cannot.
    trouble: Option<String>,
    #[schema(example = "2.12.1")]
    server_version: Option<String>,
    /// Offers that wait for a worker.
    waiting: u64,
    /// Offers in a worker's hands.
    in_hand: u64,
    /// What usp keeps on the broker.
    streams: Vec<StreamStatusJson>,
}

/// A stream that usp keeps on the broker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueStream)]
pub(crate) struct StreamStatusJson {
    #[schema(example = "USP_WORK")]
    name: String,
    description: String,
    /// The version of its layout.
    layout_version: u32,
    subjects: Vec<String>,
    messages: u64,
    bytes: u64,
    replicas: u32,
    consumers: Vec<ConsumerStatusJson>,
}

/// Workers that take from a stream together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueConsumer)]
pub(crate) struct ConsumerStatusJson {
    #[schema(example = "work-normal")]
    name: String,
    waiting: u64,
    in_hand: u64,
    /// Of those in hand, the ones handed out more than once.
    redelivered: u64,
    /// Workers that ask right now.
    asking: u64,
}

impl From<QueueStatus> for QueueStatusJson {
    fn from(status: QueueStatus) -> Self {
        Self {
            kind: status.kind,
            url: status.url,
            connected: status.connected,
            trouble: status.trouble,
            server_version: status.server_version,
            waiting: status.waiting,
            in_hand: status.in_hand,
            streams: status.streams.into_iter().map(StreamStatusJson::from).collect(),
        }
    }
}

impl From<StreamStatus> for StreamStatusJson {
    fn from(stream: StreamStatus) -> Self {
        Self {
            name: stream.name,
            description: stream.description,
            layout_version: stream.layout_version,
            subjects: stream.subjects,
            messages: stream.messages,
            bytes: stream.bytes,
            replicas: stream.replicas,
            consumers: stream.consumers.into_iter().map(ConsumerStatusJson::from).collect(),
        }
    }
}

impl From<ConsumerStatus> for ConsumerStatusJson {
    fn from(consumer: ConsumerStatus) -> Self {
        Self {
            name: consumer.name,
            waiting: consumer.waiting,
            in_hand: consumer.in_hand,
            redelivered: consumer.redelivered,
            asking: consumer.asking,
        }
    }
}
