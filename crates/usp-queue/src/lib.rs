//! Work: offers of due runs, handed to whoever asks next.
//!
//! The catalogue is the truth and the queue is a hint. An offer that is lost, doubled or late costs time, never a run:
//! a sweeper offers again what the catalogue says is due, and the claim in the catalogue decides who runs it.

mod embedded;
mod events;
mod nats;
mod queue;

pub use embedded::EmbeddedQueue;
pub use events::{EventLog, EventMessage};
pub use nats::{NatsConfig, NatsCredential, NatsEvents, NatsQueue, NatsTls};
pub use queue::{Delivery, DeliveryTag, Offer, Offered, Queue};
