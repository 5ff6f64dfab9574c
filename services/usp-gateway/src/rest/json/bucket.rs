//! Buckets and their policy.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use usp_api::NewBucket;
use usp_model::{
    Bucket, BucketName, BucketPolicy, Compression, DigestAlgorithm, Error, ErrorKind, Release, Result,
    RuleName, Timestamp,
};
use utoipa::ToSchema;

use super::words;
use crate::rest::input::json;

/// Where files live, and under which policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(crate) struct BucketJson {
    #[schema(value_type = String, example = "default")]
    name: BucketName,
    policy: PolicyJson,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewBucket)]
pub(crate) struct NewBucketJson {
    /// 3 to 63 of `a-z 0-9 . -`, a letter or digit at both ends.
    #[schema(value_type = String, example = "invoices")]
    name: BucketName,
    #[serde(default, deserialize_with = "json::object")]
    policy: PolicyJson,
}

/// A JSON merge patch (RFC 7396): what is absent stays, `null` takes a field of the policy back to its default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BucketPatch)]
pub(crate) struct BucketPatchJson {
    #[serde(default)]
    #[schema(value_type = PolicyJson)]
    policy: Map<String, Value>,
}

/// What a bucket accepts and what happens to it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Policy)]
pub(crate) struct PolicyJson {
    /// Types and patterns such as `text/*`; empty takes every type.
    #[schema(example = json!(["text/*", "application/pdf"]))]
    media_types: Vec<String>,
    /// Larger files are refused with 413.
    file_size_bytes_max: Option<u64>,
    /// Bytes of all current versions together; over it uploads are refused with 507.
    quota_bytes: Option<u64>,
    /// How chunks are kept. `auto` compresses what shrinks.
    #[schema(schema_with = words::compression)]
    compression: Compression,
    /// Buckets that name the same domain share chunks. Fixed once the bucket exists.
    dedup_domain: Option<String>,
    /// Rules that may apply; `null` for every rule whose condition holds.
    #[schema(value_type = Option<Vec<String>>)]
    rules: Option<Vec<RuleName>>,
    /// When readers see a file: at once, or only after every run of it succeeded.
    #[schema(schema_with = words::release)]
    release: Release,
    /// Digests computed besides SHA-256.
    #[schema(schema_with = words::digest_algorithms)]
    digests: Vec<DigestAlgorithm>,
}

impl Default for PolicyJson {
    fn default() -> Self {
        BucketPolicy::default().into()
    }
}

impl From<BucketPolicy> for PolicyJson {
    fn from(policy: BucketPolicy) -> Self {
        Self {
            media_types: policy.media_types,
            file_size_bytes_max: policy.file_size_bytes_max,
            quota_bytes: policy.quota_bytes,
            compression: policy.compression,
            dedup_domain: policy.dedup_domain,
            rules: policy.rules,
            release: policy.release,
            digests: policy.digests,
        }
    }
}

impl PolicyJson {
    fn into_policy(self) -> Result<BucketPolicy> {
        let policy = BucketPolicy {
            media_types: self.media_types,
            file_size_bytes_max: self.file_size_bytes_max,
            quota_bytes: self.quota_bytes,
            compression: self.compression,
            dedup_domain: self.dedup_domain,
            rules: self.rules,
            release: self.release,
            digests: self.digests,
        };
        let violations = policy.violations("/policy");
        if violations.is_empty() {
            return Ok(policy);
        }
        Err(Error::new(ErrorKind::InvalidInput, "read bucket policy")
            .because("the policy is not valid; 'errors' says where")
            .with_violations(violations))
    }
}

impl From<Bucket> for BucketJson {
    fn from(bucket: Bucket) -> Self {
        Self {
            name: bucket.name,
            policy: bucket.policy.into(),
            created_at: bucket.created_at,
            updated_at: bucket.updated_at,
        }
    }
}

impl NewBucketJson {
    pub(crate) fn into_new(self) -> Result<NewBucket> {
        Ok(NewBucket { name: self.name, policy: self.policy.into_policy()? })
    }
}

impl BucketPatchJson {
    /// The policy after the patch. No field of it is an object, so that merging goes one level deep.
    pub(crate) fn apply_to(self, policy: BucketPolicy) -> Result<BucketPolicy> {
        let inside = |source| Error::new(ErrorKind::Internal, "merge bucket policy").caused_by(source);
        let Value::Object(mut merged) = serde_json::to_value(PolicyJson::from(policy)).map_err(inside)?
        else {
            return Err(Error::new(ErrorKind::Internal, "merge bucket policy"));
        };
        for (name, value) in self.policy {
            match value {
                Value::Null if !merged.contains_key(&name) => {
                    return Err(json::refused(format!("/policy/{name}"), "unknown field"));
                }
                Value::Null => drop(merged.remove(&name)),
                value => drop(merged.insert(name, value)),
            }
        }
        let document = Value::Object(Map::from_iter([("policy".to_owned(), Value::Object(merged))]));
        let whole: WholePolicy = json::parse(document.to_string().as_bytes())?;
        whole.policy.into_policy()
    }
}

/// The merged policy, read again under its own name so that pointers begin with it.
#[derive(Deserialize)]
struct WholePolicy {
    #[serde(deserialize_with = "json::object")]
    policy: PolicyJson,
}
