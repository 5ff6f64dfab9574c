//! The claims of a token: parsed strictly, then mapped to a user and grants.

use serde_json::{Map, Value};
use usp_model::{Grant, Role, Timestamp, UserName};

use super::Refusal;
use crate::TrustedIssuer;

/// The private claim in which our own tokens carry grants. Nobody else's is read.
const GRANTS_CLAIM: &str = "grants";
/// Long enough for any issuer's id; it ends up in the audit trail.
const JTI_BYTES_MAX: usize = 128;

/// The claims of tokens that we issue.
#[derive(serde::Serialize)]
pub(super) struct OwnClaims<'a> {
    pub(super) iss: &'a str,
    pub(super) aud: &'a str,
    pub(super) sub: &'a UserName,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    pub(super) jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grants: Option<Vec<Grant>>,
}

/// The claims of tokens that we accept. Times are whole seconds as JSON integers: a string or a fraction is refused. `iss` and `aud` are
/// compared by the library; here `iss` only has to be one string, not a list that contains a good one.
#[derive(serde::Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "iss")]
    _iss: String,
    sub: String,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    pub(super) jti: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Claims {
    pub(super) fn check_times(&self, leeway_s: i64, now: Timestamp) -> Result<(), Refusal> {
        let now_s = now.unix_ms() / 1000;
        let latest = now_s.saturating_add(leeway_s);
        if self.exp.saturating_add(leeway_s) <= now_s {
            return Err(Refusal::Expired);
        }
        if self.nbf.is_some_and(|nbf| nbf > latest) || self.iat.is_some_and(|iat| iat > latest) {
            return Err(Refusal::NotValid("it is from the future"));
        }
        if self.jti.as_ref().is_some_and(|jti| jti.len() > JTI_BYTES_MAX) {
            return Err(Refusal::NotValid("its jti is longer than 128 bytes"));
        }
        Ok(())
    }

    pub(super) fn subject(&self) -> Result<UserName, Refusal> {
        UserName::parse(&self.sub).map_err(|_| Refusal::NotValid("its subject is not a user name"))
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.exp.saturating_mul(1000))
    }

    /// Grants of a token that we signed. Present but unreadable is refused: the token was meant to be narrower than
    /// its user, and must not become wider.
    pub(super) fn own_grants(&self) -> Result<Option<Vec<Grant>>, Refusal> {
        self.rest
            .get(GRANTS_CLAIM)
            .map(|grants| serde_json::from_value(grants.clone()))
            .transpose()
            .map_err(|_| Refusal::NotValid("its grants cannot be read"))
    }

    /// Grants of a token of another issuer, as the operator configured them.
    pub(super) fn foreign_grants(&self, issuer: &TrustedIssuer) -> Vec<Grant> {
        let claim = issuer.role_claim.as_deref().and_then(|name| self.rest.get(name));
        match claim.and_then(strongest_role) {
            Some(role) => vec![Grant { bucket: None, role }],
            None => issuer.grants.clone(),
        }
    }
}

/// Reads a role, or the strongest among a list; unknown words are ignored.
fn strongest_role(claim: &Value) -> Option<Role> {
    let one = |value: &Value| value.as_str().and_then(|word| Role::parse(word).ok());
    match claim {
        Value::String(_) => one(claim),
        Value::Array(words) => words.iter().filter_map(one).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}
