//! Users, API keys, sums.

use serde::{Deserialize, Serialize};
use usp_api::{CreatedApiKey, CreatedUser, NewApiKey, NewUser, Stats, UserPatch};
use usp_model::{ApiKey, ApiKeyId, BucketName, Grant, Role, StoreTotals, Timestamp, Usage, User, UserName};
use utoipa::ToSchema;

use super::words;
use crate::rest::input::json::Members;

/// A role in one bucket, or in all of them (`bucket: null`).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Grant)]
pub(crate) struct GrantJson {
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "default")]
    bucket: Option<BucketName>,
    #[schema(schema_with = words::role)]
    role: Role,
}

impl From<Grant> for GrantJson {
    fn from(grant: Grant) -> Self {
        Self { bucket: grant.bucket, role: grant.role }
    }
}

impl From<GrantJson> for Grant {
    fn from(grant: GrantJson) -> Self {
        Self { bucket: grant.bucket, role: grant.role }
    }
}

fn grants(grants: Vec<Members<GrantJson>>) -> Vec<Grant> {
    grants.into_iter().map(|Members(grant)| grant.into()).collect()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserJson {
    #[schema(value_type = String, example = "alice")]
    name: UserName,
    grants: Vec<GrantJson>,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<User> for UserJson {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            grants: user.grants.into_iter().map(GrantJson::from).collect(),
            disabled: user.disabled,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// A new user.
// No Debug here and on every other type that holds a secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
pub(crate) struct NewUserJson {
    #[schema(value_type = String, example = "alice")]
    name: UserName,
    /// Without it one is generated and shown once.
    password: Option<String>,
    #[serde(default)]
    #[schema(value_type = Vec<GrantJson>)]
    grants: Vec<Members<GrantJson>>,
}

impl From<NewUserJson> for NewUser {
    fn from(user: NewUserJson) -> Self {
        Self { name: user.name, password: user.password, grants: grants(user.grants) }
    }
}

/// A user who was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedUser)]
pub(crate) struct CreatedUserJson {
    #[serde(flatten)]
    user: UserJson,
    /// The generated password, if none was given. Not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl From<CreatedUser> for CreatedUserJson {
    fn from(created: CreatedUser) -> Self {
        Self { user: created.user.into(), password: created.password }
    }
}

/// What is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserPatch)]
pub(crate) struct UserPatchJson {
    password: Option<String>,
    /// Replaces all grants.
    #[schema(value_type = Option<Vec<GrantJson>>)]
    grants: Option<Vec<Members<GrantJson>>>,
    disabled: Option<bool>,
}

impl From<UserPatchJson> for UserPatch {
    fn from(patch: UserPatchJson) -> Self {
        Self { password: patch.password, grants: patch.grants.map(grants), disabled: patch.disabled }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct ApiKeyJson {
    /// The public half, safe to log.
    #[schema(value_type = String, example = "0123456789abcdef")]
    id: ApiKeyId,
    /// What the key is for.
    #[schema(example = "nightly import")]
    name: String,
    #[schema(value_type = String, example = "alice")]
    user: UserName,
    /// Never more than the user has at the time of use.
    grants: Vec<GrantJson>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl From<ApiKey> for ApiKeyJson {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            user: key.user,
            grants: key.grants.into_iter().map(GrantJson::from).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApiKey)]
pub(crate) struct NewApiKeyJson {
    /// What the key is for.
    #[schema(example = "nightly import")]
    name: String,
    /// Whose key; the caller's own without it.
    #[schema(value_type = Option<String>)]
    user: Option<UserName>,
    /// Empty: all that the user has.
    #[serde(default)]
    #[schema(value_type = Vec<GrantJson>)]
    grants: Vec<Members<GrantJson>>,
    /// Seconds until it expires; without it, it does not expire.
    #[schema(example = 2_592_000)]
    ttl_s: Option<u64>,
}

impl From<NewApiKeyJson> for NewApiKey {
    fn from(key: NewApiKeyJson) -> Self {
        Self { user: key.user, name: key.name, grants: grants(key.grants), ttl_s: key.ttl_s }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedApiKey)]
pub(crate) struct CreatedApiKeyJson {
    #[serde(flatten)]
    key: ApiKeyJson,
    /// What to send after `Bearer`. Not shown again.
    secret: String,
}

impl From<CreatedApiKey> for CreatedApiKeyJson {
    fn from(created: CreatedApiKey) -> Self {
        Self { key: created.key.into(), secret: created.secret }
    }
}

/// What is stored, and what waits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stats)]
pub(crate) struct StatsJson {
    /// The sum over all buckets first (`bucket: null`), then each bucket.
    usage: Vec<UsageJson>,
    totals: TotalsJson,
    /// Bytes of all packs on disk.
    disk_bytes: u64,
    /// Those of them that nothing refers to: collection gives them back.
    dead_bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageJson {
    #[schema(value_type = Option<String>)]
    bucket: Option<BucketName>,
    files: u64,
    versions: u64,
    /// Bytes of all versions as their readers see them.
    logical_bytes: u64,
    /// Bytes of frames that were new when these versions were stored.
    stored_bytes: u64,
    /// Bytes that were there already when these versions were stored.
    deduplicated_bytes: u64,
    /// Bytes that compression saved on the rest.
    compressed_bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Totals)]
pub(crate) struct TotalsJson {
    chunks: u64,
    /// Bytes of all chunks before compression.
    plain_bytes: u64,
    /// Bytes of all chunks as they are kept.
    frame_bytes: u64,
    packs: u64,
    open_uploads: u64,
    runs_waiting: u64,
    runs_dead: u64,
}

impl From<Stats> for StatsJson {
    fn from(stats: Stats) -> Self {
        Self {
            usage: stats.usage.into_iter().map(UsageJson::from).collect(),
            totals: stats.totals.into(),
            disk_bytes: stats.disk_bytes,
            dead_bytes: stats.dead_bytes,
        }
    }
}

impl From<Usage> for UsageJson {
    fn from(usage: Usage) -> Self {
        Self {
            bucket: usage.bucket,
            files: usage.files,
            versions: usage.versions,
            logical_bytes: usage.logical_bytes,
            stored_bytes: usage.stored_bytes,
            deduplicated_bytes: usage.deduplicated_bytes,
            // Frames of chunks that do not shrink are a little longer than the chunks.
            compressed_bytes: usage
                .logical_bytes
                .saturating_sub(usage.deduplicated_bytes)
                .saturating_sub(usage.stored_bytes),
        }
    }
}

impl From<StoreTotals> for TotalsJson {
    fn from(totals: StoreTotals) -> Self {
        Self {
            chunks: totals.chunks,
            plain_bytes: totals.plain_bytes,
            frame_bytes: totals.frame_bytes,
            packs: totals.packs,
            open_uploads: totals.open_uploads,
            runs_waiting: totals.runs_waiting,
            runs_dead: totals.runs_dead,
        }
    }
}
