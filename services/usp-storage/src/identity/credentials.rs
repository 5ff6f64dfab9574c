//! Credentials: verified here and nowhere else, and traded for tokens.

use std::sync::Arc;

use usp_api::{TokenGrant, TokenPair};
use usp_auth::{ApiKeySecret, Credential, RefreshToken, dummy_verify, intersect, verify_password};
use usp_catalog::records::{RefreshRow, Rotation, UserRecord};
use usp_model::{Error, ErrorKind, Principal, PrincipalKind, Result, Timestamp, UserName};

use super::Identity;
use crate::core::ms;

/// API keys note when they were used, at most this often.
const TOUCH_INTERVAL_MS: i64 = 60_000;

impl Identity {
    pub(crate) async fn authenticate(&self, credential: Credential) -> Result<Principal> {
        match credential {
            Credential::Bearer(secret) if secret.expose().starts_with(ApiKeySecret::PREFIX) => {
                self.verify_api_key(secret.expose()).await
            }
            Credential::Bearer(secret) => self.verify_token(secret.expose()).await,
            // Nodes speak through the node protocol, which has checked them by then.
            Credential::Node(_) => Err(not_valid()),
        }
    }

    async fn verify_token(&self, token: &str) -> Result<Principal> {
        let verified = self.tokens.verify(token, self.core.now())?;
        let kind = if verified.issuer_is_own { PrincipalKind::User } else { PrincipalKind::Foreign };
        let principal = |grants| Principal { kind, name: verified.subject.clone(), api_key: None, grants };
        if !verified.issuer_is_own {
            return Ok(principal(verified.grants.unwrap_or_default()));
        }
        let user = match self.facts.user(&verified.subject).await {
            Ok(record) if record.user.disabled => return Err(not_valid()),
            Ok(record) => Some(record.user),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match (user, verified.grants.clone()) {
            (Some(user), None) => Ok(principal(user.grants)),
            (Some(user), Some(grants)) => Ok(principal(intersect(&user.grants, &grants))),
            // Minted on the machine itself (`usp token`) for a name that is no user: as far as the token says.
            (None, Some(grants)) => Ok(principal(grants)),
            (None, None) => Err(not_valid()),
        }
    }

    async fn verify_api_key(&self, text: &str) -> Result<Principal> {
        let refuse = |error: Error| {
            if error.kind() == ErrorKind::NotFound { ApiKeySecret::refused() } else { error }
        };
        let (id, presented) = ApiKeySecret::parse(text)?;
        let record = self.facts.api_key(&id).await.map_err(refuse)?;
        let now = self.core.now();
        let is_over = record.key.expires_at.is_some_and(|at| at <= now);
        if is_over || !ApiKeySecret::matches(&record.secret_hash, &presented) {
            return Err(ApiKeySecret::refused());
        }
        let user = self.facts.user(&record.key.user).await.map_err(refuse)?.user;
        if user.disabled {
            return Err(ApiKeySecret::refused());
        }
        let used_ms = record.key.last_used_at.map_or(0, Timestamp::unix_ms);
        if now.unix_ms() - used_ms >= TOUCH_INTERVAL_MS {
            // A note and no condition: with a full disk the key still opens what makes room.
            let (facts, id) = (Arc::clone(&self.facts), id.clone());
            let act = self.core.duty("authentication");
            tokio::spawn(async move {
                if let Err(error) = facts.touch_api_key(act, &id).await {
                    tracing::debug!(error = %error.chain(), "the use of an API key was not noted");
                }
            });
        }
        let grants = if record.key.grants.is_empty() {
            user.grants
        } else {
            intersect(&user.grants, &record.key.grants)
        };
        Ok(Principal { kind: PrincipalKind::ApiKey, name: user.name, api_key: Some(id), grants })
    }

    pub(crate) async fn issue_token(&self, grant: TokenGrant) -> Result<TokenPair> {
        match grant {
            TokenGrant::Password { user, password } => {
                self.throttle.check(&user, self.core.now())?;
                let signed_in = self.check_password(&user, password).await;
                self.throttle.note(&user, signed_in.is_ok(), self.core.now());
                self.new_tokens(signed_in?).await
            }
            TokenGrant::Refresh { token } => {
                let next = RefreshToken::random()?;
                let now = self.core.now();
                let expires_at = now.plus_ms(ms(self.tokens.config().refresh_ttl));
                let hash = RefreshToken::hash_of(&token)?;
                match self
                    .facts
                    .rotate_refresh_token(self.core.duty("sign-in"), hash, next.hash, expires_at)
                    .await?
                {
                    Rotation::Rotated { user } => self.tokens_with(&user, next.text.expose().to_owned()),
                    Rotation::Refused => Err(RefreshToken::refused()),
                }
            }
        }
    }

    async fn check_password(&self, name: &UserName, password: String) -> Result<UserName> {
        let record = match self.facts.user(name).await {
            Ok(UserRecord { user, password_hash }) if !user.disabled => password_hash,
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_right = self
            .passwords
            .run(move || match record {
                Some(hash) => verify_password(&password, &hash),
                None => {
                    // An unknown name must cost what a wrong password costs.
                    dummy_verify(&password);
                    false
                }
            })
            .await
            .map_err(|source| Error::new(ErrorKind::Internal, "check password").caused_by(source))?;
        if is_right {
            Ok(name.clone())
        } else {
            Err(Error::new(ErrorKind::Unauthenticated, "sign in")
                .because("the user name or the password is wrong"))
        }
    }

    async fn new_tokens(&self, user: UserName) -> Result<TokenPair> {
        let refresh = RefreshToken::random()?;
        let now = self.core.now();
        let mut family = [0; 16];
        family.copy_from_slice(refresh.hash.get(..16).unwrap_or(&[0; 16]));
        let row = RefreshRow {
            hash: refresh.hash,
            family,
            user: user.clone(),
            expires_at: now.plus_ms(ms(self.tokens.config().refresh_ttl)),
        };
        self.facts.add_refresh_token(self.core.duty("sign-in"), row).await?;
        self.tokens_with(&user, refresh.text.expose().to_owned())
    }

    fn tokens_with(&self, user: &UserName, refresh_token: String) -> Result<TokenPair> {
        let ttl = self.tokens.config().access_ttl;
        let access_token = self.tokens.issue(user, None, ttl, self.core.now())?;
        Ok(TokenPair { access_token, expires_in_s: ttl.as_secs(), refresh_token })
    }
}

fn not_valid() -> Error {
    Error::new(ErrorKind::Unauthenticated, "authenticate").because("the token is not valid; sign in again")
}
