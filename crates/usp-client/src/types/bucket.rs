//! Buckets and their policy.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use usp_model::{BucketName, Timestamp};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    pub name: BucketName,
    /// As the server tells it; a newer server may know more than this client.
    #[serde(default)]
    pub policy: Map<String, Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
pub struct NewBucket {
    pub name: BucketName,
    /// What is absent takes its default.
    pub policy: Map<String, Value>,
}

/// A merge patch: what is absent stays, `null` takes a field back to its default.
#[derive(Debug, Clone, Serialize)]
pub struct BucketPatch {
    pub policy: Map<String, Value>,
}
