//! Callers: who they are and what they were granted.

use crate::{ApiKeyId, BucketName, Timestamp, UserName};

words! {
    /// Each role may do all that the ones before it may.
    pub enum Role {
        Reader = "reader",
        Writer = "writer",
        Manager = "manager",
        Admin = "admin",
    }
}

words! {
    pub enum PrincipalKind {
        User = "user",
        ApiKey = "api_key",
        /// The subject of a trusted issuer. It is no user of usp, whatever its name.
        Foreign = "foreign",
        /// Another role of this installation (a processor), or usp itself.
        Service = "service",
    }
}

/// A role in one bucket, or in all of them (`bucket: None`).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    #[serde(default)]
    pub bucket: Option<BucketName>,
    pub role: Role,
}

/// A caller whose credential was verified. Only `usp-auth` and the storage service make one from a credential.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// User name; for an API key the name of its user.
    pub name: UserName,
    pub api_key: Option<ApiKeyId>,
    pub grants: Vec<Grant>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct User {
    pub name: UserName,
    pub grants: Vec<Grant>,
    pub disabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    /// What the key is for, in its owner's words.
    pub name: String,
    pub user: UserName,
    /// Never more than the user has at the time of use.
    pub grants: Vec<Grant>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}
