//! Users.

use usp_api::{Caller, CreatedUser, NewUser, UserPatch};
use usp_auth::{Permission, authorize, hash_password, random_password};
use usp_model::{Act, Error, ErrorKind, Grant, Result, Role, User, UserName};

use super::Identity;

impl Identity {
    /// Makes the first administrator if there is no user at all; gives the password, to be shown once.
    pub(crate) async fn ensure_admin(&self) -> Result<Option<String>> {
        if !self.facts.list_users().await?.is_empty() {
            return Ok(None);
        }
        let password = random_password()?;
        let hash = self.hash(password.clone()).await?;
        let grants = vec![Grant { bucket: None, role: Role::Admin }];
        let act = self.core.duty("start");
        self.facts.create_user(act, UserName::parse("admin")?, Some(hash), grants).await?;
        Ok(Some(password))
    }

    pub(crate) async fn create_user(&self, caller: &Caller, act: Act, user: NewUser) -> Result<CreatedUser> {
        authorize(&caller.principal, Permission::UserManage, None)?;
        let (password, drawn) = match user.password {
            Some(password) => (password, None),
            None => {
                let password = random_password()?;
                (password.clone(), Some(password))
            }
        };
        let hash = self.hash(password).await?;
        let created = self.facts.create_user(act, user.name, Some(hash), user.grants).await?;
        Ok(CreatedUser { user: created, password: drawn })
    }

    pub(crate) async fn list_users(&self, caller: &Caller) -> Result<Vec<User>> {
        authorize(&caller.principal, Permission::UserManage, None)?;
        self.facts.list_users().await
    }

    pub(crate) async fn update_user(
        &self,
        caller: &Caller,
        act: Act,
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
        self.facts.update_user(act, &name, hash, patch.grants, patch.disabled).await
    }

    pub(crate) async fn delete_user(&self, caller: &Caller, act: Act, name: UserName) -> Result<()> {
        authorize(&caller.principal, Permission::UserManage, None)?;
        let _one_at_a_time = self.changing_users.lock().await;
        self.check_not_last_admin(&name).await?;
        self.facts.delete_user(act, &name).await
    }

    /// An installation without an administrator could not be mended from outside. Asked under `changing_users`, or the
    /// last two could go at once.
    async fn check_not_last_admin(&self, name: &UserName) -> Result<()> {
        let users = self.facts.list_users().await?;
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
}

fn is_admin_everywhere(grant: &Grant) -> bool {
    grant.bucket.is_none() && grant.role == Role::Admin
}
