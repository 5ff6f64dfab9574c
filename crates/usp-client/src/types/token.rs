//! Tokens, and who the caller is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use usp_model::{ApiKeyId, BucketName, Grant, PrincipalKind, UserName};

use crate::Token;

/// What a password or a refresh token was traded for.
#[derive(Clone, Deserialize)]
pub struct TokenPair {
    access_token: String,
    #[serde(rename = "expires_in")]
    expires_in_s: u64,
    refresh_token: String,
}

impl TokenPair {
    pub fn access(&self) -> Token {
        Token::new(self.access_token.clone())
    }

    /// Good for one use.
    pub fn refresh(&self) -> Token {
        Token::new(self.refresh_token.clone())
    }

    /// How long the access token holds, from when it was given.
    pub fn expires_in(&self) -> Duration {
        Duration::from_secs(self.expires_in_s)
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

/// The caller and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    pub name: UserName,
    pub kind: PrincipalKind,
    #[serde(default)]
    pub api_key: Option<ApiKeyId>,
    #[serde(default)]
    pub grants: Vec<Grant>,
    #[serde(default)]
    pub permissions: Vec<MePermission>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MePermission {
    pub permission: String,
    /// `None`: everywhere.
    #[serde(default)]
    pub buckets: Option<Vec<BucketName>>,
}
