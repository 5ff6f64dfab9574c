//! The seam: what a queue must supply.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use usp_model::{EventSeq, QueueStatus, Result, RunId};

/// A run that someone should take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// By which a queue knows the same offer; see [`Offer::of_any`].
    pub run: RunId,
    /// Higher goes first among what is due.
    pub priority: i32,
    /// Not before this much time has passed.
    pub delay: Duration,
    /// The event that asks for it, by which a broker knows the same offer made twice. `None`: made by the sweeper.
    pub event: Option<EventSeq>,
}

impl Offer {
    /// Of whichever run is due. It names a run that does not exist, so it waits beside the offers that name theirs, even
    /// while those are in someone's hands.
    pub fn of_any(priority: i32) -> Result<Self> {
        Ok(Self { run: RunId::random()?, priority, delay: Duration::ZERO, event: None })
    }
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    Accepted,
    /// The run waits here already; the sooner of the two due times and the higher priority hold.
    AlreadyWaiting,
    /// No room. The sweeper offers it again later.
    Full,
}

/// Names one delivery of one offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryTag(pub u64);

/// An offer in someone's hands. Comes back by itself unless it is acknowledged or extended in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub tag: DeliveryTag,
    pub run: RunId,
    /// Counts from 1.
    pub delivery_count: u32,
}

/// Hands out offers, each to one taker at a time.
///
/// Errors of all: `Unavailable` when the broker cannot be reached.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    async fn offer(&self, offer: Offer) -> Result<Offered>;

    /// Up to `count_max` due offers, best first; waits up to `wait` for the first one.
    ///
    /// Cancel: safe, nothing is taken.
    async fn lease(&self, count_max: usize, wait: Duration) -> Result<Vec<Delivery>>;

    /// Keeps the delivery for another lease time. `false`: it was given to someone else or is gone.
    async fn extend(&self, tag: DeliveryTag) -> Result<bool>;

    /// The offer is dealt with. `false`: it was given to someone else or is gone.
    async fn ack(&self, tag: DeliveryTag) -> Result<bool>;

    /// Hands the offer back, to be due again after `delay`. `false`: it was given to someone else or is gone.
    async fn release(&self, tag: DeliveryTag, delay: Duration) -> Result<bool>;

    /// Offers that wait, due or not.
    async fn waiting_count(&self) -> Result<u64>;

    /// Why offers cannot go through right now, in a sentence, as far as is known here.
    fn trouble(&self) -> Option<String>;

    /// Answers also when the broker cannot be reached.
    async fn status(&self) -> QueueStatus;
}
