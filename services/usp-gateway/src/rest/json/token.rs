//! Tokens, and who the caller is.

use serde::{Deserialize, Serialize};
use usp_api::{TokenGrant, TokenPair};
use usp_auth::{BucketScope, Permission, held_permissions};
use usp_model::{ApiKeyId, BucketName, Principal, PrincipalKind, Result, UserName};
use utoipa::ToSchema;

use super::admin::GrantJson;
use super::words;
use crate::rest::input::json::refused;

/// What is traded for tokens: `password` takes `username` and `password`, `refresh_token` takes `refresh_token`.
// No Debug here and below: these hold secrets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenRequest)]
pub(crate) struct TokenRequestJson {
    grant_type: GrantType,
    #[schema(example = "alice")]
    username: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrantType {
    Password,
    RefreshToken,
}

impl TokenRequestJson {
    pub(crate) fn into_grant(self) -> Result<TokenGrant> {
        let missing = |name: &str| refused(format!("/{name}"), "is missing for this grant_type");
        let needless = |name: &str| refused(format!("/{name}"), "does not belong to this grant_type");
        match (self.grant_type, self.username, self.password, self.refresh_token) {
            (GrantType::Password, _, _, Some(_)) => Err(needless("refresh_token")),
            (GrantType::Password, None, _, _) => Err(missing("username")),
            (GrantType::Password, _, None, _) => Err(missing("password")),
            (GrantType::Password, Some(name), Some(password), None) => {
                let user = UserName::parse(&name).map_err(|error| refused("/username", error.detail()))?;
                Ok(TokenGrant::Password { user, password })
            }
            (GrantType::RefreshToken, Some(_), _, _) => Err(needless("username")),
            (GrantType::RefreshToken, _, Some(_), _) => Err(needless("password")),
            (GrantType::RefreshToken, None, None, None) => Err(missing("refresh_token")),
            (GrantType::RefreshToken, None, None, Some(token)) => Ok(TokenGrant::Refresh { token }),
        }
    }
}

/// Tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenJson {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    #[schema(example = 900)]
    expires_in: u64,
    /// Good for one use.
    refresh_token: String,
}

impl From<TokenPair> for TokenJson {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access_token,
            token_type: "Bearer",
            expires_in: pair.expires_in_s,
            refresh_token: pair.refresh_token,
        }
    }
}

/// The caller and what it may do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct MeJson {
    /// For an API key the name of its user.
    #[schema(value_type = String, example = "alice")]
    name: UserName,
    #[schema(schema_with = words::principal_kind)]
    kind: PrincipalKind,
    #[schema(value_type = Option<String>)]
    api_key: Option<ApiKeyId>,
    grants: Vec<GrantJson>,
    permissions: Vec<PermissionJson>,
}

/// Something that the caller may do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Permission)]
pub(crate) struct PermissionJson {
    #[schema(example = "file.read")]
    permission: &'static str,
    /// Where; `null` for everywhere.
    #[schema(value_type = Option<Vec<String>>)]
    buckets: Option<Vec<BucketName>>,
}

impl From<Principal> for MeJson {
    fn from(principal: Principal) -> Self {
        Self {
            permissions: held_permissions(&principal).into_iter().map(PermissionJson::new).collect(),
            name: principal.name,
            kind: principal.kind,
            api_key: principal.api_key,
            grants: principal.grants.into_iter().map(GrantJson::from).collect(),
        }
    }
}

impl PermissionJson {
    fn new((permission, scope): (Permission, BucketScope)) -> Self {
        let buckets = match scope {
            BucketScope::All => None,
            BucketScope::Only(buckets) => Some(buckets),
        };
        Self { permission: permission.as_str(), buckets }
    }
}
