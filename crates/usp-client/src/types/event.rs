//! Events, as CloudEvents 1.0.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use usp_model::{EventKind, Timestamp};

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub specversion: String,
    pub id: String,
    pub source: String,
    /// Open, so that a newer server may say more; [`Self::kind`] knows the words of this version.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The file's id.
    #[serde(default)]
    pub subject: String,
    pub time: Timestamp,
    #[serde(default, rename = "data")]
    pub details: Map<String, Value>,
}

impl Event {
    pub fn kind(&self) -> Option<EventKind> {
        EventKind::parse(&self.type_name).ok()
    }
}
