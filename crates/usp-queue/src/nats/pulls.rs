//! Questions for work on their way to the broker, and messages on their way back.
//!
//! 1. What is there is fetched, the best class first.
//! 2. While nothing is there, one question waits on each class.
//! 3. A message that arrives for a taker who went away is handed back at once, so that it waits for nobody.
//!
//! Questions run in tasks of their own. Dropping a taker loses nothing: what its question brings is handed back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use usp_model::{Error, ErrorKind, Result};

use super::layout::Class;

pub(super) type Consumers = [Consumer<pull::Config>];

/// How long the broker may take to say what is there.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// A question is asked anew after this long, so that one that got lost costs no more.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);
const ASK_TIME_MIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Pulls {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    takers: usize,
    arrived: VecDeque<Message>,
    /// By class: whether a question waits there.
    asking: [bool; Class::ALL.len()],
    /// What the last question met; cleared by whoever reads it.
    failed: Option<String>,
}

impl Pulls {
    /// Up to `count_max` messages, best class first; waits until `deadline` for the first one.
    pub(super) async fn take(
        self: &Arc<Self>,
        consumers: &Consumers,
        count_max: usize,
        deadline: Instant,
    ) -> Result<Vec<Message>> {
        let taker = Taker::new(self);
        let mut taken = Held::default();
        for consumer in consumers {
            if taken.0.len() < count_max {
                match fetch(consumer.clone(), count_max - taken.0.len()).await {
                    Ok(fetched) => taken.0.extend(fetched),
                    Err(error) if taken.0.is_empty() => return Err(error),
                    // What the better classes gave is ours all the same.
                    Err(_) => break,
                }
            }
        }
        if !taken.0.is_empty() {
            return Ok(std::mem::take(&mut taken.0));
        }
        loop {
            let changed = self.changed.notified();
            if let Some(message) = taker.pop()? {
                return Ok(vec![message]);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            self.ask(consumers, deadline - now);
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Sees to it that a question waits on each class.
    fn ask(self: &Arc<Self>, consumers: &Consumers, wait: Duration) {
        let expires = wait.clamp(ASK_TIME_MIN, ASK_TIME_MAX);
        for (class, consumer) in Class::ALL.into_iter().zip(consumers) {
            let mut state = self.state.lock();
            let Some(asking) = state.asking.get_mut(class.index()) else { continue };
            if std::mem::replace(asking, true) {
                continue;
            }
            drop(state);
            let (pulls, consumer) = (Arc::clone(self), consumer.clone());
            tokio::spawn(async move {
                let answer = one(&consumer, expires).await;
                pulls.answered(class, answer);
            });
        }
    }

    fn answered(&self, class: Class, answer: Result<Option<Message>, String>) {
        let mut state = self.state.lock();
        if let Some(asking) = state.asking.get_mut(class.index()) {
            *asking = false;
        }
        match answer {
            Ok(Some(message)) if state.takers > state.arrived.len() => state.arrived.push_back(message),
            Ok(Some(message)) => hand_back(message),
            Ok(None) => {}
            Err(reason) => state.failed = Some(reason),
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

/// Messages of a taker that may go away before it has them; then they are handed back.
#[derive(Default)]
struct Held(Vec<Message>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.drain(..).for_each(hand_back);
    }
}

/// Someone who waits. Leaves nothing behind.
struct Taker<'a>(&'a Pulls);

impl<'a> Taker<'a> {
    fn new(pulls: &'a Pulls) -> Self {
        pulls.state.lock().takers += 1;
        Self(pulls)
    }

    fn pop(&self) -> Result<Option<Message>> {
        let mut state = self.0.state.lock();
        if let Some(message) = state.arrived.pop_front() {
            return Ok(Some(message));
        }
        match state.failed.take() {
            Some(reason) => Err(unavailable(reason)),
            None => Ok(None),
        }
    }
}

impl Drop for Taker<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.takers -= 1;
        while state.arrived.len() > state.takers {
            if let Some(message) = state.arrived.pop_front() {
                hand_back(message);
            }
        }
    }
}

/// What is there now, `count_max` at most.
async fn fetch(consumer: Consumer<pull::Config>, count_max: usize) -> Result<Vec<Message>> {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let fetched = timeout(FETCH_TIMEOUT, fetch_now(&consumer, count_max)).await;
        let fetched = fetched.unwrap_or_else(|_late| Err("it did not answer in time".to_owned()));
        if let Err(Ok(unwanted)) = sender.send(fetched) {
            unwanted.into_iter().for_each(hand_back);
        }
    });
    let fetched = receiver.await.unwrap_or_else(|_gone| Err("the question was dropped".to_owned()));
    fetched.map_err(unavailable)
}

async fn fetch_now(consumer: &Consumer<pull::Config>, count_max: usize) -> Result<Vec<Message>, String> {
    let mut batch = consumer.fetch().max_messages(count_max).messages().await.map_err(|e| e.to_string())?;
    let mut fetched = Held::default();
    while let Some(message) = batch.next().await {
        match message {
            Ok(message) => fetched.0.push(message),
            // What came before it is ours all the same.
            Err(error) if fetched.0.is_empty() => return Err(error.to_string()),
            Err(_) => break,
        }
    }
    Ok(std::mem::take(&mut fetched.0))
}

/// The next message, if one comes within `expires`.
async fn one(consumer: &Consumer<pull::Config>, expires: Duration) -> Result<Option<Message>, String> {
    let batch = consumer.batch().max_messages(1).expires(expires).messages().await;
    let mut batch = batch.map_err(|error| error.to_string())?;
    // Without a broker nobody says that the time is over.
    match timeout(expires + FETCH_TIMEOUT, batch.next()).await {
        Ok(Some(Ok(message))) => Ok(Some(message)),
        Ok(Some(Err(error))) => Err(error.to_string()),
        Ok(None) => Ok(None),
        Err(_late) => Err("it did not answer in time".to_owned()),
    }
}

fn unavailable(reason: String) -> Error {
    Error::new(ErrorKind::Unavailable, "take work from the broker").because(reason)
}

/// Makes the message due again for whoever asks next.
fn hand_back(message: Message) {
    tokio::spawn(async move {
        if let Err(error) = message.ack_with(AckKind::Nak(None)).await {
            tracing::debug!(error = %error, "an offer was not handed back; it comes back by itself");
        }
    });
}
