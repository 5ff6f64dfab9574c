//! Callers: verified here and nowhere else. Users, API keys, tokens.

use std::sync::Arc;

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use usp_api::{Caller, CreatedApiKey, CreatedUser, NewApiKey, NewUser, TokenGrant, TokenPair, UserPatch};
use usp_auth::{
    ApiKeySecret, Credential, Permission, RefreshToken, allows, authorize, dummy_verify, hash_password,
    intersect, random_password, verify_password,
};
use usp_catalog::records::{RefreshRow, Rotation, UserRecord};
use usp_model::{
    Act, ApiKey, ApiKeyId, Error, ErrorKind, Grant, Principal, PrincipalKind, Result, Role, Timestamp, User,
    UserName,
};

use crate::storage::Storage;

/// API keys note when they were used, at most this often.
const TOUCH_INTERVAL_MS: i64 = 60_000;
const KEY_NAME_BYTES_MAX: usize = 128;

impl Storage {
    pub(crate) async fn verify(&self, credential: Credential) -> Result<Principal> {
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
        let verified = self.tokens.verify(token, self.now())?;
        let kind = if verified.issuer_is_own { PrincipalKind::User } else { PrincipalKind::Foreign };
        let principal = |grants| Principal { kind, name: verified.subject.clone(), api_key: None, grants };
        if !verified.issuer_is_own {
            return Ok(principal(verified.grants.unwrap_or_default()));
        }
        let user = match self.catalog.user(&verified.subject).await {
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
        let record = self.catalog.api_key(&id).await.map_err(refuse)?;
        let now = self.now();
        let is_over = record.key.expires_at.is_some_and(|at| at <= now);
        if is_over || !ApiKeySecret::matches(&record.secret_hash, &presented) {
            return Err(ApiKeySecret::refused());
        }
        let user = self.catalog.user(&record.key.user).await.map_err(refuse)?.user;
        if user.disabled {
            return Err(ApiKeySecret::refused());
        }
        let used_ms = record.key.last_used_at.map_or(0, Timestamp::unix_ms);
        if now.unix_ms() - used_ms >= TOUCH_INTERVAL_MS {
            // A note and no condition: with a full disk the key still opens what makes room.
            let (catalog, id) = (Arc::clone(&self.catalog), id.clone());
            let act = Act::duty("authentication", now);
            tokio::spawn(async move {
                if let Err(error) = catalog.touch_api_key(act, &id).await {
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

    pub(crate) async fn trade_for_tokens(&self, grant: TokenGrant) -> Result<TokenPair> {
        match grant {
            TokenGrant::Password { user, password } => {
                self.throttle.check(&user, self.now())?;
                let signed_in = self.check_password(&user, password).await;
                self.throttle.note(&user, signed_in.is_ok(), self.now());
                self.new_tokens(signed_in?).await
            }
            TokenGrant::Refresh { token } => {
                let next = RefreshToken::random()?;
                let now = self.now();
                let expires_at = now.plus_ms(ms(self.tokens.config().refresh_ttl));
                let hash = RefreshToken::hash_of(&token)?;
                match self
                    .catalog
                    .rotate_refresh_token(self.duty("sign-in"), hash, next.hash, expires_at)
                    .await?
                {
                    Rotation::Rotated { user } => self.tokens_with(&user, next.text.expose().to_owned()),
                    Rotation::Refused => Err(RefreshToken::refused()),
                }
            }
        }
    }

    async fn check_password(&self, name: &UserName, password: String) -> Result<UserName> {
        let record = match self.catalog.user(name).await {
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
        let now = self.now();
        let mut family = [0; 16];
        family.copy_from_slice(refresh.hash.get(..16).unwrap_or(&[0; 16]));
        let row = RefreshRow {
            hash: refresh.hash,
            family,
            user: user.clone(),
            expires_at: now.plus_ms(ms(self.tokens.config().refresh_ttl)),
        };
        self.catalog.add_refresh_token(self.duty("sign-in"), row).await?;
        self.tokens_with(&user, refresh.text.expose().to_owned())
    }

    fn tokens_with(&self, user: &UserName, refresh_token: String) -> Result<TokenPair> {
        let ttl = self.tokens.config().access_ttl;
        let access_token = self.tokens.issue(user, None, ttl, self.now())?;
        Ok(TokenPair { access_token, expires_in_s: ttl.as_secs(), refresh_token })
    }

    pub(crate) async fn add_user(&self, caller: &Caller, user: NewUser) -> Result<CreatedUser> {
        authorize(&caller.principal, Permission::UserManage, None)?;
        let (password, drawn) = match user.password {
            Some(password) => (password, None),
            None => {
                let password = random_password()?;
                (password.clone(), Some(password))
            }
        };
        let hash = self.hash(password).await?;
        let created = self.catalog.create_user(self.act(caller), user.name, Some(hash), user.grants).await?;
        Ok(CreatedUser { user: created, password: drawn })
    }

    pub(crate) async fn change_user(
        &self,
        caller: &Caller,
        name: UserName,
        patch: UserPatch,
    ) -> Result<User> {
        authorize(&caller.principal, Permission::UserManage, None)?;
        let _one_at_a_time = self.changing_users.lock().await;
        let loses_power = patch.disabled == Some(true)
            || patch.grants.as_ref().is_some_and(|grants| !grants.iter().any(is_admin_everywhere));
        if loses_power {
            self.check_not_last_admin(&name).await?;
        }
        let hash = match patch.password {
            Some(password) => Some(self.hash(password).await?),
            None => None,
        };
        self.catalog.update_user(self.act(caller), &name, hash, patch.grants, patch.disabled).await
    }

    pub(crate) async fn remove_user(&self, caller: &Caller, name: UserName) -> Result<()> {
        authorize(&caller.principal, Permission::UserManage, None)?;
        let _one_at_a_time = self.changing_users.lock().await;
        self.check_not_last_admin(&name).await?;
        self.catalog.delete_user(self.act(caller), &name).await
    }

    /// An installation without an administrator could not be mended from outside. Asked under `changing_users`, or the
    /// last two could go at once.
    async fn check_not_last_admin(&self, name: &UserName) -> Result<()> {
        let users = self.catalog.list_users().await?;
        let is_admin = |user: &User| !user.disabled && user.grants.iter().any(is_admin_everywhere);
        let is_last = users.iter().any(|user| user.name == *name && is_admin(user))
            && !users.iter().any(|user| user.name != *name && is_admin(user));
        if is_last {
            return Err(Error::new(ErrorKind::Conflict, "change user")
                .because(format!("'{name}' is the last administrator; make another one first")));
        }
        Ok(())
    }

    async fn hash(&self, password: String) -> Result<String> {
        let hashed = self.passwords.run(move || hash_password(&password)).await;
        hashed.map_err(|source| Error::new(ErrorKind::Internal, "hash password").caused_by(source))?
    }

    pub(crate) async fn add_api_key(&self, caller: &Caller, key: NewApiKey) -> Result<CreatedApiKey> {
        let user = key.user.unwrap_or_else(|| caller.principal.name.clone());
        self.check_key_right(caller, &user)?;
        let grants = self.grants_of_key(caller, &user, key.grants).await?;
        if key.name.is_empty()
            || key.name.len() > KEY_NAME_BYTES_MAX
            || key.name.chars().any(char::is_control)
        {
            return Err(Error::new(ErrorKind::InvalidInput, "create API key")
                .because(format!("say what the key is for, in 1 to {KEY_NAME_BYTES_MAX} bytes")));
        }
        let secret = ApiKeySecret::random()?;
        let now = self.now();
        let ttl_ms = |ttl_s: u64| i64::try_from(ttl_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let row = ApiKey {
            id: secret.id.clone(),
            name: key.name,
            user,
            grants,
            created_at: now,
            expires_at: key.ttl_s.map(|ttl_s| now.plus_ms(ttl_ms(ttl_s))),
            last_used_at: None,
        };
        self.catalog.create_api_key(self.act(caller), row.clone(), secret.hash).await?;
        Ok(CreatedApiKey { key: row, secret: secret.text.expose().to_owned() })
    }

    /// A key that callers make for themselves holds no more than the credential they made it with.
    async fn grants_of_key(
        &self,
        caller: &Caller,
        user: &UserName,
        wanted: Vec<Grant>,
    ) -> Result<Vec<Grant>> {
        let own = caller.principal.name == *user;
        let holder = match self.catalog.user(user).await {
            Ok(record) => record.user.grants,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::NotFound, "create API key")
                    .because(format!("there is no user '{user}'; a key belongs to one")));
            }
            Err(error) => return Err(error),
        };
        if !own || caller.principal.grants == holder {
            return Ok(wanted);
        }
        let asked = if wanted.is_empty() { holder } else { wanted };
        let grants = intersect(&caller.principal.grants, &asked);
        if grants.is_empty() {
            return Err(Error::new(ErrorKind::Denied, "create API key")
                .because("the token that you use holds none of these grants; use one that does"));
        }
        Ok(grants)
    }

    pub(crate) async fn visible_api_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>> {
        let all = allows(&caller.principal, Permission::ApiKeyManage, None);
        if !all && caller.principal.kind == PrincipalKind::Foreign {
            return Ok(Vec::new());
        }
        let user = if all { None } else { Some(caller.principal.name.clone()) };
        self.catalog.list_api_keys(user).await
    }

    pub(crate) async fn end_api_key(&self, caller: &Caller, id: ApiKeyId) -> Result<()> {
        let gone = || Error::new(ErrorKind::NotFound, "revoke API key").because("there is no such API key");
        let record = self.catalog.api_key(&id).await.map_err(|_| gone())?;
        self.check_key_right(caller, &record.key.user).map_err(|_| gone())?;
        let user = self.catalog.user(&record.key.user).await?.user;
        let granted = if record.key.grants.is_empty() { &user.grants } else { &record.key.grants };
        // What the key can do now, which may be less than it was made for.
        let held = intersect(&user.grants, granted);
        // A narrowed token reaches no further than its grants, also when it takes something away.
        if intersect(&caller.principal.grants, &held) != intersect(&held, &held) {
            return Err(Error::new(ErrorKind::Denied, "revoke API key")
                .because("the key holds more than the token that you use; use one that holds as much"));
        }
        self.catalog.delete_api_key(self.act(caller), &id).await
    }

    /// Users manage their own keys, but a key does not make keys; administrators manage all.
    fn check_key_right(&self, caller: &Caller, user: &UserName) -> Result<()> {
        let own = caller.principal.kind == PrincipalKind::User && caller.principal.name == *user;
        if own { Ok(()) } else { authorize(&caller.principal, Permission::ApiKeyManage, None) }
    }
}

fn is_admin_everywhere(grant: &Grant) -> bool {
    grant.bucket.is_none() && grant.role == Role::Admin
}

fn not_valid() -> Error {
    Error::new(ErrorKind::Unauthenticated, "authenticate").because("the token is not valid; sign in again")
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Slows guessing: a name with too many failures has to wait, whoever asks.
#[derive(Debug, Default)]
pub(crate) struct SignInThrottle {
    failures: Mutex<HashMap<UserName, (u32, Timestamp)>>,
}

impl SignInThrottle {
    const FAILURES_FREE: u32 = 10;
    const WINDOW_MS: i64 = 5 * 60_000;
    const NAME_COUNT_MAX: usize = 10_000;

    fn check(&self, user: &UserName, now: Timestamp) -> Result<()> {
        let failures = self.failures.lock();
        let Some((count, since)) = failures.get(user) else { return Ok(()) };
        let until = since.plus_ms(Self::WINDOW_MS);
        if *count < Self::FAILURES_FREE || until <= now {
            return Ok(());
        }
        let wait_ms = u64::try_from(until.unix_ms() - now.unix_ms()).unwrap_or(0);
        Err(Error::new(ErrorKind::RateLimited, "sign in")
            .because("too many failed attempts for this name; wait and try again")
            .retry_after(Duration::from_millis(wait_ms)))
    }

    fn note(&self, user: &UserName, succeeded: bool, now: Timestamp) {
        let mut failures = self.failures.lock();
        if succeeded {
            failures.remove(user);
            return;
        }
        if failures.len() >= Self::NAME_COUNT_MAX {
            failures.retain(|_, (_, since)| since.plus_ms(Self::WINDOW_MS) > now);
        }
        if failures.len() >= Self::NAME_COUNT_MAX && !failures.contains_key(user) {
            return;
        }
        let (count, since) = failures.entry(user.clone()).or_insert((0, now));
        if since.plus_ms(Self::WINDOW_MS) <= now {
            (*count, *since) = (0, now);
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_make_a_name_wait_and_a_success_forgives() {
        let throttle = SignInThrottle::default();
        let (alice, bob) = (UserName::parse("alice").unwrap(), UserName::parse("bob").unwrap());
        let now = Timestamp::from_unix_ms(1_000_000);
        for _ in 0..SignInThrottle::FAILURES_FREE {
            throttle.check(&alice, now).unwrap();
            throttle.note(&alice, false, now);
        }
        assert_eq!(throttle.check(&alice, now).unwrap_err().kind(), ErrorKind::RateLimited);
        throttle.check(&bob, now).unwrap();
        throttle.check(&alice, now.plus_ms(SignInThrottle::WINDOW_MS)).unwrap();
        throttle.note(&alice, true, now);
        throttle.check(&alice, now).unwrap();
    }
}
