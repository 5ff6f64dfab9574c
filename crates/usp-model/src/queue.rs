//! What a queue says about itself.

/// How a queue is doing, for people and for probes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QueueStatus {
    pub kind: QueueKind,
    /// Where the broker is, without credentials. `None`: in the storage process itself.
    pub url: Option<String>,
    /// Whether offers can go through it right now.
    pub connected: bool,
    /// Why not, in a sentence.
    pub trouble: Option<String>,
    /// Version of the broker, once it was reached.
    pub server_version: Option<String>,
    /// Offers that wait, due or not.
    pub waiting: u64,
    /// Offers in a worker's hands.
    pub in_hand: u64,
    /// What usp keeps on the broker.
    pub streams: Vec<StreamStatus>,
}

words! {
    /// Which implementation stands behind the queue.
    pub enum QueueKind {
        Embedded = "embedded",
        Nats = "nats",
    }
}

/// A stream on the broker.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StreamStatus {
    pub name: String,
    pub description: String,
    /// Of the layout that usp gave it.
    pub layout_version: u32,
    pub subjects: Vec<String>,
    pub messages: u64,
    pub bytes: u64,
    pub replicas: u32,
    pub consumers: Vec<ConsumerStatus>,
}

/// Those who take from a stream together.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConsumerStatus {
    pub name: String,
    /// Not yet handed out.
    pub waiting: u64,
    /// Handed out and not acknowledged.
    pub in_hand: u64,
    /// Of those, handed out more than once.
    pub redelivered: u64,
    /// Workers that ask right now.
    pub asking: u64,
}
