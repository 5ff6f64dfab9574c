//! Events as CloudEvents 1.0.

use serde::Serialize;
use serde_json::Value;
use usp_api::event_json;
use usp_model::{Event, EventKind, FileId, Timestamp};
use utoipa::ToSchema;

use super::words;

/// What happened to a file, as CloudEvents 1.0 in JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventJson {
    #[schema(example = "1.0")]
    specversion: &'static str,
    /// The event's number for kept events, also the `id:` of the stream.
    #[schema(example = "4711")]
    id: String,
    #[schema(example = "urn:usp")]
    source: &'static str,
    #[schema(schema_with = words::event_kind)]
    r#type: EventKind,
    /// The file's id.
    #[schema(value_type = String)]
    subject: FileId,
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    #[schema(example = "application/json")]
    datacontenttype: &'static str,
    /// The W3C trace context of the upload that led to it, as the CloudEvents extension has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    traceparent: Option<Value>,
    /// `bucket`, and what the kind of event adds.
    data: Value,
}

impl EventJson {
    /// `id` must be unique among all events of this installation.
    pub(crate) fn new(event: Event, id: String) -> Self {
        let mut data = event_json(&event);
        let traceparent = data.remove("traceparent");
        data.insert("bucket".to_owned(), Value::String(event.bucket.to_string()));
        Self {
            specversion: "1.0",
            id,
            source: "urn:usp",
            r#type: event.kind(),
            subject: event.file_id,
            time: event.at,
            datacontenttype: "application/json",
            traceparent,
            data: Value::Object(data),
        }
    }
}
