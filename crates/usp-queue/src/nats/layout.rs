//! What usp keeps on the broker: two streams, and a consumer of the first for each class of priority.
//!
//! | stream | subjects | kept |
//! |---|---|---|
//! | `USP_WORK` | `usp.work.CLASS.RUN` | until acknowledged; one message per subject, so a run waits once |
//! | `USP_EVENTS` | `usp.events.TYPE` | for the retention of events |
//!
//! RUN is a name of its own in an offer of whichever run is due.
//!
//! A change of the table raises [`LAYOUT_VERSION`]; a storage role brings older layouts up to date and refuses newer.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use usp_model::{Error, ErrorKind, EventKind, Result, RunId};

use super::config::NatsConfig;

pub(super) const LAYOUT_VERSION: u32 = 1;
/// Where a stream says which layout it has.
const LAYOUT_KEY: &str = "usp.layout";
/// Where a stream says whose it is.
const INSTALLATION_KEY: &str = "usp.installation";

/// Offers on the broker at once, some 200 bytes each. What does not fit stays in the catalogue and is offered again.
const OFFER_COUNT_MAX: i64 = 1_000_000;
/// The oldest go first.
const EVENT_COUNT_MAX: i64 = 10_000_000;
/// Offers in the hands of all workers together.
const IN_HAND_COUNT_MAX: i64 = 50_000;
/// Questions for work that may wait on one consumer.
const ASKING_COUNT_MAX: i64 = 8_192;
/// An offer is a name.
const OFFER_BYTES_MAX: i32 = 1_024;

/// The broker knows no priorities; workers empty the classes in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    High,
    Normal,
    Low,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    pub(super) fn of(priority: i32) -> Self {
        match priority {
            1.. => Self::High,
            0 => Self::Normal,
            _ => Self::Low,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// The names and settings of one installation's streams.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    prefix: String,
    installation: String,
    replicas: usize,
    lease_time: Duration,
    event_retention: Duration,
}

impl Layout {
    pub(super) fn new(config: &NatsConfig, installation: &str) -> Self {
        Self {
            prefix: config.prefix.clone(),
            installation: installation.to_owned(),
            replicas: config.replicas,
            lease_time: config.lease_time,
            event_retention: config.event_retention,
        }
    }

    pub(super) fn lease_time(&self) -> Duration {
        self.lease_time
    }

    pub(super) fn work_stream(&self) -> String {
        format!("{}_WORK", self.prefix.to_ascii_uppercase())
    }

    pub(super) fn event_stream(&self) -> String {
        format!("{}_EVENTS", self.prefix.to_ascii_uppercase())
    }

    pub(super) fn consumer(class: Class) -> String {
        format!("work-{}", class.word())
    }

    pub(super) fn work_subject(&self, class: Class, run: &RunId) -> String {
        format!("{}.work.{}.{run}", self.prefix, class.word())
    }

    pub(super) fn event_subject(&self, kind: EventKind) -> String {
        format!("{}.events.{kind}", self.prefix)
    }

    pub(super) fn work_config(&self) -> stream::Config {
        stream::Config {
            name: self.work_stream(),
            description: Some("usp: runs that someone should take. The catalogue is the truth".to_owned()),
            subjects: vec![format!("{}.work.*.*", self.prefix)],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            max_messages: OFFER_COUNT_MAX,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            max_message_size: OFFER_BYTES_MAX,
            ..self.any_config()
        }
    }

    pub(super) fn event_config(&self) -> stream::Config {
        stream::Config {
            name: self.event_stream(),
            description: Some("usp: what happened to files, as CloudEvents 1.0".to_owned()),
            subjects: vec![format!("{}.events.>", self.prefix)],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            max_messages: EVENT_COUNT_MAX,
            max_age: self.event_retention,
            discard: DiscardPolicy::Old,
            allow_direct: true,
            ..self.any_config()
        }
    }

    fn any_config(&self) -> stream::Config {
        const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
        stream::Config {
            num_replicas: self.replicas,
            duplicate_window: DUPLICATE_WINDOW,
            metadata: HashMap::from([
                (LAYOUT_KEY.to_owned(), LAYOUT_VERSION.to_string()),
                (INSTALLATION_KEY.to_owned(), self.installation.clone()),
            ]),
            ..stream::Config::default()
        }
    }

    pub(super) fn consumer_config(&self, class: Class) -> pull::Config {
        pull::Config {
            durable_name: Some(Self::consumer(class)),
            description: Some(format!("usp: workers, {} priority", class.word())),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.lease_time,
            filter_subject: format!("{}.work.{}.*", self.prefix, class.word()),
            max_ack_pending: IN_HAND_COUNT_MAX,
            max_waiting: ASKING_COUNT_MAX,
            ..pull::Config::default()
        }
    }

    /// Whether `found` must be brought up to date.
    ///
    /// Errors: `InvalidInput` when it is not ours to change.
    pub(super) fn is_outdated(&self, found: &stream::Config, wanted: &stream::Config) -> Result<bool> {
        let refused = |reason: String| {
            Err(Error::new(ErrorKind::InvalidInput, "take over NATS stream")
                .about(&found.name)
                .because(reason))
        };
        let Some(version) = layout_version(found) else {
            return refused("usp did not make it: set queue.prefix to another word".to_owned());
        };
        if version > LAYOUT_VERSION {
            return refused(format!(
                "it has layout {version} and this usp knows {LAYOUT_VERSION} at most: run the newer release"
            ));
        }
        match found.metadata.get(INSTALLATION_KEY) {
            Some(owner) if *owner == self.installation => {}
            _ => {
                return refused(
                    "it belongs to another installation of usp: give each a queue.prefix of its own, or delete \
                     the stream if that installation is no more"
                        .to_owned(),
                );
            }
        }
        let facts = |config: &stream::Config| {
            (
                config.subjects.clone(),
                config.max_messages,
                config.max_age,
                config.num_replicas,
                config.description.clone(),
                config.max_message_size,
            )
        };
        Ok(version < LAYOUT_VERSION || facts(found) != facts(wanted))
    }
}

/// `None` for a stream that usp did not make.
pub(super) fn layout_version(config: &stream::Config) -> Option<u32> {
    config.metadata.get(LAYOUT_KEY)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(installation: &str) -> Layout {
        Layout {
            prefix: "usp".to_owned(),
            installation: installation.to_owned(),
            replicas: 1,
            lease_time: Duration::from_secs(30),
            event_retention: Duration::from_secs(60),
        }
    }

    #[test]
    fn streams_of_others_and_of_newer_releases_are_refused() {
        let ours = layout("a").work_config();
        assert!(!layout("a").is_outdated(&ours, &ours).unwrap());
        let error = layout("b").is_outdated(&ours, &ours).unwrap_err();
        assert!(error.to_string().contains("another installation"), "{error}");

        let mut newer = ours.clone();
        newer.metadata.insert(LAYOUT_KEY.to_owned(), "2".to_owned());
        let error = layout("a").is_outdated(&newer, &ours).unwrap_err();
        assert!(error.to_string().contains("layout 2"), "{error}");

        newer.metadata.clear();
        let error = layout("a").is_outdated(&newer, &ours).unwrap_err();
        assert!(error.to_string().contains("usp did not make it"), "{error}");
    }

    #[test]
    fn another_setting_makes_a_stream_outdated() {
        let mut found = layout("a").event_config();
        found.max_age = Duration::from_secs(1);
        assert!(layout("a").is_outdated(&found, &layout("a").event_config()).unwrap());
    }

    #[test]
    fn every_priority_has_its_class() {
        for (priority, class) in [
            (i32::MIN, Class::Low),
            (-1, Class::Low),
            (0, Class::Normal),
            (1, Class::High),
            (i32::MAX, Class::High),
        ] {
            assert_eq!(Class::of(priority), class);
        }
    }
}
