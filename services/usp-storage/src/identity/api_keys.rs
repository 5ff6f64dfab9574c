//! API keys.

use usp_api::{Caller, CreatedApiKey, NewApiKey};
use usp_auth::{ApiKeySecret, Permission, allows, authorize, intersect};
use usp_model::{Act, ApiKey, ApiKeyId, Error, ErrorKind, Grant, PrincipalKind, Result, UserName};

use super::Identity;

const KEY_NAME_BYTES_MAX: usize = 128;

impl Identity {
    pub(crate) async fn create_api_key(
        &self,
        caller: &Caller,
        act: Act,
        key: NewApiKey,
    ) -> Result<CreatedApiKey> {
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
        let now = act.at;
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
        self.facts.create_api_key(act, row.clone(), secret.hash).await?;
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
        let holder = match self.facts.user(user).await {
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

    pub(crate) async fn list_api_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>> {
        let all = allows(&caller.principal, Permission::ApiKeyManage, None);
        if !all && caller.principal.kind == PrincipalKind::Foreign {
            return Ok(Vec::new());
        }
        let user = if all { None } else { Some(caller.principal.name.clone()) };
        self.facts.list_api_keys(user).await
    }

    pub(crate) async fn revoke_api_key(&self, caller: &Caller, act: Act, id: ApiKeyId) -> Result<()> {
        let gone = || Error::new(ErrorKind::NotFound, "revoke API key").because("there is no such API key");
        let record = self.facts.api_key(&id).await.map_err(|_| gone())?;
        self.check_key_right(caller, &record.key.user).map_err(|_| gone())?;
        let user = self.facts.user(&record.key.user).await?.user;
        let granted = if record.key.grants.is_empty() { &user.grants } else { &record.key.grants };
        // What the key can do now, which may be less than it was made for.
        let held = intersect(&user.grants, granted);
        // A narrowed token reaches no further than its grants, also when it takes something away.
        if intersect(&caller.principal.grants, &held) != intersect(&held, &held) {
            return Err(Error::new(ErrorKind::Denied, "revoke API key")
                .because("the key holds more than the token that you use; use one that holds as much"));
        }
        self.facts.delete_api_key(act, &id).await
    }

    /// Users manage their own keys, but a key does not make keys; administrators manage all.
    fn check_key_right(&self, caller: &Caller, user: &UserName) -> Result<()> {
        let own = caller.principal.kind == PrincipalKind::User && caller.principal.name == *user;
        if own { Ok(()) } else { authorize(&caller.principal, Permission::ApiKeyManage, None) }
    }
}
